//! What goes wrong, and how the world becomes whole again.

use notify_core::delivery::Outcome;
use notify_core::store::{DeadFilter, List, Room, Store, StoreError};

use super::World;
use crate::sim::agenda::Step;
use crate::sim::sabotage::Sabotage;
use crate::sim::store::at_once;

/// Half an hour, in milliseconds.
const HALF_AN_HOUR: u64 = 1_800_000;

/// After so long in the heal phase, everything from before it has come in.
const LAST_FAULTS_MILLIS: u64 = 20_000;

impl World {
    pub(super) fn break_something(&mut self) {
        if self.healing {
            return;
        }
        match self.rng.between(0, 9) {
            0..=2 => self.crash(),
            3..=5 => self.jump(),
            6 | 7 => self.settle_with_stale_leases(),
            _ => self.ledger.audit_all(self.sched_now(), &self.store),
        }
        let after = self.rng.between(1, 2 * self.plan.break_millis);
        self.agenda.plan(after, Step::Break);
    }

    /// The process ends between two instructions: what it held is gone, what the
    /// store has is there. Requests that have left are still on their way.
    pub(super) fn crash(&mut self) {
        let mut at = self.moment();
        let Some(process) = self.process.take() else {
            return;
        };
        let recovering = process.is_recovering(self.agenda.now());
        self.figures.crashes += 1;
        self.figures.crashes_in_recovery += u64::from(recovering);
        self.note(|| format!("the process crashes; in recovery: {recovering}"));
        self.ledger.crashes();
        let outcome = match self.sabotage {
            Sabotage::LoseLeasesAtCrash => Outcome::Delivered,
            Sabotage::LoseLeasesInRecovery if recovering => Outcome::Delivered,
            _ => Outcome::Released,
        };
        at.now = process.time(self.agenda.now());
        let (settles, done) = self.store.release_all(at.now, outcome);
        self.ledger.written(at, &settles, &[], &done, &self.store);
        self.keep_stale(&settles);
        self.hang_up();
        self.close_readers();
        let after = self.rng.between(0, 2_000);
        self.agenda.plan(after, Step::Start);
        if !self.healing && self.rng.percent(40) {
            // Recovery is no safer a moment than any other.
            let during = self.rng.between(0, 15);
            self.agenda.plan(after + during, Step::Break);
        }
    }

    /// Somebody sets the clock.
    fn jump(&mut self) {
        let most = match self.rng.between(0, 2) {
            0 => 2_000,
            1 => 60_000,
            _ => HALF_AN_HOUR,
        };
        let by = i64::try_from(self.rng.between(0, 2 * most)).unwrap_or_default();
        let by = by - i64::try_from(most).unwrap_or_default();
        self.figures.clock_jumps += 1;
        self.note(|| format!("the wall clock jumps by {by} ms"));
        self.agenda.jump_wall(by);
    }

    /// Someone with a lease of long ago comes back and settles.
    fn settle_with_stale_leases(&mut self) {
        let Some(mut settle) = self.stale_settle() else {
            return;
        };
        let at = self.moment();
        settle.attempt = None;
        let outcomes = [
            Outcome::Delivered,
            Outcome::Released,
            Outcome::Retry { due_at: at.now },
        ];
        settle.outcome = self
            .rng
            .pick(&outcomes)
            .copied()
            .unwrap_or(Outcome::Delivered);
        self.figures.stale_leases += 1;
        self.note(|| format!("a stale lease: {settle:?}"));
        let settles = vec![settle];
        let done = self
            .store
            .write(at.now, settles.clone(), Vec::new(), Room::default());
        self.ledger.written(at, &settles, &[], &done, &self.store);
    }

    /// What the store says to the call that it is about to carry out, and whether
    /// it carries it out nevertheless.
    pub(super) fn draw_store_fault(&mut self) -> Option<(StoreError, bool)> {
        if self.healing {
            return None;
        }
        match self.rng.between(0, 199) {
            0..=3 => Some((StoreError::Full, false)),
            8..=11 => Some((StoreError::NotNow, false)),
            4 => Some((StoreError::OutcomeUnknown, false)),
            5..=7 => {
                self.figures.lost_replies += 1;
                Some((StoreError::OutcomeUnknown, true))
            }
            _ => None,
        }
    }

    /// Nothing breaks any more: the process runs, every receiver is well, every
    /// endpoint is enabled, every dead letter is redelivered, every job ends.
    pub(super) fn heal(&mut self) {
        if !self.healing && self.rng.percent(30) {
            // The last fault, after which only recovery brings anything back.
            self.crash();
        }
        let first = !std::mem::replace(&mut self.healing, true);
        self.note(|| "everything heals".to_owned());
        self.start();
        let listed = at_once(self.store.memory().endpoints(List {
            limit: 1_000,
            cursor: None,
        }));
        for endpoint in listed.map(|listed| listed.items).unwrap_or_default() {
            if !endpoint.enabled {
                self.enable(endpoint.id, true);
            }
        }
        self.redeliver(DeadFilter::default());
        if first {
            self.end_jobs();
            // What was under way may still disable an endpoint, or die.
            self.agenda.plan(LAST_FAULTS_MILLIS, Step::Heal);
        }
    }
}
