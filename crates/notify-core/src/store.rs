//! The port to what is kept: jobs, events, deliveries, endpoints, tokens.
//!
//! One object-safe trait, shaped in batches, with the time passed in. A store
//! keeps facts and applies the pure rules of this crate ([`JobHead::accept`],
//! [`crate::lane::plan`], [`crate::endpoint::fan_out`]); it has no rules of its
//! own. Nothing here assumes that one process owns the store: a lease is an
//! opaque token, and order within a lane is the store's.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::ClockStep;
use crate::delivery::{DeadLetter, DeadReason, DeliveryView, LaneKey, Leased, Settle};
use crate::endpoint::{Endpoint, EndpointUrl, EventFilter};
use crate::event::{EventDraft, EventRecord, Fingerprint};
use crate::id::{DeliveryId, EndpointId, Epoch, EventId, IdempotencyKey, JobId};
use crate::job::{JobHead, JobStatus};
use crate::signing::{Keyring, Secret};
use crate::time::Timestamp;

/// A boxed future, so that [`Store`] stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a read of a store comes to.
pub type ReadResult<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps jobs, events, deliveries, endpoints and tokens.
///
/// # What every store does alike
///
/// - An append is looked at in this order: its idempotency key, the job's head,
///   the store's bounds. It makes one delivery for each endpoint of
///   [`fan_out`](crate::endpoint::fan_out), due at once; a progress with
///   [`Append::progress_min_interval`] as its [`spacing`](crate::lane::LaneRow).
/// - A settle with [`Outcome::Retry`](crate::delivery::Outcome::Retry) counts its
///   attempt and remembers when the first one failed; one with
///   [`Superseded`](crate::delivery::Outcome::Superseded) or `Released` only ends
///   the lease, and `Postponed` sets a due time too. Then the lane rule decides.
/// - A progress was sent its attempt's duration before it is settled: the store
///   remembers that time for its lane, however the attempt ended.
/// - Leasing comes last: only heads that remain after the whole batch are leased.
/// - A delivery that becomes a dead letter leaves its lane. A redelivery begins
///   with no attempts, keeps its id, and is a lane of its own.
/// - A store that is opened again finds nobody waiting longer than the delay that
///   was last given ([`due_again`](crate::clock::due_again)), however wrong the
///   clock was then.
/// - An endpoint is made when an append or a registration first names its URL. It
///   may be forgotten once no job and no delivery names it, if it is enabled and
///   has no secret of its own.
///
/// # Cancel safety
/// Dropping the future of a write leaves its outcome unknown: it may have been
/// written or not, but never by half.
pub trait Store: Send + Sync + 'static {
    /// Carries out a batch as one transaction: first the settles, then the
    /// appends, each in order. New heads of lanes for which `may_lease` has room
    /// come back leased. A delivery that dies of [`DeadReason::Gone`] disables its
    /// endpoint in the same transaction.
    ///
    /// The outer error means that nothing of the batch is known to be written;
    /// the inner ones refuse single operations, which then changed nothing.
    fn write(&self, now: Timestamp, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>>;

    /// Registers a job: gives it a token and, if asked, an endpoint to tell.
    fn register(
        &self,
        now: Timestamp,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegisterError>>;

    /// Leases at most `limit` due heads of lanes at enabled endpoints, oldest due
    /// first within an endpoint, as far as there is room; and settles what the
    /// lane rule says has had its time. A recovery after a crash begins here too.
    fn claim(
        &self,
        now: Timestamp,
        room: Room,
        limit: usize,
    ) -> BoxFuture<'_, Result<Written, StoreError>>;

    /// When the next head that is not due yet falls due.
    fn next_due(&self, now: Timestamp) -> ReadResult<'_, Option<Timestamp>>;

    /// The events of a job that are kept and come after the sequence `after`, in
    /// order, at most `limit` and, after the first, no more than fit into
    /// [`PAGE_BYTES_MAX`]. The page is the last one if its last event is the
    /// head's. `None` for an unknown job.
    fn read(&self, job: &JobId, after: u64, limit: usize) -> ReadResult<'_, Option<Page>>;

    /// One job.
    fn job(&self, job: &JobId) -> ReadResult<'_, Option<JobView>>;

    /// Jobs, newest first.
    fn jobs(&self, status: Option<JobStatus>, list: List) -> ReadResult<'_, Listed<JobView>>;

    /// The SHA-256 of the job's token, if it has one.
    fn token(&self, job: &JobId) -> ReadResult<'_, Option<TokenHash>>;

    /// A job's deliveries, newest first.
    fn deliveries(&self, job: &JobId, list: List) -> ReadResult<'_, Listed<DeliveryView>>;

    /// One delivery.
    fn delivery(&self, delivery: DeliveryId) -> ReadResult<'_, Option<DeliveryView>>;

    /// Dead letters that match, newest first.
    fn dead_letters(&self, filter: DeadFilter, list: List) -> ReadResult<'_, Listed<DeadLetter>>;

    /// How many dead letters match.
    fn count_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64>;

    /// Turns matching dead letters into pending deliveries of the next
    /// generation, each in a lane of its own, due at once; says how many.
    fn redeliver(&self, now: Timestamp, filter: DeadFilter) -> ReadResult<'_, u64>;

    /// Forgets matching dead letters; says how many.
    fn drop_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64>;

    /// One endpoint.
    fn endpoint(&self, endpoint: EndpointId) -> ReadResult<'_, Option<Endpoint>>;

    /// The endpoint with this URL.
    fn endpoint_at(&self, url: &EndpointUrl) -> ReadResult<'_, Option<Endpoint>>;

    /// Endpoints, newest first.
    fn endpoints(&self, list: List) -> ReadResult<'_, Listed<Endpoint>>;

    /// Changes an endpoint; the endpoint afterwards, or `None` if it is unknown.
    fn change_endpoint(
        &self,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> ReadResult<'_, Option<Endpoint>>;

    /// Forgets jobs whose retention is over, those that ended first going first,
    /// and dead letters whose is, by when they were given up. So that a call is
    /// short it stops after the job with which it has forgotten `rows_max` rows
    /// (events, deliveries, attempts, keys), and after `rows_max` dead letters, or
    /// earlier; it forgets something if there is something to forget.
    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> ReadResult<'_, Trimmed>;

    /// The clock by which times are passed in was set. Brings what is pending to
    /// the new time: due times by [`ClockStep::due`]; by [`ClockStep::stamp`] when
    /// deliveries were accepted and first failed, as far as the lane rule asks,
    /// and when progress last went out. Leases stay. Not to be repeated.
    ///
    /// By default it does nothing, as befits a store with a clock of its own.
    fn clock_set(&self, step: ClockStep) -> ReadResult<'_, ()> {
        let _ = step;
        Box::pin(std::future::ready(Ok(())))
    }

    /// What the store holds.
    fn counters(&self) -> ReadResult<'_, Counters>;
}

/// What is to be written as one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Leases that end.
    pub settles: Vec<Settle>,
    /// Events to accept.
    pub appends: Vec<Append>,
    /// For which endpoints new heads of lanes may be leased at once.
    pub may_lease: Room,
}

