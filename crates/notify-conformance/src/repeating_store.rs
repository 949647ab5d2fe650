//! A store that is asked everything twice: what it sees of callers whose first
//! answer got lost.

#![expect(clippy::panic, reason = "a store that does a thing twice has failed")]

use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::event::Fingerprint;
use notify_core::store::{
    Append, AppendError, Appended, Batch, BoxFuture, Counters, DeadFilter, EndpointChange, JobView,
    List, Listed, Page, ReadResult, RegisterError, Registered, Registration, Retention, Room,
    StaleLease, Store, StoreError, TokenHash, Trimmed, Written,
};
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, IdempotencyKey, JobId, JobStatus, Timestamp,
};

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
    fn write(
        &self,
        now: Timestamp,
        mut batch: Batch,
    ) -> BoxFuture<'_, Result<Written, StoreError>> {
        if self.gives_keys {
            batch.appends.iter_mut().for_each(give_key);
        }
        Box::pin(async move {
            let (settles, appends) = (batch.settles.clone(), batch.appends.clone());
            let written = self.inner.write(now, batch).await?;
            let outcomes = appends.into_iter().zip(&written.appends);
            let (appends, outcomes): (Vec<_>, Vec<_>) =
                outcomes.filter(|(_, outcome)| stands(outcome)).unzip();
            let again = Batch {
                settles,
                appends,
                may_lease: Room::default(),
            };
            let repeated = self.repeat(self.inner.write(now, again)).await?;
            let ended = |settled: &Result<(), _>| *settled == Err(StaleLease);
            assert!(repeated.settles.iter().all(ended), "{repeated:?}");
            let expected: Vec<_> = outcomes.into_iter().map(when_repeated).collect();
            assert_eq!(repeated.appends, expected, "it accepts twice");
            check_idle(&repeated);
            Ok(written)
        })
    }

    fn register(
        &self,
        now: Timestamp,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(async move {
            let first = self.inner.register(now, registration.clone()).await;
            let replaces = registration.replace_token;
            let second = self.repeat(self.inner.register(now, registration)).await;
            match (&first, &second) {
                (Ok(first), Ok(second)) if replaces => assert_eq!(first.epoch, second.epoch),
                (Ok(_), Err(RegisterError::JobExists)) if !replaces => {}
                (Err(_), Err(_)) => assert_eq!(format!("{first:?}"), format!("{second:?}")),
                _ => panic!("{first:?}, and when repeated {second:?}"),
            }
            first
        })
    }

    fn claim(
        &self,
        now: Timestamp,
        room: Room,
        limit: usize,
    ) -> BoxFuture<'_, Result<Written, StoreError>> {
        Box::pin(async move {
            let claimed = self.inner.claim(now, room, limit).await?;
            if claimed.leased.len() < limit {
                let repeated = self.inner.claim(now, Room::default(), limit);
                check_idle(&self.repeat(repeated).await?);
            }
            Ok(claimed)
        })
    }

    fn redeliver(&self, now: Timestamp, filter: DeadFilter) -> ReadResult<'_, u64> {
        Box::pin(async move {
            let count = self.inner.redeliver(now, filter.clone()).await?;
            let repeated = self.inner.redeliver(now, filter);
            assert_eq!(self.repeat(repeated).await, Ok(0));
            Ok(count)
        })
    }

    fn drop_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64> {
        Box::pin(async move {
            let count = self.inner.drop_dead_letters(filter.clone()).await?;
            let repeated = self.inner.drop_dead_letters(filter);
            assert_eq!(self.repeat(repeated).await, Ok(0));
            Ok(count)
        })
    }

    fn change_endpoint(
        &self,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> ReadResult<'_, Option<Endpoint>> {
        Box::pin(async move {
            let changed = self.inner.change_endpoint(endpoint, change.clone()).await;
            let repeated = self.inner.change_endpoint(endpoint, change);
            assert_eq!(self.repeat(repeated).await, changed);
            changed
        })
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> ReadResult<'_, Trimmed> {
        Box::pin(async move {
            let trimmed = self.inner.trim(now, retention, rows_max).await?;
            if !trimmed.more {
                let repeated = self.inner.trim(now, retention, rows_max);
                assert_eq!(self.repeat(repeated).await, Ok(Trimmed::default()));
            }
            Ok(trimmed)
        })
    }

    fn endpoint(&self, endpoint: EndpointId) -> ReadResult<'_, Option<Endpoint>> {
        self.inner.endpoint(endpoint)
    }

    fn clock_set(&self, step: ClockStep) -> ReadResult<'_, ()> {
        // Nobody may repeat it.
        self.inner.clock_set(step)
    }

    crate::store_reads::pass_reads_on!();
}

/// Keys are not used twice, whichever store they are for: one may be opened
/// again behind another wrapper.
fn give_key(append: &mut Append) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if append.idempotency.is_none() {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = IdempotencyKey::parse(&format!("repeated {number}"));
        append.idempotency = key.ok().map(|key| (key, Fingerprint([0; 32])));
    }
}

/// Whether an append comes to the same when it is repeated. What was refused for
/// a bound may be accepted after the rest of its batch.
fn stands(outcome: &Result<Appended, AppendError>) -> bool {
    use AppendError::{Conflict, Duplicate, Finished};
    matches!(
        outcome,
        Ok(_) | Err(Finished { .. } | Duplicate { .. } | Conflict)
    )
}

fn when_repeated(outcome: &Result<Appended, AppendError>) -> Result<Appended, AppendError> {
    match outcome {
        Ok(appended) => Err(AppendError::Duplicate {
            first: appended.record.id(),
        }),
        refused => refused.clone(),
    }
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
