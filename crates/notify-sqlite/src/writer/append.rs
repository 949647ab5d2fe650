//! Appending: one event, its deliveries, the job's new head, the idempotency key.
//!
//! Everything that can refuse an append is looked at before anything is written,
//! so a refused one changes nothing and needs no savepoint.

use std::collections::BTreeSet;
use std::time::Duration;

use notify_core::delivery::{Delivery, LaneKey};
use notify_core::endpoint::{Subscriber, fan_out};
use notify_core::job::{EventKind, JobHead, Refused};
use notify_core::store::{Append, AppendError, Appended};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, EventId, EventRecord, JobId, Timestamp};
use rusqlite::params;

use super::Writer;
use super::lanes::Waiting;
use crate::error::Fault;
use crate::rows::{AttemptRow, DeliveryRow, EventRow, KeyRow, Own, signed, unsigned};

/// A delivery to be added.
pub(super) struct New<'a> {
    pub(super) id: DeliveryId,
    /// Its job's number; 0 if the job was forgotten.
    pub(super) job: i64,
    pub(super) number: i64,
    pub(super) lane: &'a LaneKey,
    /// Its endpoint's number.
    pub(super) endpoint: i64,
    pub(super) url: EndpointUrl,
    pub(super) generation: u32,
    /// Whether it is new to the list of its job's deliveries.
    pub(super) is_new: bool,
    pub(super) record: &'a EventRecord,
    /// How far it is kept from the lane's last progress, if it is progress.
    pub(super) spacing: Duration,
}

impl Writer {
    pub(super) fn append(
        &mut self,
        now: Timestamp,
        append: Append,
        low: bool,
        touched: &mut BTreeSet<LaneKey>,
    ) -> Result<Result<Appended, AppendError>, Fault> {
        let job = self.jobs.find(&self.conn, &append.job)?;
        let known = job.map(|job| (job.row.number, job.row.head, job.row.webhook));
        if let Some((number, head, _)) = known
            && let Some((key, fingerprint)) = &append.idempotency
            && let Some(known) = KeyRow::find(&self.conn, number, key)?
        {
            return Ok(Err(if known.fingerprint == *fingerprint {
                let first = EventId::new(head.epoch, unsigned(known.sequence));
                AppendError::Duplicate { first }
            } else {
                AppendError::Conflict
            }));
        }
        let head = known.map_or(JobHead::new(append.fresh.epoch), |(_, head, _)| head);
        let accepted = match head.accept(append.draft.status) {
            Ok(accepted) => accepted,
            Err(Refused::Finished { terminal }) => {
                return Ok(Err(AppendError::Finished { terminal }));
            }
            Err(_) => return Ok(Err(AppendError::TooMany)),
        };
        if self.lanes.pending() + 2 > self.options.pending_deliveries_max {
            return Ok(Err(AppendError::Full));
        }
        if low {
            return Ok(Err(AppendError::NoSpace));
        }

        let record = EventRecord::new(accepted.id, accepted.kind, &append.draft);
        let standing = match known.and_then(|(_, _, webhook)| webhook) {
            None => None,
            Some((number, filter)) => {
                let row = self.endpoints.numbered(&self.conn, number)?;
                row.map(|row| Subscriber {
                    endpoint: row.endpoint.id,
                    filter,
                })
            }
        };
        let named = match &append.webhook {
            None => None,
            Some(url) => Some(self.endpoint_for(url, append.fresh, None)?.1),
        };
        let endpoints: Vec<EndpointId> = fan_out(standing, named, append.draft.status).collect();
        self.ensure_job(now, &append.job, JobHead::new(append.fresh.epoch))?;
        let job = self.log(now, &append.job, accepted.head, &record)?;
        if let Some((key, fingerprint)) = &append.idempotency {
            KeyRow {
                job,
                key: key.as_str().to_owned(),
                fingerprint: *fingerprint,
                sequence: signed(accepted.id.sequence()),
            }
            .insert(&self.conn)?;
        }

        let mut lanes = Vec::new();
        for (endpoint, id) in endpoints.into_iter().zip(append.fresh.deliveries) {
            let lane = LaneKey {
                job: append.job.clone(),
                endpoint,
                redelivery: None,
            };
            let row = self.endpoints.with_id(&self.conn, endpoint)?;
            let Some((endpoint, url)) = row.map(|row| (row.number, row.endpoint.url.clone()))
            else {
                continue;
            };
            let number = self.next_number();
            let new = New {
                id,
                job,
                number,
                lane: &lane,
                endpoint,
                url,
                generation: 0,
                is_new: true,
                record: &record,
                spacing: append.progress_min_interval,
            };
            self.add_delivery(now, new)?;
            lanes.push(lane);
        }
        if accepted.kind == EventKind::Terminal {
            self.begin_retention(now, &append.job)?;
        }
        touched.extend(lanes.iter().cloned());
        Ok(Ok(Appended { record, lanes }))
    }