/// An event to accept: it, its deliveries, the job's new head and the
/// idempotency key are written together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// The job; one that is unknown is created.
    pub job: JobId,
    /// The event.
    pub draft: EventDraft,
    /// What makes a repetition of this call return the first one's event.
    pub idempotency: Option<(IdempotencyKey, Fingerprint)>,
    /// An endpoint for this event alone, in addition to the job's own.
    pub webhook: Option<EndpointUrl>,
    /// How far apart progress deliveries of one lane are kept, from one's being
    /// sent to the next one's.
    pub progress_min_interval: Duration,
    /// Ids for what the append may create.
    pub fresh: FreshIds,
}

/// Random ids, drawn by the caller, for what an operation may create.
#[derive(Clone, Copy, Debug)]
pub struct FreshIds {
    /// For a new job's log.
    pub epoch: Epoch,
    /// For a new endpoint.
    pub endpoint: EndpointId,
    /// For the event's deliveries: at most one to the job's endpoint and one to
    /// the event's.
    pub deliveries: [DeliveryId; 2],
}

/// How many more ready deliveries each endpoint may be given.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// For endpoints that are not named below.
    pub each: u32,
    /// For endpoints that have some already.
    pub left: HashMap<EndpointId, u32>,
}

impl Room {
    /// Whether there is room for `endpoint`.
    pub fn has(&self, endpoint: EndpointId) -> bool {
        self.left.get(&endpoint).copied().unwrap_or(self.each) > 0
    }

    /// Takes one place for `endpoint`, if there is one.
    pub fn take(&mut self, endpoint: EndpointId) -> bool {
        let left = self.left.entry(endpoint).or_insert(self.each);
        let had = *left > 0;
        *left = left.saturating_sub(1);
        had
    }
}

/// What a write came to.
#[derive(Debug, Default)]
pub struct Written {
    /// One for each settle, in order.
    pub settles: Vec<Result<(), StaleLease>>,
    /// One for each append, in order.
    pub appends: Vec<Result<Appended, AppendError>>,
    /// Heads of lanes that the caller may now attempt.
    pub leased: Vec<Leased>,
    /// How many waiting progress deliveries were superseded.
    pub superseded: u64,
    /// How many deliveries became dead letters, by reason.
    pub died: Vec<DeadReason>,
    /// When the next head that is not due yet falls due, so that nobody has to
    /// ask [`Store::next_due`] after a write.
    pub next_due: Option<Timestamp>,
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// The event, with its id.
    pub record: EventRecord,
    /// The lanes that it was put into.
    pub lanes: Vec<LaneKey>,
}

