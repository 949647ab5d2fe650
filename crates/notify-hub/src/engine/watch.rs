//! Who sees to it that the notifier never stands still in silence.
//!
//! Both tasks run under [`watch`]: one that panics, or ends though nobody asked it
//! to, is the end of the notifier, and so is a store that does nothing more,
//! whichever call meets it first. From then on it is not ready,
//! [`JobNotifier::failed`](crate::JobNotifier::failed) says why, subscriptions end
//! and every call is refused.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use notify_core::JobId;
use notify_core::store::StoreError;
use tokio::time::sleep;

use super::{Phase, Shared, lock};
use crate::error::Failure;
use crate::live::LiveJob;

/// When a log that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Runs one of the engine's tasks.
pub(super) async fn watch(shared: Arc<Shared>, part: &'static str, work: impl Future<Output = ()>) {
    let watched = Watched { shared, part };
    let ended = caught(work).await;
    // Ending in order is asked for by a later phase.
    let is_over = *watched.shared.phase.borrow() > Phase::Running;
    match ended {
        Ok(()) if is_over => {}
        Ok(()) => watched.fail("it stopped by itself".to_owned()),
        Err(panic) => watched.fail(panic),
    }
}

struct Watched {
    shared: Arc<Shared>,
    part: &'static str,
}

impl Watched {
    fn fail(&self, why: String) {
        let part = self.part;
        self.shared.fail(Failure::Part { part, why });
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Before its end: with the runtime that it was started in.
        if *self.shared.phase.borrow() == Phase::Running {
            self.fail("its runtime has ended".to_owned());
        }
    }
}

impl Shared {
    /// Nothing more is done.
    pub(super) fn fail(&self, failure: Failure) {
        tracing::error!(%failure, "nothing more is accepted or delivered");
        // The first reason is the one to know.
        let _ = self.failure.set(failure);
        self.advance(Phase::Failed);
        self.live.close();
        self.commit.notify_one();
    }

    /// Takes note of an error of the store's. If it does nothing more, neither does
    /// the notifier; an operation alone may have been refused as well.
    pub(super) async fn heed(&self, error: &StoreError) {
        let is_over = match error {
            StoreError::Failed(_) => self.ask_why().await.is_some(),
            error => *error == StoreError::OutcomeUnknown,
        };
        if is_over {
            self.store_failed(error).await;
        }
    }

    /// The store does nothing more.
    pub(super) async fn store_failed(&self, error: &StoreError) {
        let why = match error {
            StoreError::Failed(why) => why.clone(),
            _ => self.ask_why().await.unwrap_or_else(|| error.to_string()),
        };
        self.fail(Failure::Store(why));
    }

    /// Why the store does nothing more, if that is so.
    async fn ask_why(&self) -> Option<String> {
        match self.archive.counters().await {
            Err(StoreError::Failed(why)) => Some(why),
            _ => None,
        }
    }

    /// Reads on in the log of a live job, so that its readers are shown all that was
    /// published.
    pub(super) fn read_on(self: &Arc<Self>, job: &JobId, behind: Arc<LiveJob>) {
        let (shared, job) = (Arc::clone(self), job.clone());
        self.errand(async move {
            while let Err(error) = shared.live.fill(&job, &behind, &*shared.archive).await {
                tracing::warn!(%job, %error, "a followed job can't be read");
                shared.heed(&error).await;
                sleep(READ_AGAIN).await;
                if behind.is_left() {
                    return;
                }
            }
        });
    }

    /// Work that nobody awaits; it ends with the engine.
    pub(super) fn errand(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(self);
        let mut errands = lock(&self.errands);
        while errands.try_join_next().is_some() {}
        errands.spawn(async move {
            if let Err(why) = caught(work).await {
                let part = "store's caller";
                shared.fail(Failure::Part { part, why });
            }
        });
    }
}

/// Runs `work`; what it said if it panicked.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(said(&*panic))),
        },
    )
    .await
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a word"))
}

#[cfg(test)]
mod tests;
