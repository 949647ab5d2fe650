//! How long what has ended is kept and how much of it, and how long what can't be
//! attempted waits.

mod holders;

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::time::Timestamp;

pub use holders::{Holder, Holders};

/// For how long what has ended is kept and how much of it, and how long what can't be
/// attempted waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A job, from its terminal event or its last settled delivery, whichever
    /// is later. A running job is never forgotten.
    pub jobs: Duration,
    /// A dead letter, from when it was given up.
    pub dead_letters: Duration,
    /// A delivery that is due at an endpoint that is sick. At a healthy one nothing is
    /// too old.
    pub max_age: Duration,
    /// Dead letters of one [holder](Holder): an endpoint, or a job where they came to
    /// none. The oldest leave first.
    pub dead_letters_per_endpoint_max: u64,
    /// [Bytes](crate::delivery::Undelivered::bytes) of dead letters altogether. The
    /// oldest of the holder that has most leave first.
    pub dead_letter_bytes_max: u64,
}

impl Retention {
    /// 24 hours, 30 days, and 90 days; 10,000 dead letters, and 4 GiB.
    pub const DEFAULT: Self = Self {
        jobs: Duration::from_secs(24 * 3_600),
        dead_letters: Duration::from_secs(30 * 86_400),
        max_age: Duration::from_secs(90 * 86_400),
        dead_letters_per_endpoint_max: 10_000,
        dead_letter_bytes_max: 4 * 1024 * 1024 * 1024,
    };

    /// The most lanes that one step of trimming looks at for what is too old.
    pub const EXPIRED_PER_STEP_MAX: usize = 256;

    /// The latest time at which a job has ended that is past its retention at
    /// `now`; `None` if none can be.
    pub fn jobs_over(self, now: Timestamp) -> Option<Timestamp> {
        over(now, self.jobs)
    }

    /// The latest time at which a dead letter was given up that is past its
    /// retention at `now`; `None` if none can be.
    pub fn dead_letters_over(self, now: Timestamp) -> Option<Timestamp> {
        over(now, self.dead_letters)
    }

    /// The latest time at which `endpoint` was last named that is past its retention
    /// at `now`, if nothing names it any more; `None` if none can be. It is kept for
    /// as long as jobs, or as dead letters if
    /// [something is to be remembered](Endpoint::may_be_forgotten) of it.
    pub fn endpoint_over(self, now: Timestamp, endpoint: &Endpoint) -> Option<Timestamp> {
        if endpoint.may_be_forgotten() {
            self.jobs_over(now)
        } else {
            self.dead_letters_over(now)
        }
    }
}

/// What is stamped with a time to come is of now, as [`Timestamp::since`] has it:
/// without retention it is over too.
fn over(now: Timestamp, kept: Duration) -> Option<Timestamp> {
    if kept.is_zero() {
        return Some(Timestamp::from_millis(u64::MAX));
    }
    let kept = u64::try_from(kept.as_millis()).ok()?;
    let over = now.as_millis().checked_sub(kept)?;
    Some(Timestamp::from_millis(over))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::EndpointUrl;
    use crate::id::EndpointId;

    #[test]
    fn what_has_been_kept_for_long_enough_is_over() {
        let retention = Retention {
            jobs: Duration::from_secs(10),
            dead_letters: Duration::ZERO,
            ..Retention::DEFAULT
        };
        let secs = Timestamp::from_secs;
        assert_eq!(retention.jobs_over(secs(9)), None);
        assert_eq!(retention.jobs_over(secs(10)), Some(secs(0)));
        assert_eq!(retention.jobs_over(secs(25)), Some(secs(15)));
        assert!(retention.dead_letters_over(secs(25)) > Some(secs(1_000_000)));
    }

    #[test]
    fn an_endpoint_of_which_something_is_known_is_kept_like_a_dead_letter() {
        let retention = Retention {
            jobs: Duration::from_secs(10),
            dead_letters: Duration::from_secs(20),
            ..Retention::DEFAULT
        };
        let url = EndpointUrl::parse("https://a.example/").unwrap();
        let mut endpoint = Endpoint::new(EndpointId::from_random(1), url);
        let over = |endpoint: &Endpoint| {
            let over = retention.endpoint_over(Timestamp::from_secs(25), endpoint);
            over.map(Timestamp::as_secs)
        };
        assert_eq!(over(&endpoint), Some(15));
        endpoint.enabled = false;
        assert_eq!(over(&endpoint), Some(5));
    }
}
