//! How long to wait after a failure of our own.
//!
//! No descriptor, no memory, a store that can't be read: such a thing fails all
//! that is tried while it lasts, and trying again at once only feeds it.

use std::time::Duration;

use crate::clock::ClockStep;
use crate::id::DeliveryId;
use crate::map::IdMap;
use crate::time::Timestamp;

/// The wait after the first failure; it doubles with each one in a row.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The most deliveries of which it is remembered how often in a row they failed.
const REMEMBERED_MAX: usize = 4_096;

/// Which deliveries failed for a reason of our own, and how often in a row.
#[derive(Debug, Default)]
pub(super) struct OwnFailures {
    waits: IdMap<DeliveryId, Wait>,
    total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    /// When it failed first in this row.
    since: Timestamp,
    last: Duration,
    due_at: Timestamp,
}

impl OwnFailures {
    /// How many there were altogether.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// A delivery has failed once more; how long it waits until it may be tried
    /// again. `None` if it has failed for longer than `max_age`: it is given up.
    pub(super) fn postpone(
        &mut self,
        now: Timestamp,
        delivery: DeliveryId,
        max_age: Duration,
    ) -> Option<Duration> {
        self.total += 1;
        let known = self.waits.get(&delivery).copied();
        let (since, last) = match known {
            Some(wait) if now.since(wait.since) > max_age => {
                self.forget(delivery);
                return None;
            }
            Some(wait) => (wait.since, wait.last.saturating_mul(2).min(WAIT_MAX)),
            None if self.has_room(now) => (now, WAIT_MIN),
            // Nothing could be remembered of it, so it would never wait longer.
            None => return Some(WAIT_MAX),
        };
        let due_at = now.plus(last);
        let wait = Wait {
            since,
            last,
            due_at,
        };
        self.waits.insert(delivery, wait);
        Some(last)
    }

    /// The clock was set: each waits as long as it was told to.
    pub(super) fn handle_clock_set(&mut self, step: ClockStep) {
        for wait in self.waits.values_mut() {
            wait.since = step.carry(wait.since);
            wait.due_at = step.carry(wait.due_at);
        }
    }

    /// An attempt has come to any other end.
    pub(super) fn forget(&mut self, delivery: DeliveryId) {
        self.waits.remove(&delivery);
    }

    /// Makes room, if need be, by forgetting those that have long been due: they
    /// were settled elsewhere, or nobody wants them now.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.waits.len() >= REMEMBERED_MAX {
            self.waits
                .retain(|_, wait| wait.due_at.plus(WAIT_MAX) > now);
        }
        self.waits.len() < REMEMBERED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn postpone(failures: &mut OwnFailures, now: Timestamp, id: DeliveryId) -> Duration {
        failures.postpone(now, id, Duration::MAX).unwrap()
    }

    #[test]
    fn what_fails_for_too_long_is_given_up() {
        let mut failures = OwnFailures::default();
        let (id, max_age) = (DeliveryId::from_random(1), Duration::from_secs(60));
        for at in [0, 30, 60] {
            assert!(failures.postpone(secs(at), id, max_age).is_some(), "{at}");
        }
        assert_eq!(failures.postpone(secs(61), id, max_age), None);
        assert!(failures.postpone(secs(62), id, max_age).is_some());
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_begins_anew() {
        let mut failures = OwnFailures::default();
        let id = DeliveryId::from_random(1);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(
                postpone(&mut failures, secs(9), id),
                Duration::from_secs(wait)
            );
        }
        let first = Duration::from_secs(1);
        assert_eq!(
            postpone(&mut failures, secs(9), DeliveryId::from_random(2)),
            first
        );
        failures.forget(id);
        assert_eq!(postpone(&mut failures, secs(9), id), first);
        assert_eq!(failures.total(), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut failures = OwnFailures::default();
        let one = |n| DeliveryId::from_random(n);
        for n in 0..10_000 {
            postpone(&mut failures, secs(0), one(n));
        }
        assert_eq!(failures.waits.len(), REMEMBERED_MAX);
        let wait = Duration::from_secs;
        assert_eq!(postpone(&mut failures, secs(0), one(10_000)), wait(60));
        assert_eq!(postpone(&mut failures, secs(0), one(0)), wait(2));
        // Those that nobody has asked for in a long time make room.
        assert_eq!(postpone(&mut failures, secs(61), one(10_000)), wait(1));
        assert_eq!(failures.waits.len(), 2);
    }
}
