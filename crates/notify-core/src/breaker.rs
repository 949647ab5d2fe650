//! An endpoint's breaker: whether it is well, and when to try one that is not.
//!
//! **What counts.** A *failure* speaks against the endpoint: no connection, no TLS, no
//! name, no answer in time, 5xx ([`Blame::Endpoint`]). Any other answer shows that the
//! receiver lives, whatever it says to one message: it ends a row of failures. What is
//! our own failure, or an address that policy refuses, says nothing of it.
//!
//! **The way it goes.** Closed, until [`IN_A_ROW_MAX`] failures in a row, or at least
//! half of [`SPAN_ATTEMPTS_MIN`] or more attempts within a span of [`SPAN`] that began
//! with a failure. Then open: nothing is attempted, for [`OPEN_MIN`] at first. Then half
//! open: one attempt, the *probe*, decides. If the receiver lives it is closed, and all
//! that was counted is forgotten; else it is open for twice as long, up to a bound.
//!
//! **Pacing.** A `Retry-After` with 429 or 503 makes it wait in the same way, for as
//! long as was asked, at most [`PACE_MAX`], and not longer each time.
//!
//! What was sent before it opened and ends while it is open decides nothing, but a
//! `Retry-After` is heeded whoever brings it.

use std::time::Duration;

use crate::clock::ClockStep;
use crate::retry::{Blame, Verdict};
use crate::time::Timestamp;

/// So many failures in a row open it.
pub const IN_A_ROW_MAX: u32 = 5;
/// How long a span is in which attempts are counted.
pub const SPAN: Duration = Duration::from_secs(60);
/// So few attempts within a span decide nothing.
pub const SPAN_ATTEMPTS_MIN: u32 = 20;
/// For how long it is open at first.
pub const OPEN_MIN: Duration = Duration::from_secs(30);
/// For how long it is open at most.
pub const OPEN_MAX: Duration = Duration::from_secs(15 * 60);
/// For how long a `Retry-After` paces an endpoint at least: more often nobody looks.
pub const PACE_MIN: Duration = Duration::from_secs(1);
/// For how long a `Retry-After` paces an endpoint at most.
pub const PACE_MAX: Duration = Duration::from_secs(15 * 60);

/// How a breaker stands, for whoever looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Everything is attempted.
    Closed,
    /// Nothing is attempted: it failed.
    Open,
    /// One attempt is made, or the next that comes is the one.
    HalfOpen,
    /// Nothing is attempted: it asked for time.
    Paced,
}

impl BreakerState {
    /// The state on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Paced => "paced",
        }
    }
}

/// One endpoint's breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    open_max: Duration,
    in_a_row: u32,
    span: Option<Span>,
    gate: Gate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Closed,
    Shut {
        until: Timestamp,
        /// For how long it was opened last; `None` if it is only paced.
        opened_for: Option<Duration>,
    },
    Probing {
        opened_for: Option<Duration>,
    },
}

/// Attempts that ended within [`SPAN`] of a failure.
#[derive(Clone, Copy, Debug)]
struct Span {
    began_at: Timestamp,
    attempts: u32,
    failures: u32,
}

impl Breaker {
    /// A closed one, of an endpoint of which nothing is known. It is open for at most
    /// `open_max`, but at least [`OPEN_MIN`].
    pub fn new(open_max: Duration) -> Self {
        Self {
            open_max: open_max.clamp(OPEN_MIN, OPEN_MAX),
            in_a_row: 0,
            span: None,
            gate: Gate::Closed,
        }
    }

    /// Of an endpoint that was sick when it was last heard of: it begins with its
    /// probe.
    pub fn of_sick(open_max: Duration, now: Timestamp) -> Self {
        Self {
            gate: Gate::Shut {
                until: now,
                opened_for: None,
            },
            ..Self::new(open_max)
        }
    }

    /// Whether only a probe may be attempted, if anything.
    pub fn is_sick(&self) -> bool {
        self.gate != Gate::Closed
    }

    /// Whether nothing would be lost with it.
    pub fn is_blank(&self) -> bool {
        !self.is_sick() && self.in_a_row == 0 && self.span.is_none()
    }

    /// How many attempts in a row have failed.
    pub fn failures_in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// When the probe may be made; `None` while it is closed or probing.
    pub fn probe_at(&self) -> Option<Timestamp> {
        match self.gate {
            Gate::Shut { until, .. } => Some(until),
            Gate::Closed | Gate::Probing { .. } => None,
        }
    }

