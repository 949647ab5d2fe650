//! A wall clock that follows tokio's time, so that a paused test stays paused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::Timestamp;
use notify_hub::Clock;
use tokio::time::Instant;

/// Reads a fixed date plus the tokio time since it was made, until it is set. A
/// copy is the same clock.
#[derive(Clone, Debug)]
pub struct TokioClock {
    start: Instant,
    base: Arc<AtomicU64>,
}

impl TokioClock {
    /// What the clock reads when it is made.
    pub const START: Timestamp = Timestamp::from_secs(1_712_534_400);

    /// A clock that reads [`Self::START`] now.
    pub fn new() -> Self {
        Self::reading(Self::START)
    }

    /// A clock that reads `now`.
    pub fn reading(now: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            base: Arc::new(AtomicU64::new(now.as_millis())),
        }
    }

    /// Sets it, so that it reads `now`.
    pub fn set(&self, now: Timestamp) {
        let elapsed = Timestamp::EPOCH.plus(self.start.elapsed());
        let base = now.as_millis().saturating_sub(elapsed.as_millis());
        self.base.store(base, Ordering::Relaxed);
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn wall_now(&self) -> Timestamp {
        Timestamp::from_millis(self.base.load(Ordering::Relaxed)).plus(self.start.elapsed())
    }
}
