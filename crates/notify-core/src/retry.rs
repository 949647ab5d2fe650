//! When to try again, and what an answer means.

use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;
use crate::transport::{RetryAfter, TransportError, WebhookResponse};

/// How often and when a failed delivery is tried again.
///
/// Attempts = 1 + retries. The wait before retry `n` is the `n`th of the
/// schedule plus 0 to 20 % of it, so that receivers that fail together are not
/// asked again together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    schedule: Vec<Duration>,
}

impl RetryPolicy {
    /// The longest wait between two attempts.
    pub const DELAY_MAX: Duration = Duration::from_secs(24 * 3600);
    /// The most retries a policy may have.
    pub const RETRIES_MAX: usize = 100;
    /// The shortest age that is [worked out](Self::max_age).
    pub const MAX_AGE_MIN: Duration = Duration::from_secs(10);
    /// The longest age that a delivery may reach at a sick endpoint.
    pub const MAX_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);
    /// How much jitter may add, in percent of the wait.
    pub const JITTER_PERCENT_MAX: u32 = 20;

    /// These waits, one for each retry.
    ///
    /// # Errors
    /// [`RetryPolicyInvalid`] for more than [`Self::RETRIES_MAX`] waits, or one
    /// longer than [`Self::DELAY_MAX`].
    pub fn new(schedule: impl Into<Vec<Duration>>) -> Result<Self, RetryPolicyInvalid> {
        let schedule = schedule.into();
        if schedule.len() > Self::RETRIES_MAX {
            return Err(RetryPolicyInvalid::TooMany);
        }
        if schedule.iter().any(|&delay| delay > Self::DELAY_MAX) {
            return Err(RetryPolicyInvalid::TooLong);
        }
        Ok(Self { schedule })
    }

    /// `retries` waits of `base` · 2^(n−1), each at most [`Self::DELAY_MAX`].
    ///
    /// # Errors
    /// [`RetryPolicyInvalid`] for more than [`Self::RETRIES_MAX`] retries.
    pub fn exponential(retries: u32, base: Duration) -> Result<Self, RetryPolicyInvalid> {
        let retries = usize::try_from(retries).unwrap_or(usize::MAX);
        if retries > Self::RETRIES_MAX {
            return Err(RetryPolicyInvalid::TooMany);
        }
        let doubled = |delay: &Duration| Some(delay.saturating_mul(2).min(Self::DELAY_MAX));
        let delays = std::iter::successors(Some(base.min(Self::DELAY_MAX)), doubled);
        Self::new(delays.take(retries).collect::<Vec<_>>())
    }

    /// The most attempts of one delivery, not counting those that a crash of the
    /// sender cut short.
    pub fn attempts_max(&self) -> u32 {
        u32::try_from(self.schedule.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// How long to wait after the `attempts_made`th attempt has failed; `None`
    /// when all are used up. `seed` decides the jitter.
    pub fn delay_after(&self, attempts_made: u32, seed: u64) -> Option<Duration> {
        let retry = usize::try_from(attempts_made.checked_sub(1)?).ok()?;
        let delay = *self.schedule.get(retry)?;
        let share = Self::JITTER_PERCENT_MAX * u32::try_from(mix(seed) % 1_001).ok()?;
        Some(delay + delay * share / 100_000)
    }

    /// The sum of all waits, without jitter.
    pub fn total_delay(&self) -> Duration {
        self.schedule.iter().sum()
    }

    /// For how long a delivery waits at a sick endpoint where nothing else is said: four
    /// times as long as all of its attempts may take at a healthy one, if each takes
    /// `timeout`; at least [`Self::MAX_AGE_MIN`], at most [`Self::MAX_AGE_MAX`].
    pub fn max_age(&self, timeout: Duration) -> Duration {
        let attempts = timeout.saturating_mul(self.attempts_max());
        let longest = self.total_delay().saturating_add(attempts);
        let max_age = longest.saturating_mul(4);
        max_age.clamp(Self::MAX_AGE_MIN, Self::MAX_AGE_MAX)
    }
}

/// The schedule can't be a [`RetryPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryPolicyInvalid {
    /// More retries than [`RetryPolicy::RETRIES_MAX`].
    TooMany,
    /// A wait longer than [`RetryPolicy::DELAY_MAX`].
    TooLong,
}

impl fmt::Display for RetryPolicyInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "at most 100 retries",
            Self::TooLong => "a wait is at most 24h",
        })
    }
}

impl std::error::Error for RetryPolicyInvalid {}

/// What the end of an attempt means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// It failed and may be tried again.
    Failed {
        /// How long the receiver asked us to wait, at most
        /// [`RetryPolicy::DELAY_MAX`].
        retry_after: Option<Duration>,
        /// What the failure speaks against.
        blame: Blame,
    },
    /// The receiver wants nothing more, ever (410).
    Gone,
    /// The egress policy refuses the address.
    AddressRefused,
    /// It is our own failure: no attempt, and charged to nobody.
    Ours,
}

/// What a failed attempt speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The endpoint is sick: connect, TLS, DNS, timeout, 5xx.
    Endpoint,
    /// The endpoint is up and said no to this message.
    Message,
}