    /// Moves the job's head and keeps the event, and of progress only the newest.
    fn log(
        &mut self,
        now: Timestamp,
        id: &JobId,
        head: JobHead,
        record: &EventRecord,
    ) -> Result<i64, Fault> {
        let Some(job) = self.jobs.change(id) else {
            return Err(Fault::damaged(format!("jobs {id}: lost")));
        };
        job.row.head = head;
        job.row.updated_at = now;
        let number = job.row.number;
        let keep = match record.kind() {
            EventKind::Progress => self.options.progress_events_max.max(1),
            EventKind::Lifecycle => usize::MAX,
            EventKind::Terminal => 1,
        };
        if keep < usize::MAX {
            let progress = job.progress(&self.conn)?;
            if record.kind() == EventKind::Progress {
                progress.push_back(record.sequence());
            }
            let outdated = progress.len().saturating_sub(keep);
            for sequence in progress.drain(..outdated) {
                EventRow::delete(&self.conn, number, sequence)?;
            }
        }
        EventRow::insert(&self.conn, number, record)?;
        Ok(number)
    }

    /// Adds a pending delivery, due at once, at the end of its lane.
    pub(super) fn add_delivery(&mut self, now: Timestamp, new: New<'_>) -> Result<(), Fault> {
        let New { record, lane, .. } = new;
        let redelivered = new.generation > 0;
        let may_be_dropped = redelivered || record.kind() == EventKind::Progress;
        let row = DeliveryRow {
            job: new.job,
            number: new.number,
            delivery: new.id,
            endpoint: new.endpoint,
            sequence: record.sequence(),
            kind: record.kind(),
            status: record.status(),
            generation: new.generation,
            accepted_at: now,
            due_at: now,
            first_failed_at: None,
            attempts_made: 0,
            entries: 0,
            own: Own {
                job: redelivered.then(|| (lane.job.clone(), record.id().epoch())),
                json: may_be_dropped.then(|| record.json().to_vec()),
            },
        };
        row.insert(&self.conn)?;
        self.conn
            .prepare_cached("INSERT INTO delivery_ids (delivery, job, number) VALUES (?1, ?2, ?3)")?
            .execute(params![new.id.to_string(), new.job, new.number])?;
        self.endpoints
            .change(&self.conn, new.endpoint, |row| row.named += 1)?;
        self.pacing.ask(new.spacing);
        let waiting = Waiting::of(&row, new.spacing);
        self.lanes.push(lane, new.job, new.endpoint, waiting);
        self.fresh.insert(
            new.number,
            Delivery {
                id: new.id,
                lane: lane.clone(),
                generation: new.generation,
                record: record.clone(),
                url: new.url,
                accepted_at: now,
                due_at: now,
                attempts_made: 0,
            },
        );
        if new.job == 0 {
            return Ok(());
        }
        self.jobs.find(&self.conn, &lane.job)?;
        let Some(job) = self.jobs.change(&lane.job) else {
            return Ok(());
        };
        job.row.ended_at = None;
        if new.is_new {
            job.row.deliveries += 1;
            if job.row.deliveries > SETTLED_PER_JOB_MAX {
                return self.forget_oldest_settled(&lane.job);
            }
        }
        Ok(())
    }

    /// Keeps the settled deliveries of one job bounded.
    fn forget_oldest_settled(&mut self, id: &JobId) -> Result<(), Fault> {
        let Some(job) = self.jobs.change(id) else {
            return Ok(());
        };
        if let Some(oldest) = AttemptRow::oldest_settled(&self.conn, job.row.number)? {
            job.row.deliveries -= 1;
            let delivery = oldest.delivery.to_string();
            self.forget_delivery(oldest.job, oldest.number, &delivery, oldest.endpoint)?;
        }
        Ok(())
    }
}

/// The most deliveries of one job that can be looked at, unless more are pending;
/// the oldest settled ones leave first.
const SETTLED_PER_JOB_MAX: i64 = 1_024;
