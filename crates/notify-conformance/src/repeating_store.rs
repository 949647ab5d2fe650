//! A store that is asked everything twice: what it sees of callers whose first
//! answer got lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::clock::ClockStep;
use notify_core::event::Fingerprint;
use notify_core::retention::Retention;
use notify_core::store::{
    Answer, Archive, Batch, Doomed, Operation, Refusal, Registered, Room, StaleLease, Store,
    StoreResult, Swept, Trimmed, Written,
};
use notify_core::{IdempotencyKey, Timestamp};

/// Makes every call that writes twice, as if the first answer had been lost
/// after the commit, and answers with the first.
///
/// The second must find all of it done: leases that have ended, keys that stand
/// for the very event, nothing more to lease, and nothing counted twice. What a
/// caller would not repeat blindly is not repeated: a refusal that may pass, a
/// call that stopped at its limit. Events without an idempotency key are given
/// one, and nothing more is leased: whoever lost an answer has what was leased
/// with it until the store is restarted.
///
/// # Panics
/// If a repetition has an effect.
#[derive(Debug)]
pub struct RepeatingStore<S> {
    inner: S,
    gives_keys: bool,
}

impl<S: Store> RepeatingStore<S> {
    /// Asks `inner` everything twice.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            gives_keys: true,
        }
    }

    /// Gives no event a key, so that a repetition is an event of its own: what a
    /// suite must notice.
    pub fn without_keys(inner: S) -> Self {
        Self {
            inner,
            gives_keys: false,
        }
    }

    /// The store behind it, for good.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// Makes a call for the second time; the store must count as before.
    async fn repeat<T>(&self, call: impl Future<Output = T>) -> T {
        let before = self.inner.counters().await;
        let answer = call.await;
        assert_eq!(self.inner.counters().await, before, "it counts twice");
        answer
    }
}

impl<S: Store> Store for RepeatingStore<S> {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        let mut batch = Batch::clone(&batch);
        if self.gives_keys {
            batch.operations.iter_mut().for_each(give_key);
        }
        Box::pin(async move {
            let (settles, operations) = (batch.settles.clone(), batch.operations.clone());
            let written = self.inner.write(now, Arc::new(batch)).await?;
            let mut again = Batch {
                settles,
                ..Batch::default()
            };
            let mut expected = Vec::new();
            let is_alone = operations.len() == 1;
            for (operation, answer) in operations.into_iter().zip(&written.answers) {
                // What it deletes may have come back in the same batch.
                if matches!(operation, Operation::Delete(_)) && !is_alone {
                    continue;
                }
                if let Some(repeated) = when_repeated(&operation, answer) {
                    again.operations.push(operation);
                    expected.push(repeated);
                }
            }
            let repeated = self.repeat(self.inner.write(now, Arc::new(again))).await?;
            let ended = |settled: &Result<(), _>| *settled == Err(StaleLease);
            assert!(repeated.settles.iter().all(ended), "{repeated:?}");
            assert_eq!(repeated.answers, expected, "it does a thing twice");
            check_idle(&repeated);
            Ok(written)
        })
    }

    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written> {
        Box::pin(async move {
            let claimed = self.inner.claim(now, room, limit).await?;
            if claimed.leased.len() < limit {
                let repeated = self.inner.claim(now, Room::default(), limit);
                check_idle(&self.repeat(repeated).await?);
            }
            Ok(claimed)
        })
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        Box::pin(async move {
            let trimmed = self.inner.trim(now, retention, rows_max).await?;
            if !trimmed.more {
                let repeated = self.inner.trim(now, retention, rows_max);
                assert_eq!(self.repeat(repeated).await, Ok(Trimmed::default()));
            }
            Ok(trimmed)
        })
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        // Nobody may repeat it.
        self.inner.clock_set(step)
    }
}

impl<S: Store> Archive for RepeatingStore<S> {
    crate::pass_reads_on!();
}

/// Keys are not used twice, whichever store they are for: one may be opened
/// again behind another wrapper.
fn give_key(operation: &mut Operation) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Operation::Append(append) = operation
        && append.idempotency.is_none()
    {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = IdempotencyKey::parse(&format!("repeated {number}"));
        append.idempotency = key.ok().map(|key| (key, Fingerprint([0; 32])));
    }
}

/// What an operation comes to when it is repeated; `None` for one that is not: what
/// was refused for a bound may be accepted after the rest of its batch, and a step
/// that stopped at its limit would go on.
fn when_repeated(
    operation: &Operation,
    answer: &Result<Answer, Refusal>,
) -> Option<Result<Answer, Refusal>> {
    Some(match (operation, answer) {
        (_, Ok(Answer::Appended(appended))) => Err(Refusal::Duplicate {
            first: appended.record.id(),
            unsent: None,
        }),
        (Operation::Register(registration), Ok(Answer::Registered(registered))) => {
            if !registration.replace_token {
                return Some(Err(Refusal::JobExists));
            }
            Ok(Answer::Registered(Registered {
                used_new_secret: false,
                ..registered.clone()
            }))
        }
        (_, Ok(Answer::Swept(Swept { rest: None, .. }))) => Ok(Answer::Swept(Swept {
            count: 0,
            rest: None,
        })),
        (Operation::Delete(deletion), Ok(Answer::Deleted { rest: None })) => {
            match deletion.what() {
                _ if deletion.is_begun() => answer.clone(),
                Doomed::Job { .. } => Err(Refusal::NoJob),
                Doomed::Endpoint(_) => Err(Refusal::NoEndpoint),
            }
        }
        (Operation::Delete(_), Err(_)) => answer.clone(),
        // One that nobody names may have been forgotten meanwhile.
        (_, Ok(Answer::Endpoint(endpoint))) if endpoint.may_be_forgotten() => return None,
        (_, Ok(Answer::Endpoint(_)))
        | (_, Err(Refusal::Finished { .. } | Refusal::Duplicate { .. } | Refusal::Conflict))
        | (_, Err(Refusal::JobExists | Refusal::SecretConflict | Refusal::NoEndpoint)) => {
            answer.clone()
        }
        _ => return None,
    })
}

/// Nothing became of any delivery.
fn check_idle(written: &Written) {
    let Written {
        leased,
        superseded,
        died,
        ..
    } = written;
    assert!(
        leased.is_empty() && *superseded == 0 && died.is_empty(),
        "{written:?}"
    );
}
