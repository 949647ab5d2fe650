//! Dead letters: seen, delivered after all, dropped.

use notify_core::store::{Answer, DeadFilter, List, Operation, Refusal, Sweep, Swept};
use notify_core::{DeadLetter, DeadReason};

use super::JobNotifier;
use crate::error::NotifyError;

impl JobNotifier {
    /// The newest 1,000 dead letters, oldest first.
    ///
    /// # Errors
    /// [`NotifyError`] if the store fails.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, NotifyError> {
        let list = List {
            limit: 1_000,
            cursor: None,
        };
        let listed = self
            .engine()?
            .archive()
            .dead_letters(DeadFilter::default(), list)
            .await?;
        let mut letters = listed.items;
        letters.reverse();
        Ok(letters)
    }

    /// Forgets every dead letter.
    ///
    /// # Errors
    /// [`NotifyError`] if the store fails.
    pub async fn clear_dead_letters(&self) -> Result<(), NotifyError> {
        self.drop_all_dead_letters().await.map(drop)
    }

    /// As [`clear_dead_letters`](Self::clear_dead_letters); says how many.
    ///
    /// # Errors
    /// [`NotifyError`] if the store fails.
    pub async fn drop_all_dead_letters(&self) -> Result<u64, NotifyError> {
        let operation = Operation::DropDeadLetters(Sweep::all());
        swept(self.engine()?.submit(operation, 0).await?)
    }

    /// Delivers dead letters after all: each that `filter` means becomes a
    /// pending delivery of the next generation, in a lane of its own, and leaves
    /// the list. It returns there if it fails again. Says how many. What has no URL
    /// to be sent to stays.
    ///
    /// They are taken in bounded steps, and events are accepted in between. Those that
    /// come to the list meanwhile stay.
    ///
    /// # Errors
    /// [`NotifyError::FilterEmpty`] for a filter that names nothing, which is never
    /// taken for everything; others if the store fails.
    pub async fn redeliver(&self, filter: DeadFilter) -> Result<u64, NotifyError> {
        let operation = Operation::Redeliver(Sweep::over(filter)?);
        swept(self.engine()?.submit(operation, 0).await?)
    }

    /// As [`redeliver`](Self::redeliver), for every dead letter.
    ///
    /// # Errors
    /// [`NotifyError`] if the store fails.
    pub async fn redeliver_all(&self) -> Result<u64, NotifyError> {
        let operation = Operation::Redeliver(Sweep::all());
        swept(self.engine()?.submit(operation, 0).await?)
    }

    /// How many dead letters [`redeliver`](Self::redeliver) would take now; with a
    /// filter that names nothing, how many [`redeliver_all`](Self::redeliver_all)
    /// would.
    ///
    /// # Errors
    /// [`NotifyError`] if the store fails.
    pub async fn redeliverable(&self, filter: DeadFilter) -> Result<u64, NotifyError> {
        let archive = self.engine()?.archive();
        let meant = archive.count_dead_letters(filter.clone()).await?;
        // They have no URL to be sent to.
        let reason = DeadReason::UrlInvalid;
        if filter.reason.is_some_and(|asked| asked != reason) {
            return Ok(meant);
        }
        let filter = DeadFilter {
            reason: Some(reason),
            ..filter
        };
        Ok(meant.saturating_sub(archive.count_dead_letters(filter).await?))
    }

    /// Forgets the dead letters that `filter` means, in bounded steps; says how many.
    ///
    /// # Errors
    /// As of [`redeliver`](Self::redeliver).
    pub async fn drop_dead_letters(&self, filter: DeadFilter) -> Result<u64, NotifyError> {
        let operation = Operation::DropDeadLetters(Sweep::over(filter)?);
        swept(self.engine()?.submit(operation, 0).await?)
    }
}

fn swept(answer: Result<Answer, Refusal>) -> Result<u64, NotifyError> {
    match answer? {
        Answer::Swept(Swept { count, .. }) => Ok(count),
        _ => Err(NotifyError::Internal),
    }
}
