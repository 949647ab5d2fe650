//! What a store must come to, said a second time: plainly, slowly, and from the
//! protocol alone (`docs/protocol.md`: its words, events, webhooks, what a log
//! keeps, and bounds).
//!
//! A [`Model`] keeps lists and looks through them from one end to the other. It
//! has no index, no counter and nothing that is worked out before it is asked: a
//! lane is *all deliveries of that job to that endpoint that are pending, by
//! sequence*, found anew each time; what a log keeps is picked out of all events
//! that there ever were. It shares plain data with `notify-core` (ids, events,
//! attempts, times) and none of its rules, so that a rule that is wrong there, and
//! with it in every store, is seen.
//!
//! **Flow.** The operations are a store's, one at a time, each with the time at
//! which it happens: [`append`](Model::append), [`settle`](Model::settle),
//! [`lease`](Model::lease), [`claim`](Model::claim), [`register`](Model::register),
//! [`redeliver`](Model::redeliver), [`trim`](Model::trim), … What became of
//! deliveries that nobody named collects in a [`Toll`]. [`ModelStore`](crate::ModelStore)
//! speaks the port for it.
//!
//! **What it leaves open** is what the port leaves open. It forgets an endpoint
//! that nobody names as late as may be, and after a restart progress keeps no distance.

mod clock;
mod deletion;
mod deliveries;
mod endpoints;
mod jobs;
mod lanes;
mod retention;

use std::time::Duration;

use notify_core::delivery::{Attempt, DeadReason, DeliveryState};
use notify_core::endpoint::{Endpoint, EventFilter};
use notify_core::event::{EventRecord, Fingerprint};
use notify_core::{DeliveryId, EndpointUrl, Epoch, EventId, IdempotencyKey, JobId, Timestamp};

pub use deletion::NotDeleted;
pub use deliveries::{End, Stale};
pub use endpoints::{Refusal, Wish};
pub use jobs::{Accepted, Event, NewIds, Refused, Registered, Registration};
pub use retention::{LettersRoom, Trimmed};

use crate::Bounds;

/// For how long a failing delivery may hold up its job's end.
const OVERTAKEN_AFTER: Duration = Duration::from_secs(60);

/// The most lifecycle events of a job; its end comes on top.
const LIFECYCLE_EVENTS_MAX: usize = 1_000;

/// The longest wait that a delivery can have been given.
const WAIT_MAX: Duration = Duration::from_secs(29 * 3_600);

/// Everything that is kept.
#[derive(Debug)]
pub struct Model {
    bounds: Bounds,
    /// In order of their coming.
    jobs: Vec<Job>,
    /// In order of their coming.
    endpoints: Vec<Endpoint>,
    /// When each was last seen to be named.
    seen_named: Vec<(EndpointUrl, Timestamp)>,
    /// Settled or not, in order of their coming.
    deliveries: Vec<Delivery>,
    /// In order of their being given up.
    letters: Vec<Letter>,
    toll: Toll,
    /// What was last given a number.
    numbers: u64,
}

/// A job, with every event that it ever had.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// Its place among all jobs; a later one's is higher.
    pub number: u64,
    /// This incarnation of its log.
    pub epoch: Epoch,
    /// All of them, whether or not the log still keeps them.
    pub events: Vec<EventRecord>,
    /// The SHA-256 of its token.
    pub token: Option<[u8; 32]>,
    /// Whom it tells, and what about.
    pub webhook: Option<(EndpointUrl, EventFilter)>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub updated_at: Timestamp,
    keys: Vec<(IdempotencyKey, Fingerprint, EventId)>,
    /// When progress was last sent, to whom.
    progress_sent: Vec<(EndpointUrl, Timestamp)>,
    /// When it ended, or one of its deliveries settled: the later of the two.
    quiet_since: Timestamp,
}

