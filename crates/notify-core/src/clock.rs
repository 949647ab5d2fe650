//! What becomes of times that were kept when the wall clock turns out to be
//! wrong: it is set while the program runs, or was wrong in an earlier life.
//!
//! - Back: whoever waits waits as long as before, and nobody for the clock to
//!   come by again ([`ClockStep::due`], [`ClockStep::stamp`]).
//! - Forward: what has fallen due is due. Nothing counts as old because of it
//!   ([`ClockStep::stamp`], [`Forbearance`]).
//! - Between two lives nobody saw the clock being set. There no delivery waits
//!   longer than the delay that it was given ([`due_again`]), and none is
//!   overtaken for the time between ([`failed_again`]).

use std::time::Duration;

use crate::lane::OVERTAKEN_AFTER;
use crate::retention::Retention;
use crate::time::Timestamp;

/// The longest delay that a delivery can be given: 24 h and 20 % of jitter,
/// rounded up.
pub const DELAY_MAX: Duration = Duration::from_secs(29 * 3_600);

/// For how long nothing is forgotten after a start and after a step: a clock that
/// is wrong when a machine starts is set soon afterwards.
pub const SETTLING: Duration = Duration::from_secs(600);

/// The clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// What it would read now.
    pub from: Timestamp,
    /// What it reads now.
    pub to: Timestamp,
}

impl ClockStep {
    /// Whether the clock was set back.
    pub fn is_back(self) -> bool {
        self.to < self.from
    }

    /// When a delivery that was due at `due_at` is due.
    pub fn due(self, due_at: Timestamp) -> Timestamp {
        if self.is_back() && due_at > self.to {
            self.carry(due_at)
        } else {
            due_at
        }
    }

    /// When something happened that was stamped `at`, as far as the lane rule and
    /// pacing are concerned: they ask whether it is longer ago than a minute.
    pub fn stamp(self, at: Timestamp) -> Timestamp {
        let is_recent = at <= self.from && self.from.since(at) <= OVERTAKEN_AFTER;
        let is_to_come = self.is_back() && at > self.to;
        if is_recent || is_to_come {
            self.carry(at)
        } else {
            at
        }
    }

    /// The time that is as far from [`to`](Self::to) as `at` is from
    /// [`from`](Self::from).
    pub fn carry(self, at: Timestamp) -> Timestamp {
        if at >= self.from {
            self.to.plus(at.since(self.from))
        } else {
            let ago = self.from.since(at).as_millis();
            let ago = u64::try_from(ago).unwrap_or(u64::MAX);
            Timestamp::from_millis(self.to.as_millis().saturating_sub(ago))
        }
    }
}

/// When a delivery is due that a store takes up again at `now`, if it was given
/// this delay. The same unless the clock was wrong when it was given.
pub fn due_again(now: Timestamp, due_at: Timestamp, delay: Duration) -> Timestamp {
    due_at.min(now.plus(delay.min(DELAY_MAX)))
}

/// When a delivery counts as having failed first that a store takes up again at
/// `now`, if its last attempt was at `attempted_at`. What waits behind it waits the
/// whole time anew if all of that has passed with nobody looking: the machine was
/// off, or only its clock was set.
pub fn failed_again(
    now: Timestamp,
    first_failed_at: Timestamp,
    attempted_at: Timestamp,
) -> Timestamp {
    if now.since(attempted_at) > OVERTAKEN_AFTER {
        now
    } else {
        first_failed_at.min(now)
    }
}

/// For how long to keep what has ended, by a clock that may be set.
///
/// Time is counted here from the process's start, by a clock that nobody sets.
#[derive(Debug, Default)]
pub struct Forbearance {
    /// When the clock was last doubted.
    doubted_at: Duration,
    /// When the clock was set forward, and by how much.
    forward: Vec<(Duration, Duration)>,
}

/// More than any process sees; the oldest are then counted as one.
const STEPS_MAX: usize = 64;

/// Longer than anything is kept.
const KEPT: Duration = Duration::from_secs(1_000 * 366 * 86_400);

impl Forbearance {
    /// The clock was set, this long after the process's start.
    pub fn handle_step(&mut self, after_start: Duration, step: ClockStep) {
        self.doubted_at = after_start;
        let by = step.to.since(step.from);
        if by.is_zero() {
            return;
        }
        self.forward.push((after_start, by));
        if self.forward.len() > STEPS_MAX {
            let (_, oldest) = self.forward.remove(0);
            if let Some((_, by)) = self.forward.first_mut() {
                *by = by.saturating_add(oldest);
            }
        }
    }

    /// The retention by which to trim now: everything is kept while the clock may
    /// still be wrong, and what ended before a step forward is not older for it.
    pub fn retention(&self, after_start: Duration, retention: Retention) -> Retention {
        Retention {
            jobs: self.stretched(after_start, retention.jobs),
            dead_letters: self.stretched(after_start, retention.dead_letters),
            max_age: self.stretched(after_start, retention.max_age),
            ..retention
        }
    }

    fn stretched(&self, after_start: Duration, kept: Duration) -> Duration {
        if after_start.saturating_sub(self.doubted_at) < SETTLING.min(kept) {
            return KEPT;
        }
        // What ended before an earlier step has been kept for long enough.
        let counts = |at: Duration| after_start.saturating_sub(at) < kept;
        let steps = self.forward.iter().filter(|(at, _)| counts(*at));
        steps.fold(kept, |kept, (_, by)| kept.saturating_add(*by))
    }
}

#[cfg(test)]
mod tests;
