//! What may be accepted, and as what.

use std::collections::BTreeSet;

use notify_core::delivery::LaneKey;
use notify_core::endpoint::EventFilter;
use notify_core::job::EventKind;
use notify_core::store::{Append, AppendError, Appended, Store};
use notify_core::{EndpointUrl, Epoch, EventId, JobId, JobStatus, Timestamp};

use super::{EventModel, Invariant, JobModel, Lane, Ledger, Row, State};
use crate::sim::store::{SimStore, at_once};

impl Ledger {
    /// A job was registered, with this incarnation of its log.
    pub(in crate::sim) fn registered(
        &mut self,
        now: Timestamp,
        job: &JobId,
        epoch: Epoch,
        subscriber: Option<(EndpointUrl, EventFilter)>,
    ) {
        let model = self.jobs.entry(job.clone());
        let model = model.or_insert_with(|| JobModel::new(epoch, now));
        let same = model.epoch == epoch;
        if subscriber.is_some() {
            model.subscriber = subscriber;
        }
        self.check(same, Invariant::I3, || format!("{job} changed its epoch"));
    }

    /// The caller was told that its event has this id.
    pub(in crate::sim) fn acknowledged(&mut self, append: &Append, id: EventId) {
        let kept = self
            .jobs
            .get(&append.job)
            .filter(|job| job.epoch == id.epoch());
        // A job that was forgotten meanwhile can't be asked any more.
        let Some(kept) = kept else { return };
        let told = kept.event(id.sequence()).map(|event| &event.json);
        let same =
            told.is_some_and(|json| append.idempotency.is_some() || *json == append.draft.json);
        self.check(same, Invariant::I2, || {
            format!(
                "{} was acknowledged as {id}, which is not there",
                append.job
            )
        });
    }

    /// The store has judged an append: it must have judged as the ledger does.
    pub(super) fn append(
        &mut self,
        now: Timestamp,
        append: &Append,
        outcome: &Result<Appended, AppendError>,
        store: &SimStore,
    ) {
        let job = self.jobs.get(&append.job);
        let known = append.idempotency.as_ref().and_then(|(key, content)| {
            let (first_content, first) = job?.keys.get(key)?;
            Some((first_content == content, *first))
        });
        let terminal = job
            .filter(|job| job.is_finished())
            .map(|job| EventId::new(job.epoch, job.head()));
        // What an event of the same batch supersedes may be counted or not.
        let (pending, most) = (self.pending(), self.rules.pending_max);
        let full = pending + 2 > most;
        let surely_full = full && pending - self.overruled(now) + 2 > most;
        let name = &append.job;
        match (known, outcome) {
            (Some((true, first)), Err(AppendError::Duplicate { first: told })) => {
                self.check(first == *told, Invariant::I9, || {
                    format!("{name}: a key stands for {first} and for {told}")
                });
                return;
            }
            (Some((false, _)), Err(AppendError::Conflict)) => return,
            (Some(_), _) => {
                let what = || format!("{name}: a known key was answered with {outcome:?}");
                self.check(false, Invariant::I9, what);
                return;
            }
            (None, Err(AppendError::Duplicate { .. } | AppendError::Conflict)) => {
                let what = || format!("{name}: an unknown key was answered with {outcome:?}");
                self.check(false, Invariant::I9, what);
                return;
            }
            (None, _) => {}
        }
        match outcome {
            Err(AppendError::Finished { terminal: told }) => {
                self.check(terminal == Some(*told), Invariant::I4, || {
                    format!("{name} ended with {terminal:?}, and {told} was said")
                });
            }
            Err(AppendError::Full) => {
                self.check(full && terminal.is_none(), Invariant::I13, || {
                    format!("{name} was refused for want of room")
                });
            }
            Err(error) => {
                self.check(false, Invariant::I2, || {
                    format!("{name} was refused: {error:?}")
                });
            }
            Ok(appended) => {
                self.check(terminal.is_none(), Invariant::I4, || {
                    format!("{name} has ended with {terminal:?}; {:?}", appended.record)
                });
                self.check(!surely_full, Invariant::I13, || {
                    format!("{name}: more than {most} pending")
                });
                if !self.is_broken() {
                    self.accept(now, append, appended, store);
                }
            }
        }
    }

    /// How many pending deliveries are as good as superseded or overtaken.
    fn overruled(&self, now: Timestamp) -> usize {
        let rows = self.rows.iter().filter(|(id, row)| {
            let is_progress = row.kind == EventKind::Progress;
            let superseded = is_progress && !self.newer_kinds(**id).is_empty();
            let by = self.overtaken_at(**id);
            let overtaken = by.is_some_and(|by| row.due_at.max(now) > by);
            row.is_pending() && row.lease.is_none() && (superseded || overtaken)
        });
        rows.count()
    }

