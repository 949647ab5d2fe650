//! A store that does something else first: panic, fail, wait.

use std::fmt;
use std::sync::Arc;

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::retention::Retention;
use notify_core::store::{
    Archive, Batch, BoxFuture, Counters, DeadFilter, JobView, List, Listed, Page, Room, Store,
    StoreError, StoreResult, TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, JobStatus, Timestamp};

/// Where in a call the hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The store has not been asked yet.
    Before,
    /// The store has answered; nobody knows yet.
    After,
}

/// Is called with the call's name; a failure takes the place of the answer.
type Hook =
    Arc<dyn Fn(&'static str, Moment) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

/// Passes every call on to a store, with a hook before and after.
pub struct HookedStore<S> {
    inner: Arc<S>,
    hook: Hook,
}

impl<S: Store> HookedStore<S> {
    /// `hook` is called before and after every call.
    pub fn new<F>(
        inner: S,
        hook: impl Fn(&'static str, Moment) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        Self {
            inner: Arc::new(inner),
            hook: Arc::new(move |call, moment| Box::pin(hook(call, moment))),
        }
    }

    /// The store behind it.
    pub fn inner(&self) -> &Arc<S> {
        &self.inner
    }
}

impl<S> fmt::Debug for HookedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookedStore").finish_non_exhaustive()
    }
}

/// A call that is passed on, arguments owned.
macro_rules! pass_on {
    ($self:ident.$call:ident($($argument:expr),*)) => {
        Box::pin(async move {
            let name = stringify!($call);
            ($self.hook)(name, Moment::Before).await?;
            let answer = $self.inner.$call($($argument),*).await;
            ($self.hook)(name, Moment::After).await?;
            answer
        })
    };
}

impl<S: Store> Store for HookedStore<S> {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        pass_on!(self.write(now, batch))
    }

    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written> {
        pass_on!(self.claim(now, room, limit))
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        pass_on!(self.trim(now, retention, rows_max))
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        pass_on!(self.clock_set(step))
    }
}

impl<S: Store> Archive for HookedStore<S> {
    fn read(&self, job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>> {
        let job = job.clone();
        pass_on!(self.read(&job, after, limit))
    }

    fn job(&self, job: &JobId) -> StoreResult<'_, Option<JobView>> {
        let job = job.clone();
        pass_on!(self.job(&job))
    }

    fn jobs(&self, status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>> {
        pass_on!(self.jobs(status, list))
    }

    fn token(&self, job: &JobId) -> StoreResult<'_, Option<TokenHash>> {
        let job = job.clone();
        pass_on!(self.token(&job))
    }

    fn deliveries(&self, job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>> {
        let job = job.clone();
        pass_on!(self.deliveries(&job, list))
    }

    fn delivery(&self, delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>> {
        pass_on!(self.delivery(delivery))
    }

    fn dead_letters(&self, filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>> {
        pass_on!(self.dead_letters(filter, list))
    }

    fn count_dead_letters(&self, filter: DeadFilter) -> StoreResult<'_, u64> {
        pass_on!(self.count_dead_letters(filter))
    }

    fn endpoint(&self, endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        pass_on!(self.endpoint(endpoint))
    }

    fn endpoint_at(&self, url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        let url = url.clone();
        pass_on!(self.endpoint_at(&url))
    }

    fn endpoints(&self, list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>> {
        pass_on!(self.endpoints(list))
    }

    fn counters(&self) -> StoreResult<'_, Counters> {
        pass_on!(self.counters())
    }
}
