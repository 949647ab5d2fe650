//! What is written together, and what comes of each part of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{DeadFilter, Deletion, TokenHash};
use crate::delivery::{DeadReason, Delivery, LaneKey, Leased, Settle};
use crate::endpoint::{Endpoint, EndpointUrl, EventFilter, Health};
use crate::event::{EventDraft, EventRecord, Fingerprint};
use crate::id::{EndpointId, Epoch, EventId, IdempotencyKey, JobId};
use crate::map::IdMap;
use crate::signing::Secret;

/// What is to be written as one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Leases that end.
    pub settles: Vec<Settle>,
    /// Endpoints that have fallen sick or are well again, to be noted with them.
    pub health: Vec<HealthNote>,
    /// What callers ask for.
    pub operations: Vec<Operation>,
    /// For which endpoints new heads of lanes may be leased at once.
    pub may_lease: Room,
}

/// An endpoint has fallen sick, or is well again. Of one that is unknown nothing is
/// noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthNote {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// How it is now.
    pub health: Health,
}

/// One caller's wish; carried out wholly or not at all.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Accept an event.
    Append(Append),
    /// Register a job.
    Register(Box<Registration>),
    /// Change an endpoint.
    ChangeEndpoint {
        /// Which.
        endpoint: EndpointId,
        /// How.
        change: EndpointChange,
    },
    /// Turn dead letters into pending deliveries of the next generation, each in a
    /// lane of its own, due at once.
    Redeliver(Sweep),
    /// Forget dead letters.
    DropDeadLetters(Sweep),
    /// Forget a job or an endpoint with all that it has.
    Delete(Deletion),
}

/// What has come of an [`Operation`] that was carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The event was accepted.
    Appended(Appended),
    /// The job was registered.
    Registered(Registered),
    /// The endpoint as it is now.
    Endpoint(Arc<Endpoint>),
    /// Dead letters were redelivered or dropped.
    Swept(Swept),
    /// A step of a deletion was made. It is through if there is no rest.
    Deleted {
        /// What is left to do, if there is any.
        rest: Option<Deletion>,
    },
}

/// Why an operation was refused; it changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
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
        /// What a webhook that this call names would come to.
        unsent: Option<DeadReason>,
    },
    /// The idempotency key stands for other content.
    Conflict,
    /// The job has a token already.
    JobExists,
    /// The endpoint has another secret.
    SecretConflict,
    /// There is no such endpoint.
    NoEndpoint,
    /// There is no such job.
    NoJob,
    /// The job has not ended.
    JobRunning,
    /// The endpoint has two active secrets.
    RotationInProgress,
    /// The store has no room for more jobs or deliveries now.
    Full,
    /// There is too little space left on the disk to accept more.
    NoSpace,
    /// This row is damaged, and the operation needs it.
    Damaged(String),
    /// Deciding it was a bug of ours; what else was in the batch was carried out.
    Internal,
    /// Whether it was written is not known.
    OutcomeUnknown,
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
    /// Whom to tell of this event alone, in addition to the job's own endpoint.
    pub webhook: Option<Webhook>,
    /// Whether the operator has a secret that signs for endpoints without one.
    pub has_global_secret: bool,
    /// How far apart progress deliveries of one lane are kept, from one's being
    /// sent to the next one's.
    pub progress_min_interval: Duration,
    /// Ids for what the append may create.
    pub fresh: FreshIds,
}

/// A webhook that a call names, as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// It may be sent there.
    To(EndpointUrl),
    /// It can't be sent: a lifecycle event becomes a dead letter at once.
    Refused {
        /// The text as it was given, bounded and with control characters escaped.
        url: String,
        /// Why.
        reason: DeadReason,
    },
}

/// Random ids, drawn by the caller, for what an operation may create.
#[derive(Clone, Copy, Debug)]
pub struct FreshIds {
    /// For a new job's log.
    pub epoch: Epoch,
    /// For a new endpoint.
    pub endpoint: EndpointId,
}

/// How many more ready deliveries each endpoint may be given. By default none.
#[derive(Clone, Debug)]
pub struct Room {
    /// For endpoints that are not named below.
    pub each: u32,
    /// For endpoints that have some already, or to which other rules apply.
    pub left: IdMap<EndpointId, u32>,
    /// Endpoints for which there is none, unless they are named above: they are sick.
    pub shut: Arc<HashSet<EndpointId>>,
    /// How many [bytes](Delivery::bytes) they may occupy together. What is begun is
    /// used up: one more may be given for as long as any are left.
    pub bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            each: 0,
            left: IdMap::default(),
            shut: Arc::default(),
            bytes: u64::MAX,
        }
    }
}

