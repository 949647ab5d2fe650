//! Batches and claims: rows are fetched, the ledger decides, and what it decides is
//! applied. Whose wish makes it panic is refused alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use notify_core::Timestamp;
use notify_core::delivery::LaneKey;
use notify_core::ledger::{
    self, BUG, Bounds, Decided, Round, Rows, Supply, decide_isolated, unless_it_panics,
    without_culprits,
};
use notify_core::retention::Retention;
use notify_core::store::{Batch, Room, StoreError, Written};

use super::tables::Tables;

impl Tables {
    pub(super) fn write(&mut self, now: Timestamp, batch: &Batch) -> Result<Written, StoreError> {
        let isolated = never(decide_isolated(batch, |batch| self.try_write(now, batch)))?;
        self.supply = isolated.supply;
        let mut written = self.apply(now, isolated.decided);
        for culprit in isolated.culprits {
            let Some(settle) = batch.settles.get(culprit) else {
                tracing::error!(why = BUG, "an operation is refused");
                continue;
            };
            let lane = self.pending.lane(&settle.lane);
            let mut rows = lane.first.iter();
            if let Some(row) = rows.find(|row| row.id == settle.delivery) {
                self.set_aside(now, &settle.lane, row.number, &mut written);
            }
        }
        Ok(written)
    }

    pub(super) fn claim(
        &mut self,
        now: Timestamp,
        room: &Room,
        limit: usize,
    ) -> Result<Written, StoreError> {
        let lanes = self.pending.due(now, room, limit);
        self.decide_over(now, lanes, |rows, bounds, supply| {
            ledger::decide_claim(now, room.clone(), limit, rows, bounds, supply)
        })
    }

    /// Gives up some of what has been due at sick endpoints for longer than `max_age`;
    /// how much, and whether there is more.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        max_age: Duration,
    ) -> Result<(u64, bool), StoreError> {
        let most = Retention::EXPIRED_PER_STEP_MAX;
        let lanes = self.pending.expired(now, max_age, most);
        if lanes.is_empty() {
            return Ok((0, false));
        }
        let written = self.decide_over(now, lanes, |rows, bounds, supply| {
            ledger::decide_expiry(now, max_age, rows, bounds, supply)
        })?;
        let expired = written.died.len() as u64;
        let is_more = expired > 0 && !self.pending.expired(now, max_age, 1).is_empty();
        Ok((expired, is_more))
    }

    /// Decides over lanes and applies it. Those over which deciding panics go on without
    /// their heads.
    fn decide_over(
        &mut self,
        now: Timestamp,
        lanes: Vec<Arc<LaneKey>>,
        decide: impl Fn(Rows, Bounds, &mut Supply) -> Decided,
    ) -> Result<Written, StoreError> {
        let try_over = |lanes: &[Arc<LaneKey>]| self.try_over(lanes, &decide);
        let ((decided, supply), culprits) = never(without_culprits(lanes, try_over))?;
        self.supply = supply;
        let mut written = self.apply(now, decided);
        for lane in &culprits {
            if let Some(head) = self.pending.lane(lane).first.first() {
                self.set_aside(now, lane, head.number, &mut written);
            }
        }
        Ok(written)
    }

    /// What the ledger decides over a batch; `None` if that panics.
    fn try_write(
        &self,
        now: Timestamp,
        batch: &Batch,
    ) -> Result<Option<(Decided, Supply)>, Infallible> {
        unless_it_panics(|| {
            #[cfg(test)]
            self.panic_over(batch);
            let mut rows = Rows::new();
            for round in Round::ALL {
                let wants = ledger::wants(round, batch, &mut rows);
                self.fill(wants, &mut rows);
            }
            let mut supply = self.supply;
            let decided = ledger::decide(now, batch, rows, self.bounds(), &mut supply);
            Ok((decided, supply))
        })
    }

    /// What the ledger decides over lanes; `None` if that panics.
    fn try_over(
        &self,
        lanes: &[Arc<LaneKey>],
        decide: impl Fn(Rows, Bounds, &mut Supply) -> Decided,
    ) -> Result<Option<(Decided, Supply)>, Infallible> {
        unless_it_panics(|| {
            #[cfg(test)]
            for lane in lanes {
                assert_ne!(Some(&lane.job), self.panics_at.as_ref(), "a bug");
            }
            let rows = self.fetch_due(lanes);
            let mut supply = self.supply;
            let decided = decide(rows, self.bounds(), &mut supply);
            Ok((decided, supply))
        })
    }

    /// A delivery's lane goes on without it. Its job is kept for as long as the
    /// process.
    fn set_aside(&mut self, now: Timestamp, lane: &LaneKey, number: u64, written: &mut Written) {
        tracing::error!(why = BUG, job = %lane.job, "a delivery is set aside");
        let row = self.pending.find(lane, number).copied();
        self.pending.set_aside(now, lane, number);
        // What stands behind it is to be claimed now.
        if !written.left_waiting.contains(&lane.endpoint) {
            written.left_waiting.push(lane.endpoint);
        }
        if let Some(known) = self.endpoints.get_mut(&lane.endpoint) {
            known.row.pending = known.row.pending.saturating_sub(1);
        }
        let is_listed = row.is_some_and(|row| row.job.is_some());
        if let Some(job) = self.jobs.get_mut(&lane.job).filter(|_| is_listed) {
            job.row.pending = job.row.pending.saturating_sub(1);
        }
    }

    /// A bug in the ledger that one job brings to light.
    #[cfg(test)]
    fn panic_over(&self, batch: &Batch) {
        use notify_core::store::Operation;
        let settled = batch.settles.iter().map(|settle| &settle.lane.job);
        let asked = batch.operations.iter().filter_map(|one| match one {
            Operation::Append(append) => Some(&append.job),
            _ => None,
        });
        let is_told = settled
            .chain(asked)
            .any(|job| Some(job) == self.panics_at.as_ref());
        assert!(!is_told, "a bug");
    }
}

/// Nothing can go wrong but a bug over nothing at all.
fn never<T>(decided: Result<Option<T>, Infallible>) -> Result<T, StoreError> {
    let Ok(decided) = decided;
    decided.ok_or_else(|| StoreError::Failed("deciding over nothing panics".to_owned()))
}
