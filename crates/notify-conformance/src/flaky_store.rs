//! A store whose answers get lost: what a caller sees of a store behind a network,
//! or of one that dies between its commit and its answer.

use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::store::{
    Batch, BoxFuture, Counters, DeadFilter, EndpointChange, JobView, List, Listed, Page,
    ReadResult, RegisterError, Registered, Registration, Retention, Room, Store, StoreError,
    TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, JobStatus, Timestamp};

use crate::Draw;

/// Passes every call on to a store, and loses some calls that write: on the way
/// there, so that nothing is written, or on the way back, so that all of it is.
/// Both look the same to the caller: [`StoreError::OutcomeUnknown`]. Unlike a
/// store of its own, it goes on working afterwards. Reads are never lost, but the next ones of
/// an endpoint can be made to fail.
pub struct FlakyStore<S> {
    inner: S,
    seed: u64,
    lost_percent: AtomicU64,
    calls: AtomicU64,
    lost: AtomicU64,
    reads_to_fail: AtomicU64,
}

/// What happens to a call.
enum Fate {
    Answered,
    NeverArrives,
    AnswerLost,
}

impl<S: Store> FlakyStore<S> {
    /// Loses about `lost_percent` of the calls that write; which ones and on
    /// which way is decided by `seed` and the call's number.
    pub fn new(inner: S, seed: u64, lost_percent: u64) -> Self {
        Self {
            inner,
            seed,
            lost_percent: AtomicU64::new(lost_percent),
            calls: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reads_to_fail: AtomicU64::new(0),
        }
    }

    /// From now on loses about this many of the calls that write.
    pub fn lose(&self, percent: u64) {
        self.lost_percent.store(percent, Ordering::Relaxed);
    }

    /// About how many of the calls that write are lost now.
    pub fn lost_percent(&self) -> u64 {
        self.lost_percent.load(Ordering::Relaxed)
    }

    /// Fails the next so many reads of an endpoint.
    pub fn fail_endpoint_reads(&self, count: u64) {
        self.reads_to_fail.store(count, Ordering::Relaxed);
    }

    /// The store behind it, for good.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// How many calls were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn next_fate(&self) -> Fate {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut draw = Draw::new(self.seed.wrapping_add(call.wrapping_mul(0x1000_0001)));
        if !draw.chance(self.lost_percent()) {
            return Fate::Answered;
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        if draw.chance(50) {
            Fate::NeverArrives
        } else {
            Fate::AnswerLost
        }
    }

    /// Lets fate have its way with a call. It is only made if it arrives: a store
    /// may do its work before its future is polled.
    fn risk<'a, T, E>(
        &'a self,
        call: impl FnOnce(&'a S) -> BoxFuture<'a, Result<T, E>>,
    ) -> BoxFuture<'a, Result<T, E>>
    where
        T: Send + 'a,
        E: From<StoreError> + Send + 'a,
    {
        match self.next_fate() {
            Fate::Answered => call(&self.inner),
            Fate::NeverArrives => Box::pin(ready(Err(StoreError::OutcomeUnknown.into()))),
            Fate::AnswerLost => {
                let answer = call(&self.inner);
                Box::pin(async move {
                    drop(answer.await);
                    Err(StoreError::OutcomeUnknown.into())
                })
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for FlakyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlakyStore")
            .field("inner", &self.inner)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl<S: Store> Store for FlakyStore<S> {
    fn write(&self, now: Timestamp, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.risk(|store| store.write(now, batch))
    }

    fn register(
        &self,
        now: Timestamp,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        self.risk(|store| store.register(now, registration))
    }

    fn claim(
        &self,
        now: Timestamp,
        room: Room,
        limit: usize,
    ) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.risk(|store| store.claim(now, room, limit))
    }

    fn redeliver(&self, now: Timestamp, filter: DeadFilter) -> ReadResult<'_, u64> {
        self.risk(|store| store.redeliver(now, filter))
    }

    fn drop_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64> {
        self.risk(|store| store.drop_dead_letters(filter))
    }

    fn change_endpoint(
        &self,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> ReadResult<'_, Option<Endpoint>> {
        self.risk(|store| store.change_endpoint(endpoint, change))
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> ReadResult<'_, Trimmed> {
        self.risk(|store| store.trim(now, retention, rows_max))
    }

    fn endpoint(&self, endpoint: EndpointId) -> ReadResult<'_, Option<Endpoint>> {
        let left = |left: u64| left.checked_sub(1);
        let fails = self
            .reads_to_fail
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        if fails.is_ok() {
            let error = StoreError::Failed("this read".to_owned());
            return Box::pin(ready(Err(error)));
        }
        self.inner.endpoint(endpoint)
    }

    fn clock_set(&self, step: ClockStep) -> ReadResult<'_, ()> {
        self.risk(move |store| store.clock_set(step))
    }

    crate::store_reads::pass_reads_on!();
}
