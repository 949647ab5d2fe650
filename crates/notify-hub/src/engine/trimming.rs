//! Retention: the committer forgets what is past it, in short steps between
//! batches, so often that it keeps up with any producer and no more.
//!
//! While there is more to forget, as much time goes into it as into nothing at all
//! when little is written, and half as much as into writing when much is. Then it
//! rests for [`INTERVAL`].

use std::time::Duration;

use notify_core::store::{StoreError, Trimmed};
use tokio::time::Instant;

use super::committer::Committer;

/// The most rows that one step forgets: some 10 ms of work. A job's are forgotten
/// at once, and may be 12,000.
const STEP_ROWS_MAX: usize = 4_096;
const INTERVAL: Duration = Duration::from_secs(1);

/// When to trim next.
#[derive(Debug)]
pub(super) struct Trimming {
    pub(super) at: Instant,
}

impl Trimming {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now }
    }
}

impl Committer {
    /// Trims, if it is time to. `wrote` is how long writing has just taken.
    pub(super) async fn trim(&mut self, wrote: Duration) {
        let begun = Instant::now();
        if begun < self.trimming.at {
            return;
        }
        loop {
            let more = self.trim_step().await;
            let spent = begun.elapsed();
            if !more {
                self.trimming.at = Instant::now() + INTERVAL;
                return;
            }
            if spent >= wrote / 2 {
                self.trimming.at = Instant::now() + spent;
                return;
            }
        }
    }

    /// One step; whether there is more to do.
    async fn trim_step(&self) -> bool {
        let shared = &self.shared;
        let after_start = shared.steady().after_start();
        let retention = self
            .forbearance
            .retention(after_start, shared.settings.retention);
        let trimmed = shared.store.trim(shared.now(), retention, STEP_ROWS_MAX);
        match trimmed.await {
            Ok(Trimmed { forgotten, more }) => {
                if forgotten > 0 {
                    tracing::debug!(forgotten, "forgot what is past its retention");
                }
                more
            }
            // There is no hurry.
            Err(StoreError::Full | StoreError::NotNow) => false,
            Err(error) => {
                tracing::warn!(%error, "trimming failed");
                shared.heed(&error).await;
                false
            }
        }
    }
}