    /// How it stands.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        match self.gate {
            Gate::Closed => BreakerState::Closed,
            Gate::Probing { .. } => BreakerState::HalfOpen,
            Gate::Shut { until, .. } if until <= now => BreakerState::HalfOpen,
            Gate::Shut { opened_for, .. } if opened_for.is_some() => BreakerState::Open,
            Gate::Shut { .. } => BreakerState::Paced,
        }
    }

    /// The probe is under way.
    pub fn handle_probe(&mut self) {
        if let Gate::Shut { opened_for, .. } = self.gate {
            self.gate = Gate::Probing { opened_for };
        }
    }

    /// An attempt has ended; `None` if nothing came of it, or nothing that says
    /// anything of the endpoint.
    pub fn handle_end(&mut self, now: Timestamp, is_probe: bool, verdict: Option<Verdict>) {
        let said = verdict.and_then(|verdict| Said::of(&verdict));
        match self.gate {
            Gate::Probing { opened_for } if is_probe => match said {
                Some(said) => self.after_probe(now, opened_for, said),
                // Another one may be the probe.
                None => {
                    self.gate = Gate::Shut {
                        until: now,
                        opened_for,
                    }
                }
            },
            _ => {
                if let Some(said) = said {
                    self.after_attempt(now, said);
                }
            }
        }
    }

    /// The clock was set: it waits for as long as before.
    pub fn handle_clock_set(&mut self, step: ClockStep) {
        if let Gate::Shut { until, .. } = &mut self.gate {
            *until = step.carry(*until);
        }
        if let Some(span) = &mut self.span {
            span.began_at = step.carry(span.began_at);
        }
    }

    fn after_attempt(&mut self, now: Timestamp, said: Said) {
        self.in_a_row = match said.is_failure {
            true => self.in_a_row.saturating_add(1),
            false => 0,
        };
        if self.gate == Gate::Closed {
            self.count(now, said.is_failure);
            let is_row = self.in_a_row >= IN_A_ROW_MAX;
            if is_row || self.span.is_some_and(Span::is_too_bad) {
                self.open(now, OPEN_MIN);
            }
        }
        self.pace(now, said.pace);
    }

    fn after_probe(&mut self, now: Timestamp, opened_for: Option<Duration>, said: Said) {
        if said.is_failure {
            self.in_a_row = self.in_a_row.saturating_add(1);
            let again = opened_for.map_or(OPEN_MIN, |last| last.saturating_mul(2));
            self.open(now, again);
        } else {
            *self = Self::new(self.open_max);
        }
        self.pace(now, said.pace);
    }

    fn count(&mut self, now: Timestamp, is_failure: bool) {
        self.span = self.span.filter(|span| now.since(span.began_at) < SPAN);
        if is_failure {
            self.span.get_or_insert(Span {
                began_at: now,
                attempts: 0,
                failures: 0,
            });
        }
        if let Some(span) = &mut self.span {
            span.attempts = span.attempts.saturating_add(1);
            span.failures = span.failures.saturating_add(u32::from(is_failure));
        }
    }

    fn open(&mut self, now: Timestamp, time: Duration) {
        let time = time.min(self.open_max);
        self.span = None;
        self.gate = Gate::Shut {
            until: now.plus(time),
            opened_for: Some(time),
        };
    }

    fn pace(&mut self, now: Timestamp, time: Option<Duration>) {
        let Some(time) = time else { return };
        let paced_until = now.plus(time.clamp(PACE_MIN, PACE_MAX));
        match &mut self.gate {
            Gate::Shut { until, .. } => *until = paced_until.max(*until),
            Gate::Closed => {
                self.gate = Gate::Shut {
                    until: paced_until,
                    opened_for: None,
                }
            }
            // It decides when it ends.
            Gate::Probing { .. } => {}
        }
    }
}

impl Span {
    fn is_too_bad(self) -> bool {
        self.attempts >= SPAN_ATTEMPTS_MIN && self.failures.saturating_mul(2) >= self.attempts
    }
}

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug)]
struct Said {
    is_failure: bool,
    pace: Option<Duration>,
}

impl Said {
    fn of(verdict: &Verdict) -> Option<Self> {
        let lives = Self {
            is_failure: false,
            pace: None,
        };
        match *verdict {
            Verdict::Delivered | Verdict::Gone => Some(lives),
            Verdict::Failed { retry_after, blame } => Some(Self {
                is_failure: blame == Blame::Endpoint,
                pace: retry_after.filter(|time| !time.is_zero()),
            }),
            Verdict::AddressRefused | Verdict::Ours => None,
        }
    }
}

#[cfg(test)]
mod tests;
