//! The driver of the committer.
//!
//! It does what the hub's driver does, one step at a time: a call of the store
//! begins, is carried out, is answered. Anything may happen in between.

use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::commit::{CommitPhase, Committer, Done as Told, Work};
use notify_core::schedule::Scheduler;
use notify_core::store::StoreError;

use super::World;
use super::process::{Process, STANDSTILL_MILLIS};
use crate::sim::agenda::Step;
use crate::sim::audit::Invariant;
use crate::sim::sabotage::Sabotage;

/// How long the process sleeps at least when all has healed and only retention
/// wakes it, in milliseconds: a day of waiting is then worth simulating.
const SLEEP_MILLIS_MIN: u64 = 60_000;

/// As long as a clock that is wrong by days is: so many milliseconds at most.
const DAYS_MAX: u64 = 5 * 86_400_000;

impl World {
    pub(super) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        if !self.healing && self.rng.percent(self.plan.clock_wrong) {
            self.figures.wrong_clocks += 1;
            let by = i64::try_from(self.rng.between(0, 2 * DAYS_MAX)).unwrap_or_default();
            let most = i64::try_from(DAYS_MAX).unwrap_or_default();
            self.agenda.jump_wall(by - most);
        }
        self.lives += 1;
        let (life, wall, millis) = (self.lives, self.agenda.wall(), self.agenda.now());
        let mut limits = self.plan.limits;
        if self.sabotage == Sabotage::WidenWindow {
            limits.in_flight_per_endpoint_max += 1;
        }
        let scheduler = Scheduler::new(limits, self.plan.policy.clone(), self.rng.number());
        let committer = Committer::new(self.plan.commit, self.plan.retention);
        let process = Process::new(life, millis, wall, scheduler, committer);
        self.process = Some(process);
        self.note(|| format!("process {life} starts; the wall says {wall:?}"));
        if let Some((last, at)) = self.last_time {
            let from = last.plus(Duration::from_millis(millis - at));
            let step = ClockStep { from, to: wall };
            self.store.clock_set(step);
            self.audit.clock_set(millis, step);
        }
        self.audit.disturbed(millis);
        self.wake_committer();
    }

    pub(super) fn wake_committer(&mut self) {
        let life = self.lives;
        let after = self.rng.between(0, 2);
        self.agenda.plan(after, Step::Commit { life });
    }

    /// One turn of the driver.
    pub(super) fn commit(&mut self) {
        let millis = self.agenda.now();
        let Some(process) = &mut self.process else {
            return;
        };
        process.wakes_at = process.wakes_at.filter(|&at| at > millis);
        if process.call.is_some() {
            return;
        }
        process.committer.handle_phase(CommitPhase::Running);
        self.take_over();
        self.follow_clock();
        let Some(process) = &mut self.process else {
            return;
        };
        let at = process.at(millis);
        let now = process.time(millis);
        match process.committer.poll_work(at, now, &mut process.scheduler) {
            Work::Wait(until) => {
                let mut wakes_at = process.millis_at(until);
                if self.healed {
                    wakes_at = wakes_at.max(millis + SLEEP_MILLIS_MIN);
                }
                if process.wakes_at.is_none_or(|planned| wakes_at < planned) {
                    process.wakes_at = Some(wakes_at);
                    let life = process.life;
                    let after = wakes_at.saturating_sub(millis);
                    self.agenda.plan(after, Step::Commit { life });
                }
                self.tell();
            }
            Work::End => {
                self.tell();
                // The store does nothing more: the process ends, and starts anew.
                self.crash();
            }
            work => {
                self.begin_call(work);
                self.tell();
            }
        }
    }

    /// The committer takes over what callers ask for.
    fn take_over(&mut self) {
        let millis = self.agenda.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let at = process.at(millis);
        for ticket in std::mem::take(&mut process.mailbox) {
            let Some(call) = self.calls.get(&ticket) else {
                continue;
            };
            if self.sabotage == Sabotage::ForgetTheGone && call.gone {
                continue;
            }
            process.taken.insert(ticket);
            let operation = call.operation.clone();
            process.committer.handle_operation(at, operation, ticket);
        }
    }

    /// Goes by the wall again if it was set.
    fn follow_clock(&mut self) {
        let (millis, wall) = (self.agenda.now(), self.agenda.wall());
        let Some(process) = &mut self.process else {
            return;
        };
        let at = process.at(millis);
        if self.sabotage == Sabotage::FollowTheWall || process.committer.is_paused(at) {
            return;
        }
        let Some(step) = process.step(millis, wall) else {
            return;
        };
        if !self.healing && self.rng.percent(10) {
            process.committer.handle_failed(at, StoreError::NotNow);
            self.audit.disturbed(millis);
            return;
        }
        self.store.clock_set(step);
        process.set_clock(millis, step);
        process.scheduler.handle_clock_set(step);
        process.committer.handle_clock_set(at, step);
        self.audit.clock_set(millis, step);
        self.note(|| format!("the process follows the wall to {wall:?}"));
    }

    /// A process with nothing to do while something is due has missed a wake-up.
    pub(super) fn check_progress(&mut self) {
        let millis = self.agenda.now();
        let at_rest = |process: &Process| process.is_at_rest(millis);
        if self.process.as_ref().is_some_and(at_rest) && !self.healed {
            let overdue = self
                .audit
                .due_before(millis.saturating_sub(STANDSTILL_MILLIS));
            self.audit.check(overdue.is_none(), Invariant::I14, || {
                format!("{overdue:?} has been due for long, and the process does nothing")
            });
        }
        if self.process.is_some() && !self.healed {
            let too_old = self.audit.too_old(millis);
            self.audit.check(too_old.is_none(), Invariant::Expires, || {
                format!("{too_old:?} is too old, and nobody gives it up")
            });
        }
    }

    /// Callers hear what has come of their calls.
    pub(super) fn tell(&mut self) {
        while let Some(process) = &mut self.process
            && let Some(Told { ticket, outcome }) = process.committer.poll_done()
        {
            let mut once = process.taken.remove(&ticket);
            if self.sabotage == Sabotage::AnswerTwice {
                once &= process.taken.remove(&ticket);
            }
            self.audit.check(once, Invariant::Answered, || {
                format!("caller {ticket} is answered twice")
            });
            self.answer(ticket, outcome);
        }
    }
}
