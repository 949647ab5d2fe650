//! A store that counts the batches it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::{Endpoint, EndpointUrl};
use notify_core::retention::Retention;
use notify_core::store::{
    Archive, Batch, Counters, DeadFilter, JobView, List, Listed, Operation, Page, Room, Store,
    StoreResult, TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, JobId, JobStatus, Timestamp};

/// Passes everything on, and counts.
pub struct CountingStore<S> {
    inner: S,
    counts: Arc<Counts>,
}

/// What a [`CountingStore`] was given.
#[derive(Debug, Default)]
pub struct Counts {
    batches: AtomicU64,
    appends: AtomicU64,
}

impl Counts {
    /// The mean number of events in a batch.
    pub fn mean_batch(&self) -> f64 {
        let count = |count: &AtomicU64| {
            f64::from(u32::try_from(count.load(Ordering::Relaxed)).unwrap_or(u32::MAX))
        };
        count(&self.appends) / count(&self.batches).max(1.0)
    }
}

impl<S> CountingStore<S> {
    /// Counts what `inner` is given.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            counts: Arc::default(),
        }
    }

    /// The counts, which go on.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }
}

macro_rules! pass_on {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> $out {
            self.inner.$name($($arg),*)
        })*
    };
}

impl<S: Store> Store for CountingStore<S> {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        let operations = batch.operations.iter();
        let appends = operations.filter(|it| matches!(it, Operation::Append(_)));
        let appends = u64::try_from(appends.count()).unwrap_or(u64::MAX);
        self.counts.appends.fetch_add(appends, Ordering::Relaxed);
        self.inner.write(now, batch)
    }

    pass_on! {
        claim(now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written>;
        trim(now: Timestamp, retention: Retention, rows_max: usize) -> StoreResult<'_, Trimmed>;
        clock_set(step: ClockStep) -> StoreResult<'_, ()>;
    }
}

impl<S: Store> Archive for CountingStore<S> {
    pass_on! {
        read(job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>>;
        job(job: &JobId) -> StoreResult<'_, Option<JobView>>;
        jobs(status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>>;
        token(job: &JobId) -> StoreResult<'_, Option<TokenHash>>;
        deliveries(job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>>;
        delivery(delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>>;
        dead_letters(filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>>;
        count_dead_letters(filter: DeadFilter) -> StoreResult<'_, u64>;
        endpoint(endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>>;
        endpoint_at(url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>>;
        endpoints(list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>>;
        counters() -> StoreResult<'_, Counters>;
    }
}
