//! The port to what is kept: jobs, events, deliveries, endpoints, tokens.
//!
//! Two object-safe traits. [`Store`] is what one caller, the committer, writes
//! through: in batches, with the time passed in. [`Archive`] is what anyone reads,
//! and never waits for a write. A store fetches and applies; what is decided in
//! between is the [ledger](crate::ledger)'s. Nothing here assumes that one process
//! owns the store: a lease is an opaque token, and order within a lane is the
//! store's.

mod archive;
mod batch;
mod deletion;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::ClockStep;
use crate::delivery::{DeadLetter, DeliveryView};
use crate::endpoint::{Endpoint, EndpointUrl};
use crate::id::{DeliveryId, EndpointId, JobId};
use crate::job::JobStatus;
use crate::retention::Retention;
use crate::time::Timestamp;

pub use archive::{
    Counters, DeadFilter, JobView, List, Listed, PAGE_BYTES_MAX, Page, TokenHash, Trimmed,
};
pub use batch::{
    Answer, Append, Appended, Batch, EndpointChange, FilterEmpty, FreshIds, HealthNote, Operation,
    Refusal, RegisterWebhook, Registered, Registration, Room, StaleLease, Sweep, Swept, Webhook,
    Written,
};
pub use deletion::{Deletion, Doomed};

/// A boxed future, so that the traits stay object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What asking a store comes to.
pub type StoreResult<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps jobs, events, deliveries, endpoints and tokens: the side that changes
/// them. One caller at a time.
///
/// # What every store does alike
///
/// - It fetches what a batch names, has the [ledger](crate::ledger) decide, and
///   applies that as one transaction.
/// - A delivery that becomes a dead letter leaves its lane and owns a copy of what
///   it was to deliver. A redelivery keeps its id and its place in its job's list.
/// - A store that is opened again finds nobody waiting longer than the delay that
///   was last given ([`due_again`](crate::clock::due_again)), however wrong the
///   clock was then, and nobody leased.
/// - An endpoint that nothing names is forgotten in time: at once, or once it
///   [has been kept for long enough](Retention::endpoint_over).
/// - A row that is damaged is refused by name ([`Refusal::Damaged`]) or left out,
///   and stops nobody else.
///
/// # Cancel safety
/// Dropping the future of a write leaves its outcome unknown: it may have been
/// written or not, but never by half.
pub trait Store: Archive {
    /// Carries out a batch as one transaction: first the settles, then a step of the
    /// first deletion among the operations, then the other operations, each in order. New heads of lanes for which `may_lease` has
    /// room come back leased.
    ///
    /// The outer error means that nothing of the batch is known to be written;
    /// the inner ones refuse single operations, which then changed nothing.
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written>;

    /// Leases at most `limit` due heads of lanes at enabled endpoints, those that
    /// have waited longest first, as far as there is room; and settles what the
    /// lane rule says has had its time. A recovery after a crash begins here too.
    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written>;

    /// Gives up what has been due at sick endpoints for longer than
    /// [`Retention::max_age`], some of it, in the way that the lane rule says. Forgets
    /// jobs whose retention is over, those that ended first going first,
    /// and dead letters whose is, by when they were given up; once there are none,
    /// those that [have to make room](crate::retention::Holders). So that a call is
    /// short it stops after the job with which it has forgotten `rows_max` rows
    /// (events, deliveries, attempts, keys), and after `rows_max` dead letters, or
    /// earlier; it forgets something if there is something to forget.
    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed>;

    /// The clock by which times are passed in was set. Brings what is pending to
    /// the new time: due times by [`ClockStep::due`]; by [`ClockStep::stamp`] when
    /// deliveries were accepted and first failed, as far as the lane rule asks,
    /// and when progress last went out. Leases stay. Not to be repeated.
    ///
    /// By default it does nothing, as befits a store with a clock of its own.
    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        let _ = step;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What is kept, for reading. No read waits for a write, and what it sees is whole.
pub trait Archive: Send + Sync + 'static {
    /// The events of a job that are kept and come after the sequence `after`, in
    /// order, at most `limit` and, after the first, no more than fit into
    /// [`PAGE_BYTES_MAX`]. The page is the last one if its last event is the
    /// head's. `None` for an unknown job.
    fn read(&self, job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>>;

    /// One job.
    fn job(&self, job: &JobId) -> StoreResult<'_, Option<JobView>>;

    /// Jobs, newest first.
    fn jobs(&self, status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>>;

    /// The SHA-256 of the job's token, if it has one.
    fn token(&self, job: &JobId) -> StoreResult<'_, Option<TokenHash>>;

    /// A job's deliveries, newest first.
    fn deliveries(&self, job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>>;

    /// One delivery.
    fn delivery(&self, delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>>;

    /// Dead letters that match, newest first. The empty filter means all.
    fn dead_letters(&self, filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>>;

    /// How many dead letters match.
    fn count_dead_letters(&self, filter: DeadFilter) -> StoreResult<'_, u64>;

    /// One endpoint.
    fn endpoint(&self, endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>>;

    /// The endpoint with this URL.
    fn endpoint_at(&self, url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>>;

    /// Endpoints, newest first.
    fn endpoints(&self, list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>>;

    /// What the store holds.
    fn counters(&self) -> StoreResult<'_, Counters>;
}

/// The store could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no space left to write; reading goes on.
    Full,
    /// Not now: someone else holds the store, or it can't be reached. Nothing was
    /// written; ask again a little later.
    NotNow,
    /// This row is damaged, and what was asked can't be answered without it. All
    /// else goes on.
    Damaged(String),
    /// Whether the batch was written is not known. The store does nothing more.
    OutcomeUnknown,
    /// The store does nothing more.
    Failed(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the store has no space left"),
            Self::NotNow => f.write_str("the store can't be asked now"),
            Self::Damaged(row) => write!(f, "damaged: {row}"),
            Self::OutcomeUnknown => f.write_str("whether it was written is not known"),
            Self::Failed(why) => write!(f, "the store has failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}