/// The lease is not the delivery's current one; nothing was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleLease;

/// Why an append was refused; it changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The job has ended with this event.
    Finished {
        /// The terminal event.
        terminal: EventId,
    },
    /// The job has its lifecycle events.
    TooMany,
    /// The idempotency key stands for this event, with the same content.
    Duplicate {
        /// The first call's event.
        first: EventId,
    },
    /// The idempotency key stands for other content.
    Conflict,
    /// The store has no room for more jobs or deliveries now.
    Full,
    /// There is too little space left on the disk to accept events.
    NoSpace,
    /// Whether it was written is not known.
    OutcomeUnknown,
}

/// A job's registration.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The job; one that is unknown is created.
    pub job: JobId,
    /// The SHA-256 of the job's new token.
    pub token: TokenHash,
    /// Whether a job that has a token already is given the new one instead of
    /// being refused.
    pub replace_token: bool,
    /// Whom the job tells.
    pub webhook: Option<RegisterWebhook>,
    /// Ids for what the registration may create.
    pub fresh: FreshIds,
}

/// The endpoint that a job tells of its events.
#[derive(Clone, Debug)]
pub struct RegisterWebhook {
    /// Where it is.
    pub url: EndpointUrl,
    /// What it asks for.
    pub filter: EventFilter,
    /// The secret that the caller says it has. Another one than a known
    /// endpoint's own is a conflict.
    pub secret: Option<Secret>,
    /// The secret it gets if it is new and the caller names none.
    pub secret_if_new: Option<Secret>,
}

/// What a registration came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The job's log.
    pub epoch: Epoch,
    /// Whether [`RegisterWebhook::secret_if_new`] was put to use.
    pub used_new_secret: bool,
}

/// Why a registration was refused; it changed nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// The job has a token already.
    JobExists,
    /// The endpoint has another secret.
    SecretConflict,
    /// The store failed.
    Store(StoreError),
}

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// The most JSON of one [`Page`], in bytes: what else is to be read at that time
/// does not wait for long.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Events of one job.
#[derive(Clone, Debug)]
pub struct Page {
    /// The job's head at the time of reading.
    pub head: JobHead,
    /// The events, in order.
    pub events: Vec<EventRecord>,
}

/// A job as a reader sees it.
#[derive(Clone, Debug)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// The head of its log.
    pub head: JobHead,
    /// Its newest event.
    pub last: Option<EventRecord>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub updated_at: Timestamp,
    /// Whether it has a token.
    pub registered: bool,
    /// Whom it tells, and about what.
    pub webhook: Option<(EndpointUrl, EventFilter)>,
}

/// Which part of a list to read.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// At most so many.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The part, newest first.
    pub items: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<String>,
}

/// Which dead letters are meant. The empty filter means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// This one.
    pub delivery: Option<DeliveryId>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// For this reason.
    pub reason: Option<DeadReason>,
    /// Given up at or after.
    pub since: Option<Timestamp>,
    /// Given up before.
    pub until: Option<Timestamp>,
}

impl DeadFilter {
    /// Whether it means `letter`.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.delivery.is_none_or(|delivery| delivery == letter.id)
            && self.job.as_ref().is_none_or(|job| *job == letter.job_id)
            && self
                .endpoint
                .is_none_or(|endpoint| endpoint == letter.endpoint_id)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.since.is_none_or(|since| since <= letter.died_at)
            && self.until.is_none_or(|until| letter.died_at < until)
    }
}

/// A change to an endpoint.
#[derive(Clone, Debug)]
pub enum EndpointChange {
    /// Whether its deliveries are attempted.
    Enabled(bool),
    /// Its own secrets.
    Keyring(Box<Keyring>),
}

/// For how long what has ended is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A job, from its terminal event or its last settled delivery, whichever
    /// is later. A running job is never forgotten.
    pub jobs: Duration,
    /// A dead letter, from when it was given up.
    pub dead_letters: Duration,
}

/// What a step of trimming came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Jobs and dead letters that it forgot.
    pub forgotten: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Jobs.
    pub jobs: u64,
    /// Deliveries that are not settled.
    pub pending_deliveries: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// The due time of the oldest head that is not leased.
    pub oldest_due_at: Option<Timestamp>,
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
            Self::OutcomeUnknown => f.write_str("whether it was written is not known"),
            Self::Failed(why) => write!(f, "the store has failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
