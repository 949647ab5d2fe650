//! One operation at a time, for whoever asks a store without a committer.

use std::sync::Arc;

use notify_core::endpoint::Endpoint;
use notify_core::store::{
    Answer, Append, Appended, Batch, DeadFilter, Deletion, Doomed, EndpointChange, Operation,
    Refusal, Registered, Registration, Room, Store, StoreError, Sweep, Swept, Written,
};
use notify_core::{EndpointId, Timestamp};

/// A batch of events.
pub(crate) fn appends(appends: impl IntoIterator<Item = Append>) -> Vec<Operation> {
    appends.into_iter().map(Operation::Append).collect()
}

/// What became of the events of a batch that holds nothing else.
pub(crate) fn appended(written: &Written) -> Vec<Result<Appended, Refusal>> {
    let answers = written.answers.iter().cloned();
    answers
        .map(|answer| match answer {
            Ok(Answer::Appended(appended)) => Ok(appended),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused),
        })
        .collect()
}

/// Operations that a store is asked for alone.
pub trait Ask: Store {
    /// Carries out one operation and leases nothing.
    fn ask(
        &self,
        now: Timestamp,
        operation: Operation,
    ) -> impl Future<Output = Result<Result<Answer, Refusal>, StoreError>> + Send {
        async move {
            let batch = Batch {
                operations: vec![operation],
                ..Batch::default()
            };
            let written = self.write(now, Arc::new(batch)).await?;
            Ok(written.answers.into_iter().next().unwrap())
        }
    }

    /// Registers a job.
    fn register(
        &self,
        now: Timestamp,
        registration: Registration,
    ) -> impl Future<Output = Result<Result<Registered, Refusal>, StoreError>> + Send {
        async move {
            let operation = Operation::Register(Box::new(registration));
            Ok(self.ask(now, operation).await?.map(|answer| match answer {
                Answer::Registered(registered) => registered,
                other => panic!("{other:?}"),
            }))
        }
    }

    /// Changes an endpoint.
    fn change_endpoint(
        &self,
        now: Timestamp,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> impl Future<Output = Result<Result<Arc<Endpoint>, Refusal>, StoreError>> + Send {
        async move {
            let operation = Operation::ChangeEndpoint { endpoint, change };
            Ok(self.ask(now, operation).await?.map(|answer| match answer {
                Answer::Endpoint(endpoint) => endpoint,
                other => panic!("{other:?}"),
            }))
        }
    }

    /// Redelivers what `filter` means, step by step; how many.
    fn redeliver(
        &self,
        now: Timestamp,
        filter: DeadFilter,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        sweep(self, now, filter, Operation::Redeliver)
    }

    /// Drops what `filter` means, step by step; how many.
    fn drop_dead_letters(
        &self,
        now: Timestamp,
        filter: DeadFilter,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        sweep(self, now, filter, Operation::DropDeadLetters)
    }

    /// Deletes a job or an endpoint, step by step.
    fn delete(
        &self,
        now: Timestamp,
        what: Doomed,
    ) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send {
        async move {
            let mut deletion = Deletion::of(what);
            loop {
                match self.ask(now, Operation::Delete(deletion)).await? {
                    Ok(Answer::Deleted { rest: Some(rest) }) => deletion = rest,
                    Ok(Answer::Deleted { rest: None }) => return Ok(Ok(())),
                    Ok(other) => panic!("{other:?}"),
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        }
    }

    /// When the next head that is not due yet falls due.
    fn next_due(
        &self,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async move {
            let claimed = self.claim(now, Room::default(), 0).await?;
            Ok(claimed.next_due_in.map(|wait| now.plus(wait)))
        }
    }
}

impl<S: Store + ?Sized> Ask for S {}

async fn sweep<S: Store + ?Sized>(
    store: &S,
    now: Timestamp,
    filter: DeadFilter,
    step: fn(Sweep) -> Operation,
) -> Result<u64, StoreError> {
    let mut rest = Some(Sweep::over(filter).unwrap_or(Sweep::all()));
    let mut total = 0;
    while let Some(sweep) = rest {
        match store.ask(now, step(sweep)).await? {
            Ok(Answer::Swept(swept)) => {
                let Swept { count, rest: left } = swept;
                total += count;
                rest = left;
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(total)
}
