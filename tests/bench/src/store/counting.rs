//! A store that counts the batches it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::{Endpoint, EndpointUrl};
use notify_core::store::{
    Batch, BoxFuture, Counters, DeadFilter, EndpointChange, JobView, List, Listed, Page,
    ReadResult, RegisterError, Registered, Registration, Retention, Room, Store, StoreError,
    TokenHash, Trimmed, Written,
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
    fn write(&self, now: Timestamp, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        let appends = u64::try_from(batch.appends.len()).unwrap_or(u64::MAX);
        self.counts.appends.fetch_add(appends, Ordering::Relaxed);
        self.inner.write(now, batch)
    }

    pass_on! {
        register(now: Timestamp, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>>;
        claim(now: Timestamp, room: Room, limit: usize) -> BoxFuture<'_, Result<Written, StoreError>>;
        next_due(now: Timestamp) -> ReadResult<'_, Option<Timestamp>>;
        read(job: &JobId, after: u64, limit: usize) -> ReadResult<'_, Option<Page>>;
        job(job: &JobId) -> ReadResult<'_, Option<JobView>>;
        jobs(status: Option<JobStatus>, list: List) -> ReadResult<'_, Listed<JobView>>;
        token(job: &JobId) -> ReadResult<'_, Option<TokenHash>>;
        deliveries(job: &JobId, list: List) -> ReadResult<'_, Listed<DeliveryView>>;
        delivery(delivery: DeliveryId) -> ReadResult<'_, Option<DeliveryView>>;
        dead_letters(filter: DeadFilter, list: List) -> ReadResult<'_, Listed<DeadLetter>>;
        count_dead_letters(filter: DeadFilter) -> ReadResult<'_, u64>;
        redeliver(now: Timestamp, filter: DeadFilter) -> ReadResult<'_, u64>;
        drop_dead_letters(filter: DeadFilter) -> ReadResult<'_, u64>;
        endpoint(endpoint: EndpointId) -> ReadResult<'_, Option<Endpoint>>;
        endpoint_at(url: &EndpointUrl) -> ReadResult<'_, Option<Endpoint>>;
        endpoints(list: List) -> ReadResult<'_, Listed<Endpoint>>;
        change_endpoint(endpoint: EndpointId, change: EndpointChange) -> ReadResult<'_, Option<Endpoint>>;
        trim(now: Timestamp, retention: Retention, rows_max: usize) -> ReadResult<'_, Trimmed>;
        clock_set(step: ClockStep) -> ReadResult<'_, ()>;
        counters() -> ReadResult<'_, Counters>;
    }
}
