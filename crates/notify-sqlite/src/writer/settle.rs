//! Settling: what ends a lease, and what ends a delivery.

use std::collections::BTreeSet;

use notify_core::Timestamp;
use notify_core::delivery::{Attempt, DeadReason, DeliveryState, LaneKey, Outcome, Settle};
use notify_core::job::EventKind;
use notify_core::store::{StaleLease, Written};
use rusqlite::params;

use super::Writer;
use super::lanes::Waiting;
use crate::error::Fault;
use crate::rows::{AttemptRow, DeliveryRow};

impl Writer {
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        settle: Settle,
        written: &mut Written,
        touched: &mut BTreeSet<LaneKey>,
    ) -> Result<Result<(), StaleLease>, Fault> {
        let Some(held) = self.leases.end(settle.delivery, settle.lease) else {
            return Ok(Err(StaleLease));
        };
        let (lane, number) = (held.lane, held.number);
        let Some(waiting) = self.lanes.waiting_mut(&lane, number) else {
            return Ok(Err(StaleLease));
        };
        waiting.row.leased = false;
        if let Some(attempt) = &settle.attempt {
            if attempt.failure().is_some() {
                waiting.row.first_failed_at.get_or_insert(now);
            }
            if waiting.row.kind == EventKind::Progress {
                let sent_at = now.minus(attempt.duration);
                self.pacing.sent(&lane, sent_at, now);
            }
        }
        match settle.outcome {
            Outcome::Delivered => {
                self.end(now, &lane, number, DeliveryState::Delivered, settle.attempt)?;
            }
            Outcome::Dead { reason } => {
                self.bury(now, &lane, number, reason, settle.attempt, written)?;
            }
            Outcome::Retry { due_at } | Outcome::Postponed { due_at } => {
                waiting.row.due_at = due_at;
                self.wait_on(&lane, number, settle.attempt)?;
            }
            // The lane rule finds the newer event and supersedes this one, which
            // hands its due time on.
            Outcome::Released | Outcome::Superseded => {
                if settle.attempt.is_some() {
                    self.wait_on(&lane, number, settle.attempt)?;
                }
            }
        }
        touched.insert(lane);
        Ok(Ok(()))
    }

    /// A delivery stays pending, perhaps with one more attempt behind it.
    fn wait_on(
        &mut self,
        lane: &LaneKey,
        number: i64,
        attempt: Option<Attempt>,
    ) -> Result<(), Fault> {
        let failed = attempt.as_ref().and_then(|attempt| {
            let failed = attempt.failure().is_some();
            failed.then_some(attempt.number)
        });
        if attempt.is_some() {
            self.enter(lane, number, DeliveryState::Pending, attempt)?;
        }
        let (Some(waiting), Some(known)) =
            (self.lanes.waiting(lane, number), self.lanes.lane(lane))
        else {
            return Ok(());
        };
        let row = DeliveryRow::find(&self.conn, known.job, number)?;
        let mut row =
            row.ok_or_else(|| Fault::damaged(format!("deliveries {}: missing", waiting.delivery)))?;
        row.due_at = waiting.row.due_at;
        row.first_failed_at = waiting.row.first_failed_at;
        row.attempts_made = failed.unwrap_or(row.attempts_made);
        row.entries = waiting.entries;
        row.update(&self.conn)
    }

    /// Writes an attempt, and where it leaves the delivery.
    fn enter(
        &mut self,
        lane: &LaneKey,
        number: i64,
        state: DeliveryState,
        attempt: Option<Attempt>,
    ) -> Result<(), Fault> {
        let Some(known) = self.lanes.lane(lane) else {
            return Ok(());
        };
        let (job, endpoint) = (known.job, known.endpoint);
        let Some(waiting) = self.lanes.waiting_mut(lane, number) else {
            return Ok(());
        };
        let entry = waiting.entries;
        waiting.entries += 1;
        AttemptRow {
            job,
            number,
            entry,
            delivery: waiting.delivery,
            endpoint,
            sequence: waiting.row.sequence,
            generation: waiting.generation,
            state,
            attempt,
        }
        .insert(&self.conn)
    }

    /// Ends a pending delivery, for good.
    pub(super) fn end(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        number: i64,
        state: DeliveryState,
        attempt: Option<Attempt>,
    ) -> Result<(), Fault> {
        self.enter(lane, number, state, attempt)?;
        self.leave_lane(now, lane, number)
    }

    /// Takes a delivery out of its lane.
    fn leave_lane(&mut self, now: Timestamp, lane: &LaneKey, number: i64) -> Result<(), Fault> {
        let Some(known) = self.lanes.lane(lane) else {
            return Ok(());
        };
        let (job, endpoint) = (known.job, known.endpoint);
        let Some(&Waiting { delivery, .. }) = self.lanes.waiting(lane, number) else {
            return Ok(());
        };
        DeliveryRow::delete(&self.conn, job, number)?;
        self.fresh.remove(&number);
        self.lanes.remove(lane, number);
        if job == 0 {
            // A redelivery that outlived its job: nobody can ask for it. Another
            // job that has begun under the same id is none of its business.
            return self.forget_delivery(job, number, &delivery.to_string(), endpoint);
        }
        if self.lanes.pending_of(job) == 0 {
            self.begin_retention(now, &lane.job)?;
        }
        Ok(())
    }

    /// Forgets a settled delivery.
    pub(super) fn forget_delivery(
        &mut self,
        job: i64,
        number: i64,
        delivery: &str,
        endpoint: i64,
    ) -> Result<(), Fault> {
        self.conn
            .prepare_cached("DELETE FROM attempts WHERE job = ?1 AND number = ?2")?
            .execute(params![job, number])?;
        self.conn
            .prepare_cached("DELETE FROM delivery_ids WHERE delivery = ?1")?
            .execute([delivery])?;
        self.endpoints.release(&self.conn, endpoint)
    }

    pub(super) fn supersede(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        number: i64,
        written: &mut Written,
    ) -> Result<(), Fault> {
        written.superseded += 1;
        self.end(now, lane, number, DeliveryState::Superseded, None)
    }

    /// Makes a pending delivery a dead letter.
    pub(super) fn bury(
        &mut self,
        now: Timestamp,
        lane: &LaneKey,
        number: i64,
        reason: DeadReason,
        attempt: Option<Attempt>,
        written: &mut Written,
    ) -> Result<(), Fault> {
        self.enter(lane, number, DeliveryState::Dead, attempt)?;
        let Some(known) = self.lanes.lane(lane) else {
            return Ok(());
        };
        let (job, endpoint) = (known.job, known.endpoint);
        if reason == DeadReason::Gone {
            self.endpoints
                .change(&self.conn, endpoint, |row| row.endpoint.enabled = false)?;
        }
        let delivery = self.whole(lane, number)?;
        let entries = AttemptRow::of(&self.conn, job, number)?;
        let history: Vec<Attempt> = entries.into_iter().filter_map(|one| one.attempt).collect();
        self.keep_dead(now, delivery, reason, &history)?;
        written.died.push(reason);
        self.leave_lane(now, lane, number)
    }
}
