//! Time from outside: what the wall says, and a clock that never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

use notify_core::Timestamp;
use tokio::time::Instant;

/// Says what time it is on the wall: for event timestamps and signatures.
///
/// Scheduling reads it once, at the start, and then only counts forward.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock's time.
    fn wall_now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock for scheduling: reads the wall once, then only counts forward, so
/// that a wall clock that jumps neither stalls nor hastens a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    wall_at_start: Timestamp,
    start: Instant,
}

impl Steady {
    pub(crate) fn start(clock: &dyn Clock) -> Self {
        Self {
            wall_at_start: clock.wall_now(),
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall_at_start.plus(self.start.elapsed())
    }

    /// The instant at which [`Steady::now`] reads `at`, or a day from now if that
    /// is later.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let wait = at
            .since(self.now())
            .min(std::time::Duration::from_secs(86_400));
        Instant::now() + wait
    }
}
