//! Accepting an event: its place in the log, whom it is told to, what does not fit.
//!
//! Everything that can refuse an event is looked at before anything is changed. What
//! is wrong with a webhook never does: it makes a dead letter, or nothing.

use std::sync::Arc;

use super::changes::{NewEvent, NewKey, NewLetter};
use super::lanes::{Ending, Held};
use super::rows::{DeliveryRow, EndpointRow, Found, JobRow, KeyRow};
use super::{Bounds, Deciding};
use crate::delivery::{DeadReason, LaneKey, Undelivered};
use crate::endpoint::{Endpoint, Subscriber, fan_out};
use crate::event::EventRecord;
use crate::id::{DeliveryId, EndpointId, EventId, JobId};
use crate::job::{EventKind, JobHead, Refused};
use crate::store::{Append, Appended, FreshIds, Refusal, Webhook};

/// The job's own endpoint, and the one that the event names, in delivery ids.
const STANDING: u8 = 0;
const NAMED: u8 = 1;

/// Whom an event is told to, and whom not.
#[derive(Default)]
struct Audience {
    /// The endpoint that the event names, if it is to be made.
    new: Option<Endpoint>,
    told: Vec<(EndpointId, u8)>,
    unsent: Vec<Unsent>,
}

/// A webhook that is not sent, and why.
struct Unsent {
    endpoint: Option<EndpointId>,
    url: String,
    target: u8,
    reason: DeadReason,
}

