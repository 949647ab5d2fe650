//! A wall clock that follows tokio's time, so that a paused test stays paused.

use notify_core::Timestamp;
use notify_hub::Clock;
use tokio::time::Instant;

/// Reads a fixed date plus the tokio time since it was made.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Instant,
}

impl TokioClock {
    /// What the clock reads when it is made.
    pub const START: Timestamp = Timestamp::from_secs(1_712_534_400);

    /// A clock that reads [`Self::START`] now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn wall_now(&self) -> Timestamp {
        Self::START.plus(self.start.elapsed())
    }
}
