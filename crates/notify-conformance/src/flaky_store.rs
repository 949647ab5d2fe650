//! A store whose answers get lost: what a caller sees of a store behind a network,
//! or of one that dies between its commit and its answer.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::Timestamp;
use notify_core::clock::ClockStep;
use notify_core::retention::Retention;
use notify_core::store::{Archive, Batch, Room, Store, StoreError, StoreResult, Trimmed, Written};

use crate::Draw;

/// Passes every call on to a store, and loses some calls that write: on the way
/// there, so that nothing is written, or on the way back, so that all of it is.
/// Both look the same to the caller: [`StoreError::OutcomeUnknown`]. Unlike a
/// store of its own, it goes on working afterwards. Reads are never lost.
pub struct FlakyStore<S> {
    inner: S,
    seed: u64,
    lost_percent: AtomicU64,
    calls: AtomicU64,
    lost: AtomicU64,
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
    fn risk<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a S) -> StoreResult<'a, T>,
    ) -> StoreResult<'a, T> {
        match self.next_fate() {
            Fate::Answered => call(&self.inner),
            Fate::NeverArrives => Box::pin(ready(Err(StoreError::OutcomeUnknown))),
            Fate::AnswerLost => {
                let answer = call(&self.inner);
                Box::pin(async move {
                    drop(answer.await);
                    Err(StoreError::OutcomeUnknown)
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
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        self.risk(|store| store.write(now, batch))
    }

    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written> {
        self.risk(|store| store.claim(now, room, limit))
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        self.risk(|store| store.trim(now, retention, rows_max))
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        self.risk(move |store| store.clock_set(step))
    }
}

impl<S: Store> Archive for FlakyStore<S> {
    crate::pass_reads_on!();
}