impl Deciding<'_> {
    pub(super) fn append(&mut self, append: &Append) -> Result<Appended, Refusal> {
        let job = self.rows.job(&append.job)?;
        let head = job.map_or(JobHead::new(append.fresh.epoch), |job| job.head);
        let standing = job.and_then(|job| job.webhook);
        let is_new = job.is_none();
        let Audience { new, told, unsent } = self.audience(append, standing)?;
        let first_unsent = unsent.first().map(|unsent| unsent.reason);
        if let Some((key, fingerprint)) = &append.idempotency {
            match self.rows.keys.get(&(append.job.clone(), key.clone())) {
                Some(Found::Row(known)) if known.fingerprint == *fingerprint => {
                    return Err(Refusal::Duplicate {
                        first: EventId::new(head.epoch, known.sequence),
                        unsent: first_unsent,
                    });
                }
                Some(Found::Row(_)) => return Err(Refusal::Conflict),
                Some(Found::Damaged(name)) => return Err(Refusal::Damaged(name.clone())),
                Some(Found::Nothing) | None => {}
            }
        }
        let status = append.draft.status;
        let accepted = head.accept(status).map_err(|refused| match refused {
            Refused::Finished { terminal } => Refusal::Finished { terminal },
            _ => Refusal::TooMany,
        })?;
        self.refuse_too_much(append, is_new, told.len())?;

        let record = EventRecord::new(accepted.id, accepted.kind, &append.draft);
        if let Some(endpoint) = new {
            self.add_endpoint(endpoint);
        }
        let number = self.ensure_job(&append.job, append.fresh);
        if let Some(job) = self.rows.jobs.change(&append.job) {
            job.head = accepted.head;
            job.updated_at = self.now;
        }
        self.log(&append.job, number, &record, accepted.head);
        if let Some((key, fingerprint)) = append.idempotency.clone() {
            let sequence = accepted.id.sequence();
            let row = KeyRow {
                fingerprint,
                sequence,
            };
            self.rows
                .put_key(append.job.clone(), key.clone(), Found::Row(row));
            self.changes.keys.push(NewKey {
                job: number,
                key,
                fingerprint,
                sequence,
            });
        }
        for unsent in unsent {
            self.give_up(&append.job, &record, unsent);
        }
        let mut lanes = Vec::new();
        for (endpoint, target) in told {
            let lane = LaneKey {
                job: append.job.clone(),
                endpoint,
                redelivery: None,
            };
            let row = self.new_row(number, endpoint, DeliveryId::of(accepted.id, target));
            let Some(row) = row else { continue };
            let row = DeliveryRow {
                sequence: accepted.id.sequence(),
                kind: accepted.kind,
                json_bytes: record.json_bytes(),
                spacing: append.progress_min_interval,
                ..row
            };
            if self.tell(&lane, row, &record) {
                lanes.push(lane);
            }
        }
        self.after_the_end(&append.job);
        Ok(Appended {
            record,
            lanes,
            unsent: first_unsent,
        })
    }

    /// Whom the event is told to: the job's own endpoint, if it wants the event, and
    /// the one that the event names.
    fn audience(&self, append: &Append, standing: Option<Subscriber>) -> Result<Audience, Refusal> {
        let mut audience = Audience::default();
        let named = self.named(append, &mut audience)?;
        let can_be_told = named.is_some() && audience.unsent.is_empty();
        for endpoint in fan_out(standing, named, append.draft.status) {
            if Some(endpoint) == named {
                // One that can't be told is not given up a second time either.
                audience
                    .told
                    .extend(can_be_told.then_some((endpoint, NAMED)));
                continue;
            }
            let row = self.rows.endpoint(endpoint)?;
            match row.map(|row| &row.endpoint) {
                Some(known) if known.keyring.is_none() && !append.has_global_secret => {
                    audience.unsent.push(Unsent {
                        endpoint: Some(endpoint),
                        url: known.url.as_str().to_owned(),
                        target: STANDING,
                        reason: DeadReason::SecretMissing,
                    });
                }
                Some(_) => audience.told.push((endpoint, STANDING)),
                // It was deleted.
                None => {}
            }
        }
        Ok(audience)
    }

    /// The endpoint that the event names, if it is known or can be made.
    fn named(
        &self,
        append: &Append,
        audience: &mut Audience,
    ) -> Result<Option<EndpointId>, Refusal> {
        let mut unsent = |endpoint, url: &str, reason| {
            audience.unsent.push(Unsent {
                endpoint,
                url: url.to_owned(),
                target: NAMED,
                reason,
            });
        };
        let url = match &append.webhook {
            None => return Ok(None),
            Some(Webhook::To(url)) => url,
            Some(Webhook::Refused { url, reason }) => {
                unsent(None, url, *reason);
                return Ok(None);
            }
        };
        let known = self.rows.endpoint_at(url)?;
        let id = known.map(|row| row.endpoint.id);
        let has_own = known.is_some_and(|row| row.endpoint.keyring.is_some());
        if !has_own && !append.has_global_secret {
            unsent(id, url.as_str(), DeadReason::SecretMissing);
            return Ok(id);
        }
        if id.is_none() {
            audience.new = Some(Endpoint::new(append.fresh.endpoint, url.clone()));
        }
        Ok(Some(id.unwrap_or(append.fresh.endpoint)))
    }

    /// Whether there is room for the event and for this many deliveries of it.
    fn refuse_too_much(
        &mut self,
        append: &Append,
        is_new: bool,
        told: usize,
    ) -> Result<(), Refusal> {
        let told_u64 = told as u64;
        if told > 0 && self.bounds.pending + told_u64 > self.bounds.pending_max {
            return Err(Refusal::Full);
        }
        let job = if is_new { Bounds::JOB_BYTES } else { 0 };
        let key = usize::from(append.idempotency.is_some());
        let bytes = append.draft.json.len() + job + (told + key + 1) * Bounds::DELIVERY_BYTES;
        if bytes > self.bounds.bytes_left {
            return Err(Refusal::Full);
        }
        if self.bounds.is_low {
            return Err(Refusal::NoSpace);
        }
        self.bounds.bytes_left -= bytes;
        Ok(())
    }

    /// The job's number; it is made if it is new.
    pub(super) fn ensure_job(&mut self, id: &JobId, fresh: FreshIds) -> u64 {
        if let Ok(Some(job)) = self.rows.job(id) {
            return job.number;
        }
        let number = self.supply.next_number();
        let row = JobRow {
            number,
            id: id.clone(),
            head: JobHead::new(fresh.epoch),
            token: None,
            webhook: None,
            created_at: self.now,
            updated_at: self.now,
            ended_at: None,
            pending: 0,
            listed: 0,
        };
        self.rows.jobs.add(id.clone(), row);
        number
    }

    pub(super) fn add_endpoint(&mut self, endpoint: Endpoint) {
        let (id, url) = (endpoint.id, endpoint.url.clone());
        let row = EndpointRow {
            number: self.supply.next_number(),
            endpoint: Arc::new(endpoint),
            pending: 0,
        };
        self.rows.endpoints.add(id, row);
        self.rows.urls.insert(url, Found::Row(id));
    }

    /// Keeps the event, and of progress only the newest.
    fn log(&mut self, id: &JobId, job: u64, record: &EventRecord, head: JobHead) {
        let keep = match record.kind() {
            EventKind::Progress => self.bounds.progress_events_max.max(1),
            EventKind::Lifecycle => usize::MAX,
            EventKind::Terminal => 1,
        };
        if keep < usize::MAX {
            let kept = self.rows.progress.entry(id.clone()).or_default();
            if record.kind() == EventKind::Progress {
                kept.push_back(record.sequence());
            }
            let outdated = kept.len().saturating_sub(keep);
            for sequence in kept.drain(..outdated) {
                let events = &mut self.changes.events;
                let is_it = |new: &NewEvent| new.job == job && new.record.sequence() == sequence;
                match events.iter().rposition(is_it) {
                    Some(position) => _ = events.remove(position),
                    None => self.changes.outdated.push((job, sequence)),
                }
            }
        }
        self.changes.events.push(NewEvent {
            job,
            record: record.clone(),
            lifecycle_events: head.lifecycle_events,
        });
    }

    /// A webhook that can't be sent: a lifecycle event is kept for whoever mends
    /// it.
    fn give_up(&mut self, job: &JobId, record: &EventRecord, unsent: Unsent) {
        if record.kind() == EventKind::Progress {
            return;
        }
        self.written.died.push(unsent.reason);
        let number = self.supply.next_number();
        self.changes.letters.push(NewLetter {
            number,
            of: Undelivered {
                id: DeliveryId::of(record.id(), unsent.target),
                job: job.clone(),
                record: record.clone(),
                endpoint: unsent.endpoint,
                url: unsent.url,
                generation: 0,
            },
            reason: unsent.reason,
        });
    }

    /// A row for a new delivery, but for what it takes from its event.
    pub(super) fn new_row(
        &mut self,
        job: u64,
        endpoint: EndpointId,
        id: DeliveryId,
    ) -> Option<DeliveryRow> {
        let endpoint = self.rows.endpoint(endpoint).ok().flatten()?.number;
        Some(DeliveryRow {
            number: self.supply.next_number(),
            job: Some(job),
            endpoint,
            id,
            generation: 0,
            sequence: 0,
            kind: EventKind::Lifecycle,
            json_bytes: 0,
            accepted_at: self.now,
            due_at: self.now,
            first_failed_at: None,
            attempts_made: 0,
            spacing: std::time::Duration::ZERO,
            lease: None,
        })
    }

    /// Puts an event's delivery into its lane, unless too much waits for the
    /// endpoint. Whether it did.
    fn tell(&mut self, lane: &LaneKey, row: DeliveryRow, record: &EventRecord) -> bool {
        let endpoint = self.rows.endpoint(lane.endpoint).ok().flatten();
        let pending = endpoint.map_or(0, |row| row.pending);
        let has_room = self.bounds.has_room_at(pending);
        if !has_room && row.kind == EventKind::Progress {
            return false;
        }
        let number = row.number;
        self.add(lane, row, record.clone());
        self.list(&lane.job);
        if has_room {
            // At once, so that no progress is left in the middle of a lane, where
            // the rule does not look.
            self.rule(lane);
        } else {
            self.end(lane, number, Ending::Dead(DeadReason::BacklogFull));
        }
        has_room
    }

    /// Adds a pending delivery at the end of its lane.
    pub(super) fn add(&mut self, lane: &LaneKey, row: DeliveryRow, record: EventRecord) {
        self.bounds.pending += 1;
        if let Some(endpoint) = self.rows.endpoints.change(&lane.endpoint) {
            endpoint.pending += 1;
        }
        if row.job.is_some()
            && let Some(job) = self.rows.jobs.change(&lane.job)
        {
            job.pending += 1;
            job.ended_at = None;
        }
        self.lanes.push(lane, Held::new(row, record));
        self.lanes.touch(lane);
    }

    /// One more delivery can be looked at: of the settled ones, only so many can.
    pub(super) fn list(&mut self, id: &JobId) {
        let Some(job) = self.rows.jobs.change(id) else {
            return;
        };
        job.listed += 1;
        if job.listed > Bounds::LISTED_PER_JOB_MAX && job.listed > job.pending {
            job.listed -= 1;
            self.changes.unlisted.push(job.number);
        }
    }

    /// If the job has ended and nothing is pending, its retention begins now.
    fn after_the_end(&mut self, id: &JobId) {
        if let Some(job) = self.rows.jobs.change(id)
            && job.head.is_finished()
            && job.pending == 0
        {
            job.ended_at = Some(self.now);
        }
    }
}