    fn accept(&mut self, now: Timestamp, append: &Append, appended: &Appended, store: &SimStore) {
        let record = &appended.record;
        let name = &append.job;
        let model = self.jobs.entry(name.clone());
        let model = model.or_insert_with(|| JobModel::new(append.fresh.epoch, now));
        let next = EventId::new(model.epoch, model.head() + 1);
        let before = model.events.last().map(|event| event.status);
        let kind = kind_after(before, append.draft.status);
        let standing = model.subscriber.as_ref();
        let standing = standing.filter(|(_, filter)| filter.wants(append.draft.status));
        let mut wanted: BTreeSet<&str> = standing.iter().map(|(url, _)| url.as_str()).collect();
        wanted.extend(append.webhook.as_ref().map(EndpointUrl::as_str));

        let urls = appended.lanes.iter().filter_map(|lane| {
            let endpoint = at_once(store.memory().endpoint(lane.endpoint));
            Some(endpoint.ok()??.url)
        });
        let urls: Vec<EndpointUrl> = urls.collect();
        let told: BTreeSet<&str> = urls.iter().map(EndpointUrl::as_str).collect();
        let all_told = told == wanted && urls.len() == appended.lanes.len();
        let (wanted, told) = (format!("{wanted:?}"), format!("{told:?}"));

        if let Some((key, content)) = &append.idempotency {
            model.keys.insert(key.clone(), (*content, next));
        }
        model.touched_at = now;
        model.events.push(EventModel {
            kind,
            status: append.draft.status,
            json: append.draft.json.clone(),
            deliveries: appended.lanes.len(),
        });
        let ids = append.fresh.deliveries;
        model
            .deliveries
            .extend(ids.iter().take(appended.lanes.len()));
        self.figures.events += 1;
        self.check(record.id() == next, Invariant::I3, || {
            format!(
                "{name}: after {before:?} comes {next}, not {:?}",
                record.id()
            )
        });
        self.check(record.kind() == kind, Invariant::I4, || {
            format!("{name}: {next} is {kind:?}, not {:?}", record.kind())
        });
        self.check(all_told, Invariant::I2, || {
            format!("{name}: {next} is for {wanted}, not {told}")
        });
        for ((lane, id), url) in appended.lanes.iter().zip(ids).zip(urls) {
            let kept = self.lanes.entry(lane.clone()).or_default();
            kept.waiting.push(id);
            kept.due_latest = kept.due_latest.max(now);
            if kind != EventKind::Progress {
                kept.progress_not_before = None;
            }
            self.rows
                .insert(id, Row::new(lane.clone(), next, kind, url, now));
        }
    }

    /// Dead letters became pending again; `count` is what the store said.
    pub(in crate::sim) fn redelivered(
        &mut self,
        now: Timestamp,
        only: Option<notify_core::DeliveryId>,
        count: u64,
        store: &SimStore,
    ) {
        let mut begun = 0;
        for (&id, row) in &mut self.rows {
            let wanted = only.is_none_or(|only| only == id);
            if !wanted || !matches!(row.state, State::Dead(_)) {
                continue;
            }
            begun += 1;
            // An endpoint is its URL: it may have been forgotten and made anew.
            let endpoint = at_once(store.memory().endpoint_at(&row.url)).ok().flatten();
            let lane = LaneKey {
                endpoint: endpoint.map_or(row.lane.endpoint, |endpoint| endpoint.id),
                redelivery: Some(id),
                ..row.lane.clone()
            };
            let again = Row::new(lane.clone(), row.event, row.kind, row.url.clone(), now);
            *row = Row {
                generation: row.generation + 1,
                body: row.body.take(),
                job_gone: row.job_gone,
                ..again
            };
            // A lane of its own: nothing of the last one counts.
            let began = Lane {
                waiting: vec![id],
                due_latest: now,
                ..Lane::default()
            };
            self.lanes.insert(lane, began);
        }
        self.figures.redeliveries += begun;
        self.check(begun == count, Invariant::I10, || {
            format!("{begun} dead letters were to be redelivered, the store counts {count}")
        });
    }
}

impl Row {
    fn new(
        lane: LaneKey,
        event: EventId,
        kind: EventKind,
        url: EndpointUrl,
        now: Timestamp,
    ) -> Self {
        Self {
            lane,
            event,
            url,
            kind,
            state: State::Pending,
            generation: 0,
            body: None,
            accepted_at: now,
            // A progress may inherit an earlier due time than its own.
            due_at: match kind {
                EventKind::Progress => Timestamp::EPOCH,
                _ => now,
            },
            due_millis: None,
            first_failed_at: None,
            lease: None,
            sent_at: now,
            own_failures: 0,
            ours: false,
            begun: 0,
            settled: 0,
            crashes: 0,
            in_flight: false,
            ended: None,
            answered_ok: 0,
            job_gone: false,
        }
    }
}

/// The protocol's own words: a progress is processing following processing.
fn kind_after(before: Option<JobStatus>, status: JobStatus) -> EventKind {
    if status.is_terminal() {
        EventKind::Terminal
    } else if before == Some(JobStatus::Processing) && status == JobStatus::Processing {
        EventKind::Progress
    } else {
        EventKind::Lifecycle
    }
}