impl Room {
    /// Whether there is room for `endpoint`.
    pub fn has(&self, endpoint: EndpointId) -> bool {
        self.left_for(endpoint) > 0
    }

    /// How much room there is for `endpoint`.
    pub fn left_for(&self, endpoint: EndpointId) -> u32 {
        match self.left.get(&endpoint) {
            Some(left) => *left,
            None if self.is_shut(endpoint) => 0,
            None => self.each,
        }
    }

    fn is_shut(&self, endpoint: EndpointId) -> bool {
        // Nearly always nobody is sick, and then a look costs nothing.
        !self.shut.is_empty() && self.shut.contains(&endpoint)
    }

    /// Takes one place for `endpoint`, if there is one, for a delivery of whose event
    /// there is so much JSON.
    pub fn take(&mut self, endpoint: EndpointId, json_bytes: u32) -> bool {
        let each = if self.is_shut(endpoint) { 0 } else { self.each };
        let left = self.left.entry(endpoint).or_insert(each);
        if *left == 0 || self.bytes == 0 {
            return false;
        }
        *left -= 1;
        self.bytes = self.bytes.saturating_sub(Delivery::bytes_of(json_bytes));
        true
    }
}

/// What a write came to.
#[derive(Debug, Default)]
pub struct Written {
    /// One for each settle, in order.
    pub settles: Vec<Result<(), StaleLease>>,
    /// One for each operation, in order.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// Heads of lanes that the caller may now attempt, those that have waited
    /// longest first.
    pub leased: Vec<Leased>,
    /// Endpoints that are not as they were.
    pub changed: Vec<Arc<Endpoint>>,
    /// Endpoints with a due head for which there was no room.
    pub left_waiting: Vec<EndpointId>,
    /// How many waiting progress deliveries were superseded.
    pub superseded: u64,
    /// How many deliveries became dead letters, by reason.
    pub died: Vec<DeadReason>,
    /// In how long the next head that is not due yet falls due.
    pub next_due_in: Option<Duration>,
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// The event, with its id.
    pub record: EventRecord,
    /// The lanes that it was put into.
    pub lanes: Vec<LaneKey>,
    /// Why the webhook that the call named is not sent, if it isn't.
    pub unsent: Option<DeadReason>,
}

/// The lease is not the delivery's current one; nothing was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleLease;

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

/// A change to an endpoint.
#[derive(Clone, Debug)]
pub enum EndpointChange {
    /// Whether its deliveries are attempted.
    Enabled(bool),
    /// Another secret of its own. The one before stays active for a while; one that is
    /// the newest already changes nothing.
    Rotate {
        /// The new one.
        secret: Box<Secret>,
        /// For how long the one before stays active.
        expire_old_after: Duration,
    },
}

/// A walk over dead letters, oldest first, in bounded steps. It ends with those
/// that were there when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    filter: DeadFilter,
    after: u64,
    until: Option<u64>,
}

/// A filter that names nothing is never taken for everything: [`Sweep::all`] says
/// so where it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterEmpty;

impl std::fmt::Display for FilterEmpty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("filter: must name something, or all must be true")
    }
}

impl std::error::Error for FilterEmpty {}

impl Sweep {
    /// The most dead letters that one step looks at.
    pub const STEP_MAX: usize = 64;

    /// Over those that `filter` means.
    ///
    /// # Errors
    /// [`FilterEmpty`] for a filter that names nothing.
    pub fn over(filter: DeadFilter) -> Result<Self, FilterEmpty> {
        if filter.is_empty() {
            return Err(FilterEmpty);
        }
        Ok(Self::within(filter))
    }

    /// Over those that a filter means which is known to name something.
    pub(crate) fn within(filter: DeadFilter) -> Self {
        Self {
            filter,
            ..Self::all()
        }
    }

    /// Over every dead letter.
    pub fn all() -> Self {
        Self {
            filter: DeadFilter::default(),
            after: 0,
            until: None,
        }
    }

    /// Which are meant.
    pub fn filter(&self) -> &DeadFilter {
        &self.filter
    }

    /// The numbers between which the next step looks: after the first, up to the
    /// second if there is one.
    pub fn numbers(&self) -> (u64, Option<u64>) {
        (self.after, self.until)
    }

    /// The rest of the walk behind a step that ended with `after`. `newest` is the
    /// newest dead letter of then.
    pub fn rest(&self, after: u64, newest: u64) -> Self {
        Self {
            filter: self.filter.clone(),
            after,
            until: Some(self.until.unwrap_or(newest)),
        }
    }
}

/// What a step of a [`Sweep`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many dead letters it moved.
    pub count: u64,
    /// What is left to do, if there is any.
    pub rest: Option<Sweep>,
}
