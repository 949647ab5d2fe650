//! Time from outside: what the wall says, and a clock that goes by it without
//! following its small corrections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify_core::Timestamp;
use notify_core::clock::ClockStep;
use tokio::time::Instant;

/// Says what time it is on the wall: for event timestamps and signatures.
///
/// Scheduling counts forward from what it said at the start, and looks at it again
/// at least each second: if it has been set by 2 s or more, scheduling goes by the
/// new time, and nobody waits longer for that.
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

/// A clock for scheduling: counts forward from what the wall said, so that small
/// corrections of the wall neither stall nor hasten a delivery. If the wall turns
/// out to have been set, it is told to go by the wall again.
#[derive(Debug)]
pub(crate) struct Steady {
    started: Instant,
    anchor: Mutex<Anchor>,
}

/// What the wall said, and when that was.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: Timestamp,
    at: Instant,
}

/// A difference between the wall and the steady clock that is no correction: a
/// clock that is disciplined is slewed, and a leap second is half of it.
const STEP_MIN: Duration = Duration::from_secs(2);

impl Steady {
    pub(crate) fn start(clock: &dyn Clock) -> Self {
        let at = Instant::now();
        let wall = clock.wall_now();
        Self {
            started: at,
            anchor: Mutex::new(Anchor { wall, at }),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let Anchor { wall, at } = *self.anchor();
        wall.plus(at.elapsed())
    }

    /// How long ago it was started, by a clock that nobody sets.
    pub(crate) fn after_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the wall was set since this clock last went by it.
    pub(crate) fn step(&self, clock: &dyn Clock) -> Option<ClockStep> {
        let (from, to) = (self.now(), clock.wall_now());
        let is_step = from.since(to).max(to.since(from)) >= STEP_MIN;
        is_step.then_some(ClockStep { from, to })
    }

    /// Goes by the wall again.
    pub(crate) fn set(&self, step: ClockStep) {
        let mut anchor = self.anchor();
        let since = step.from.since(anchor.wall);
        // The instant at which it read `from`.
        let at = anchor.at + since;
        *anchor = Anchor { wall: step.to, at };
    }

    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