/// Reads the end of an attempt. `now` is the wall clock's, for a `Retry-After`
/// that names a date.
pub fn classify(outcome: &Result<WebhookResponse, TransportError>, now: Timestamp) -> Verdict {
    let failed = |blame| Verdict::Failed {
        retry_after: None,
        blame,
    };
    match outcome {
        Ok(response) => match response.status {
            200..=299 => Verdict::Delivered,
            410 => Verdict::Gone,
            429 | 503 => Verdict::Failed {
                retry_after: response.retry_after.map(|wish| granted(wish, now)),
                blame: if response.status == 503 {
                    Blame::Endpoint
                } else {
                    Blame::Message
                },
            },
            500..=599 => failed(Blame::Endpoint),
            _ => failed(Blame::Message),
        },
        Err(TransportError::Refused(_)) => Verdict::AddressRefused,
        Err(TransportError::Internal(_)) => Verdict::Ours,
        Err(_) => failed(Blame::Endpoint),
    }
}

/// How long a `Retry-After` makes us wait, at most [`RetryPolicy::DELAY_MAX`].
fn granted(wish: RetryAfter, now: Timestamp) -> Duration {
    let delay = match wish {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::At(at) => at.since(now),
    };
    delay.min(RetryPolicy::DELAY_MAX)
}

/// Spreads the bits of a seed (the finalizer of SplitMix64, Steele et al. 2014).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16, retry_after: Option<RetryAfter>) -> Verdict {
        let now = Timestamp::from_secs(1_000);
        classify(
            &Ok(WebhookResponse {
                status,
                retry_after,
                ..Default::default()
            }),
            now,
        )
    }

    #[test]
    fn an_answer_is_judged_by_its_status() {
        for status in [200, 201, 204, 299] {
            assert_eq!(answered(status, None), Verdict::Delivered, "{status}");
        }
        for status in [100, 301, 302, 307, 400, 401, 404, 408, 425, 429] {
            let verdict = Verdict::Failed {
                retry_after: None,
                blame: Blame::Message,
            };
            assert_eq!(answered(status, None), verdict, "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            let verdict = Verdict::Failed {
                retry_after: None,
                blame: Blame::Endpoint,
            };
            assert_eq!(answered(status, None), verdict, "{status}");
        }
        assert_eq!(answered(410, None), Verdict::Gone);
    }

    #[test]
    fn retry_after_is_capped() {
        let at = |secs| RetryAfter::At(Timestamp::from_secs(secs));
        for (wish, secs) in [
            (RetryAfter::Delay(Duration::from_secs(7)), 7),
            (RetryAfter::Delay(Duration::MAX), 86_400),
            (at(1_060), 60),
            (at(10), 0),
            (at(9_999_999), 86_400),
        ] {
            let Verdict::Failed { retry_after, .. } = answered(429, Some(wish)) else {
                panic!()
            };
            assert_eq!(retry_after, Some(Duration::from_secs(secs)));
        }
        let ignored = answered(500, Some(RetryAfter::Delay(Duration::from_secs(7))));
        assert_eq!(ignored, answered(500, None));
    }

    #[test]
    fn three_retries_double_from_the_base() {
        let policy = RetryPolicy::exponential(3, Duration::from_secs(1)).unwrap();
        assert_eq!(policy.attempts_max(), 4);
        assert_eq!(policy.total_delay(), Duration::from_secs(7));
        assert_eq!(policy.delay_after(0, 1), None);
        assert_eq!(policy.delay_after(4, 1), None);
    }

    #[test]
    fn what_waits_at_a_sick_endpoint_waits_for_four_times_a_schedule() {
        let secs = Duration::from_secs;
        let library = RetryPolicy::exponential(3, secs(1)).unwrap();
        assert_eq!(library.max_age(secs(10)), secs(4 * (7 + 4 * 10)));
        let none = RetryPolicy::new([]).unwrap();
        assert_eq!(none.max_age(secs(1)), secs(10));
        let long = RetryPolicy::new([RetryPolicy::DELAY_MAX; 100]).unwrap();
        assert_eq!(long.max_age(secs(10)), RetryPolicy::MAX_AGE_MAX);
    }

    #[test]
    fn a_policy_has_limits() {
        let base = Duration::from_secs(1);
        assert_eq!(
            RetryPolicy::exponential(101, base),
            Err(RetryPolicyInvalid::TooMany)
        );
        let long = RetryPolicy::new([RetryPolicy::DELAY_MAX + Duration::from_millis(1)]);
        assert_eq!(long, Err(RetryPolicyInvalid::TooLong));
    }

    proptest! {
        #[test]
        fn the_schedule_rises_is_bounded_and_ends(
            retries in 0u32..=100, base_millis in 0u64..10_000_000, seed: u64,
        ) {
            let base = Duration::from_millis(base_millis);
            let policy = RetryPolicy::exponential(retries, base).unwrap();
            let mut previous = Duration::ZERO;
            for attempt in 1..=retries {
                // The model: the plain formula, with the cap.
                let exact = base.saturating_mul(2u32.saturating_pow(attempt - 1)).min(RetryPolicy::DELAY_MAX);
                let delay = policy.delay_after(attempt, seed.wrapping_add(u64::from(attempt))).unwrap();
                prop_assert!(delay >= exact && delay <= exact + exact / 5);
                prop_assert!(exact >= previous);
                previous = exact;
            }
            prop_assert_eq!(policy.delay_after(retries + 1, seed), None);
            prop_assert_eq!(policy.attempts_max(), retries + 1);
        }

        #[test]
        fn jitter_uses_its_whole_range(seed: u64) {
            let policy = RetryPolicy::new([Duration::from_secs(100)]).unwrap();
            let spread: Vec<Duration> = (0..200).filter_map(|n| policy.delay_after(1, seed.wrapping_add(n))).collect();
            prop_assert!(spread.iter().min().unwrap() < &Duration::from_secs(105));
            prop_assert!(spread.iter().max().unwrap() > &Duration::from_secs(115));
        }
    }
}