/// One event for one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The delivery.
    pub id: DeliveryId,
    /// Its place among all deliveries; a later one's is higher.
    pub number: u64,
    /// Its job.
    pub job: JobId,
    /// Its event.
    pub record: EventRecord,
    /// Its endpoint.
    pub url: EndpointUrl,
    /// Where it stands.
    pub state: DeliveryState,
    /// 0, and one more for each redelivery.
    pub generation: u32,
    /// This generation's attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it, or its redelivery, was asked for.
    pub accepted_at: Timestamp,
    /// Not to be attempted before.
    pub due_at: Timestamp,
    first_failed_at: Option<Timestamp>,
    /// How long after the last progress of its lane it is sent at the earliest.
    distance: Duration,
    /// The number of its lease, if someone may be attempting it.
    lease: Option<u64>,
}

/// Which deliveries wait for each other: those of one job to one endpoint; a
/// redelivery for nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    epoch: Epoch,
    url: EndpointUrl,
    redelivery: Option<DeliveryId>,
}

/// A delivery that was given up, as it was then.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its place among all dead letters; a later one's is higher.
    pub number: u64,
    /// The delivery.
    pub delivery: Delivery,
    /// Why it was given up.
    pub reason: DeadReason,
    /// When.
    pub died_at: Timestamp,
}

/// A delivery that someone may attempt now, and the number of its lease.
#[derive(Clone, Debug)]
pub struct Leased {
    /// The delivery.
    pub delivery: Delivery,
    /// Given to no other lease, ever.
    pub lease: u64,
}

/// What became of deliveries besides what was asked.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// How many progress deliveries gave way to a newer event.
    pub superseded: u64,
    /// Why each of those that died did.
    pub died: Vec<DeadReason>,
}

impl Model {
    /// Nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            jobs: Vec::new(),
            endpoints: Vec::new(),
            seen_named: Vec::new(),
            deliveries: Vec::new(),
            letters: Vec::new(),
            toll: Toll::default(),
            numbers: 0,
        }
    }

    /// Jobs, oldest first.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Endpoints, oldest first.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Deliveries, oldest first.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Dead letters, oldest first.
    pub fn letters(&self) -> &[Letter] {
        &self.letters
    }

    /// How many deliveries are not settled.
    pub fn pending(&self) -> usize {
        let pending = self.deliveries.iter();
        pending.filter(|delivery| delivery.is_pending()).count()
    }

    /// What has become of deliveries since this was last asked.
    pub fn take_toll(&mut self) -> Toll {
        std::mem::take(&mut self.toll)
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The job as it is now: a delivery may outlive its job, and another one begin
    /// under the same id.
    fn job_mut(&mut self, epoch: Epoch) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.epoch == epoch)
    }

    fn delivery(&self, id: DeliveryId) -> Option<&Delivery> {
        self.deliveries.iter().find(|delivery| delivery.id == id)
    }

    fn delivery_mut(&mut self, id: DeliveryId) -> Option<&mut Delivery> {
        let mut deliveries = self.deliveries.iter_mut();
        deliveries.find(|delivery| delivery.id == id)
    }
}

impl Delivery {
    /// The lane that it is in.
    pub fn lane(&self) -> Lane {
        Lane {
            epoch: self.record.id().epoch(),
            url: self.url.clone(),
            redelivery: self.is_redelivery().then_some(self.id),
        }
    }

    /// Whether it was given up before.
    pub fn is_redelivery(&self) -> bool {
        self.generation > 0
    }

    /// How many attempts of this generation have failed.
    pub fn attempts_failed(&self) -> usize {
        let attempts = self.attempts.iter();
        attempts.filter(|attempt| has_failed(attempt)).count()
    }

    fn is_pending(&self) -> bool {
        self.state == DeliveryState::Pending
    }
}

/// 2xx is a success, and so is an attempt of which nothing else is known.
fn has_failed(attempt: &Attempt) -> bool {
    let refused = |status| !(200..300).contains(&status);
    attempt.error.is_some() || attempt.status.is_some_and(refused)
}
