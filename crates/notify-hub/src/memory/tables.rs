//! The tables, and how rows are found in them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use notify_core::delivery::{
    Attempt, DeadLetter, DeadReason, DeliveryState, DeliveryView, LaneKey, Undelivered,
};
use notify_core::ledger::{
    Bounds, EndpointRow, Found, JobRow, KeyRow, LetterRow, Pending, Rows, Supply, Wants,
};
use notify_core::map::IdMap;
use notify_core::retention::Holders;
use notify_core::store::{DeadFilter, JobView, Sweep};
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, EventId, EventRecord, IdempotencyKey, JobId, Timestamp,
};

use super::MemoryLimits;

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) limits: MemoryLimits,
    pub(super) supply: Supply,
    pub(super) jobs: HashMap<JobId, Job>,
    /// By number, which is also the list's cursor.
    pub(super) job_ids: BTreeMap<u64, JobId>,
    /// Finished jobs with nothing pending, by when that became so.
    pub(super) ended: BTreeSet<(Timestamp, u64)>,
    pub(super) endpoints: IdMap<EndpointId, Known>,
    pub(super) endpoint_ids: BTreeMap<u64, EndpointId>,
    pub(super) urls: HashMap<EndpointUrl, EndpointId>,
    /// Endpoints that nothing may name any more.
    pub(super) released: Vec<EndpointId>,
    /// Those that nothing names and of which something is to be remembered, by when
    /// they were last named.
    pub(super) remembered: BTreeSet<(Timestamp, EndpointId)>,
    pub(super) deliveries: IdMap<DeliveryId, Delivery>,
    /// Pending redeliveries that have outlived their jobs.
    pub(super) orphans: HashMap<JobId, BTreeSet<DeliveryId>>,
    pub(super) pending: Pending,
    pub(super) letters: BTreeMap<u64, Letter>,
    pub(super) letter_numbers: IdMap<DeliveryId, u64>,
    pub(super) holders: Holders,
    /// Dead letters that have left since the last trim for want of room.
    pub(super) crowded_out: u64,
    /// What jobs and deliveries occupy, roughly.
    pub(super) bytes: usize,
    /// Deciding over what names this job panics.
    #[cfg(test)]
    pub(super) panics_at: Option<JobId>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: JobRow,
    pub(super) events: BTreeMap<u64, EventRecord>,
    pub(super) progress: VecDeque<u64>,
    pub(super) keys: HashMap<IdempotencyKey, KeyRow>,
    /// By number.
    pub(super) deliveries: BTreeMap<u64, DeliveryId>,
}

/// An endpoint, how many jobs and deliveries name it, and when one last came to.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) row: EndpointRow,
    pub(super) named: usize,
    pub(super) named_at: Timestamp,
}

/// A delivery, settled or not.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) number: u64,
    pub(super) job: Option<u64>,
    pub(super) lane: LaneKey,
    pub(super) event: EventId,
    /// What is to be delivered, while it is pending.
    pub(super) record: Option<EventRecord>,
    pub(super) state: DeliveryState,
    pub(super) generation: u32,
    pub(super) attempts: Vec<Attempt>,
}

/// A dead letter, with what it takes to deliver it after all.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) of: Undelivered,
    pub(super) reason: DeadReason,
    pub(super) died_at: Timestamp,
    pub(super) history: Vec<Attempt>,
}

impl Letter {
    pub(super) fn shown(&self) -> DeadLetter {
        DeadLetter::new(&self.of, self.reason, self.history.clone(), self.died_at)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.of.bytes(&self.history)
    }

    pub(super) fn matches(&self, filter: &DeadFilter) -> bool {
        filter.is_empty() || filter.matches(&self.shown())
    }
}

impl Tables {
    pub(super) fn new(limits: MemoryLimits) -> Self {
        Self {
            limits,
            supply: Supply {
                number: 1,
                lease: 1,
            },
            jobs: HashMap::new(),
            job_ids: BTreeMap::new(),
            ended: BTreeSet::new(),
            endpoints: IdMap::default(),
            endpoint_ids: BTreeMap::new(),
            urls: HashMap::new(),
            released: Vec::new(),
            remembered: BTreeSet::new(),
            deliveries: IdMap::default(),
            orphans: HashMap::new(),
            pending: Pending::default(),
            letters: BTreeMap::new(),
            letter_numbers: IdMap::default(),
            holders: Holders::default(),
            crowded_out: 0,
            bytes: 0,
            #[cfg(test)]
            panics_at: None,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            pending_max: self.limits.pending_deliveries_max as u64,
            pending: self.pending.total(),
            pending_per_endpoint_max: self.limits.pending_per_endpoint_max as u64,
            progress_events_max: self.limits.progress_events_max,
            bytes_left: self.limits.job_bytes_max.saturating_sub(self.bytes),
            is_low: false,
        }
    }

