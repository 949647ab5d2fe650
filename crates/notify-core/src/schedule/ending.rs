//! What the end of an attempt means for its delivery.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::{AttemptEnd, InFlight, Scheduler};
use crate::breaker::OPEN_MIN;
use crate::delivery::{Attempt, DeadReason, Leased, Outcome, Settle};
use crate::id::DeliveryId;
use crate::retry::{Blame, Verdict, classify};
use crate::time::Timestamp;
use crate::transport::{TransportError, WebhookResponse};

impl Scheduler {
    /// What is to be written, and what it says of the endpoint.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        in_flight: InFlight,
        end: AttemptEnd,
    ) -> (Settle, Option<Verdict>) {
        let delivery = in_flight.leased.delivery().id;
        match end {
            AttemptEnd::Sent { at, outcome } => {
                let duration = now.since(in_flight.began_at);
                let verdict = classify(&outcome, at.plus(duration));
                let settle = self.after_sending(now, in_flight, at, &outcome, verdict);
                (settle, Some(verdict))
            }
            AttemptEnd::OwnFailure => (self.postpone(now, in_flight.leased), None),
            AttemptEnd::SecretMissing => {
                let reason = DeadReason::SecretMissing;
                self.own_failures.forget(delivery);
                let settle = in_flight.leased.settle(Outcome::Dead { reason }, None);
                (settle, None)
            }
            AttemptEnd::Abandoned => {
                self.own_failures.forget(delivery);
                (in_flight.leased.settle(Outcome::Released, None), None)
            }
        }
    }

    /// Nobody is charged with an attempt that was our own failure.
    fn postpone(&mut self, now: Timestamp, leased: Leased) -> Settle {
        let (id, max_age) = (leased.delivery().id, self.limits.max_age);
        let outcome = match self.own_failures.postpone(now, id, max_age) {
            Some(after) => Outcome::Postponed { after },
            None => Outcome::Dead {
                reason: DeadReason::Internal,
            },
        };
        leased.settle(outcome, None)
    }

    /// A request was sent, by the wall clock `at`, and this has come of it.
    fn after_sending(
        &mut self,
        now: Timestamp,
        in_flight: InFlight,
        at: Timestamp,
        outcome: &Result<WebhookResponse, TransportError>,
        verdict: Verdict,
    ) -> Settle {
        let InFlight {
            leased,
            began_at,
            is_probe,
            ..
        } = in_flight;
        let delivery = leased.delivery().id;
        let number = leased.delivery().attempts_made.saturating_add(1);
        let sick_since = leased.delivery().endpoint.sick_since;
        // Else it would be spared for ever.
        let is_long_sick = sick_since.is_some_and(|at| now.since(at) > self.limits.max_age);
        let may_spare = is_probe && !is_long_sick;
        let Some(decided) = self.decide(delivery, number, verdict, may_spare) else {
            return self.postpone(now, leased);
        };
        self.own_failures.forget(delivery);
        if matches!(decided, Outcome::Postponed { .. }) {
            return leased.settle(decided, None);
        }
        let (status, error, snippet) = match outcome {
            Ok(answer) if verdict == Verdict::Delivered => (Some(answer.status), None, None),
            Ok(answer) => (Some(answer.status), None, Attempt::snippet_of(&answer.body)),
            Err(error) => (None, Some(error.to_string()), None),
        };
        let attempt = Attempt {
            number,
            at,
            duration: now.since(began_at),
            status,
            error,
            snippet,
            next_attempt_at: None,
        };
        leased.settle(decided, Some(attempt))
    }

    /// What becomes of a delivery after its `number`th attempt; `None` if it was
    /// no attempt, but our own failure. `may_spare` says that it was the probe of an
    /// endpoint that has not been sick for long.
    fn decide(
        &self,
        delivery: DeliveryId,
        number: u32,
        verdict: Verdict,
        may_spare: bool,
    ) -> Option<Outcome> {
        let dead = |reason| Outcome::Dead { reason };
        Some(match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Gone => dead(DeadReason::Gone),
            Verdict::AddressRefused => dead(DeadReason::AddressRefused),
            Verdict::Ours => return None,
            Verdict::Failed { retry_after, blame } => {
                let mut seed = DefaultHasher::new();
                (self.seed, delivery, number).hash(&mut seed);
                let seed = seed.finish();
                let asked = retry_after.unwrap_or_default();
                if let Some(delay) = self.policy.delay_after(number, seed) {
                    let after = delay.max(asked);
                    return Some(Outcome::Retry { after });
                }
                // What is used up at an endpoint that is known to be sick would be
                // used up for nothing. Another one is the probe before this is again.
                let is_still_sick = blame == Blame::Endpoint || !asked.is_zero();
                if !(may_spare && is_still_sick) {
                    return Some(dead(DeadReason::Exhausted));
                }
                let last = number.saturating_sub(1).min(self.policy.attempts_max() - 1);
                let delay = self.policy.delay_after(last, seed);
                let after = delay.map_or(OPEN_MIN, |delay| delay.max(Duration::from_secs(1)));
                Outcome::Postponed {
                    after: after.max(asked),
                }
            }
        })
    }
}
