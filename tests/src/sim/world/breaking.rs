//! What goes wrong, and how the world becomes whole again.

use std::time::Duration;

use notify_core::delivery::Outcome;
use notify_core::store::{Batch, StoreError};

use super::World;
use crate::sim::agenda::Step;
use crate::sim::sabotage::Sabotage;

/// Half an hour, in milliseconds.
const HALF_AN_HOUR: u64 = 1_800_000;

/// Three days, in milliseconds.
const THREE_DAYS: u64 = 3 * 86_400_000;

/// After so long in the heal phase, everything from before it has come in.
const LAST_FAULTS_MILLIS: u64 = 20_000;

impl World {
    pub(super) fn break_something(&mut self) {
        if self.healing {
            return;
        }
        if self.plan.slowness > 1 && self.rng.percent(50) {
            self.change_a_receiver();
        }
        match self.rng.between(0, 9) {
            0..=2 => self.crash(),
            3..=5 => self.jump(),
            6 | 7 => self.settle_with_stale_leases(),
            _ => self.audit.audit_all(self.agenda.now(), &self.store),
        }
        let after = self.rng.between(1, 2 * self.plan.break_millis);
        self.agenda.plan(after, Step::Break);
    }

    /// The process ends between two instructions: what it held is gone, what the
    /// store has is there. Requests that have left are still on their way.
    pub(super) fn crash(&mut self) {
        let at = self.moment();
        let Some(process) = self.process.take() else {
            return;
        };
        let millis = self.agenda.now();
        let recovering = process.is_recovering();
        self.figures.crashes += 1;
        self.figures.crashes_in_recovery += u64::from(recovering);
        self.note(|| format!("the process crashes; in recovery: {recovering}"));
        self.learn_secrets(process.unheard);
        self.learn_secrets(process.call.map_or(Vec::new(), |call| call.secrets));
        self.figures.broken_walks += self.audit.crashes(millis);
        let outcome = match self.sabotage {
            Sabotage::LoseLeasesAtCrash => Outcome::Delivered,
            Sabotage::LoseLeasesInRecovery if recovering => Outcome::Delivered,
            _ => Outcome::Released,
        };
        self.last_time = Some((at.now, millis));
        let (batch, done) = self.store.release_all(at.now, outcome);
        self.audit.written(at, &batch, &done, &self.store);
        self.keep_stale(&batch.settles);
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

    /// A receiver breaks, or is mended.
    fn change_a_receiver(&mut self) {
        let index = self.rng.index(self.plan.failing.len());
        let fails = *self.rng.pick(&[0, 0, 40, 100]).unwrap_or(&0);
        let Some(failing) = index.and_then(|index| self.plan.failing.get_mut(index)) else {
            return;
        };
        *failing = fails;
        self.note(|| format!("receiver {index:?} fails {fails} times of a hundred"));
    }

    /// Somebody sets the clock.
    fn jump(&mut self) {
        let most = match self.rng.between(0, 6) {
            0 | 1 => 3_000,
            2 | 3 => 60_000,
            4 | 5 => HALF_AN_HOUR,
            _ => THREE_DAYS,
        };
        let by = i64::try_from(self.rng.between(0, 2 * most)).unwrap_or_default();
        let by = by - i64::try_from(most).unwrap_or_default();
        self.figures.clock_jumps += 1;
        self.note(|| format!("the wall clock jumps by {by} ms"));
        self.agenda.jump_wall(by);
    }

    /// Others with leases of earlier lives come back and settle, together.
    fn settle_with_stale_leases(&mut self) {
        let at = self.moment();
        let mut settles = self.stale_settles();
        for settle in &mut settles {
            let outcomes = [
                Outcome::Delivered,
                Outcome::Released,
                Outcome::Retry {
                    after: Duration::ZERO,
                },
            ];
            settle.attempt = None;
            let outcome = self.rng.pick(&outcomes).copied();
            settle.outcome = outcome.unwrap_or(Outcome::Delivered);
        }
        self.figures.stale_leases += settles.len() as u64;
        self.note(|| format!("stale leases: {settles:?}"));
        let batch = Batch {
            settles,
            ..Batch::default()
        };
        let done = self.store.write(at.now, &batch);
        self.audit.written(at, &batch, &done, &self.store);
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
        for (id, enabled) in self.endpoints() {
            if !enabled {
                self.enable(id, true);
            }
        }
        self.redeliver_all();
        if first {
            self.end_jobs();
            // What was under way may still disable an endpoint, or die.
            self.agenda.plan(LAST_FAULTS_MILLIS, Step::Heal);
        } else {
            self.healed = true;
        }
    }
}