    /// Fetches what is wanted.
    pub(super) fn fill(&self, wants: Wants, rows: &mut Rows) {
        if let Some(what) = wants.doomed {
            self.fill_doomed(what, rows);
        }
        for id in wants.jobs {
            let row = self.jobs.get(&id).map(|job| job.row.clone());
            rows.put_job(id, row.into());
        }
        for id in wants.progress {
            if let Some(job) = self.jobs.get(&id) {
                rows.put_progress(id, job.progress.clone());
            }
        }
        for (job, key) in wants.keys {
            let known = self.jobs.get(&job).and_then(|job| job.keys.get(&key));
            let found = known.copied().into();
            rows.put_key(job, key, found);
        }
        for id in wants.endpoints {
            rows.put_endpoint(id, self.endpoint_row(id));
        }
        for url in wants.urls {
            let id = self.urls.get(&url);
            let found = id.map_or(Found::Nothing, |&id| self.endpoint_row(id));
            rows.put_endpoint_at(url, found);
        }
        for key in wants.lanes {
            let lane = self.pending.lane(&key);
            rows.put_lane(key, lane);
        }
        for sweep in wants.letters {
            let newest = self.letters.last_key_value();
            let newest = newest.map_or(0, |(&number, _)| number);
            let letters = self.step(&sweep);
            rows.put_letters(sweep, letters, newest);
        }
    }

    /// The lanes that may be claimed, with their endpoints.
    pub(super) fn fetch_due(&self, lanes: &[Arc<LaneKey>]) -> Rows {
        let mut rows = Rows::new();
        for key in lanes {
            if rows.wants_endpoint(key.endpoint) {
                rows.put_endpoint(key.endpoint, self.endpoint_row(key.endpoint));
            }
            if let Some(job) = self.jobs.get(&key.job)
                && rows.wants_job(&key.job)
            {
                rows.put_job(key.job.clone(), Found::Row(job.row.clone()));
            }
            rows.put_lane(LaneKey::clone(key), self.pending.lane(key));
        }
        rows
    }

    fn endpoint_row(&self, id: EndpointId) -> Found<EndpointRow> {
        let known = self.endpoints.get(&id).map(|known| known.row.clone());
        known.into()
    }

    /// The dead letters of a step.
    fn step(&self, sweep: &Sweep) -> Vec<LetterRow> {
        let (after, until) = sweep.numbers();
        let filter = sweep.filter();
        let range = after.saturating_add(1)..=until.unwrap_or(u64::MAX).max(after + 1);
        let one = filter
            .delivery
            .map(|id| self.letter_numbers.get(&id).copied());
        let is_meant = |number: u64| one.is_none_or(|one| one == Some(number));
        let letters = self.letters.range(range);
        let letters = letters.filter(|(number, letter)| {
            let in_time = until.is_none_or(|until| **number <= until);
            in_time && is_meant(**number) && letter.matches(filter)
        });
        let rows = letters.take(Sweep::STEP_MAX).map(|(&number, letter)| {
            let delivery = self.deliveries.get(&letter.of.id);
            LetterRow {
                number,
                of: letter.of.clone(),
                reason: letter.reason,
                listed: delivery.map(|delivery| delivery.number),
            }
        });
        rows.collect()
    }

    pub(super) fn job_view(&self, id: &JobId) -> Option<JobView> {
        let job = self.jobs.get(id)?;
        let webhook = job.row.webhook.and_then(|subscriber| {
            let known = self.endpoints.get(&subscriber.endpoint)?;
            Some((known.row.endpoint.url.clone(), subscriber.filter))
        });
        let last = job.events.last_key_value();
        Some(JobView {
            id: id.clone(),
            head: job.row.head,
            last: last.map(|(_, record)| record.clone()),
            created_at: job.row.created_at,
            updated_at: job.row.updated_at,
            registered: job.row.token.is_some(),
            webhook,
        })
    }

    pub(super) fn delivery_view(&self, id: DeliveryId) -> Option<DeliveryView> {
        let delivery = self.deliveries.get(&id)?;
        let endpoint = self.endpoints.get(&delivery.lane.endpoint)?;
        Some(DeliveryView {
            id,
            job_id: delivery.lane.job.clone(),
            event_id: delivery.event,
            endpoint_id: delivery.lane.endpoint,
            url: endpoint.row.endpoint.url.clone(),
            state: delivery.state,
            generation: delivery.generation,
            attempts: delivery.attempts.clone(),
        })
    }
}
