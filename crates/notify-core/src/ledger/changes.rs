//! What is to be put and deleted, by table.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rows::{Changed, DeliveryRow, EndpointRow, JobRow};
use crate::delivery::{
    Attempt, DeadReason, Delivery, DeliveryState, LaneKey, Lease, Leased, Undelivered,
};
use crate::endpoint::Endpoint;
use crate::event::{EventRecord, Fingerprint};
use crate::id::IdempotencyKey;
use crate::time::Timestamp;

/// What a batch changes. Applied in the order of the fields, so that what is named
/// is there; each row stands here once.
#[derive(Debug, Default)]
pub struct Changes {
    /// Jobs that are forgotten with all that they have but dead letters and what is
    /// pending, which stand below. Another one may begin under the same id.
    pub jobs_gone: Vec<JobRow>,
    /// Endpoints that are forgotten. Another one may come to the same URL.
    pub endpoints_gone: Vec<EndpointRow>,
    /// Endpoints that are new or not as they were.
    pub endpoints: Vec<Changed<EndpointRow>>,
    /// Jobs that are new or not as they were.
    pub jobs: Vec<Changed<JobRow>>,
    /// The sequences of the progress events that logs keep now, by the job's
    /// number, where they were asked for.
    pub progress: Vec<(u64, VecDeque<u64>)>,
    /// Events that are accepted and kept.
    pub events: Vec<NewEvent>,
    /// Progress events that leave their log: the job's number and the sequence.
    pub outdated: Vec<(u64, u64)>,
    /// Idempotency keys.
    pub keys: Vec<NewKey>,
    /// Dead letters that leave, by number.
    pub letters_gone: Vec<u64>,
    /// Deliveries that are new, or not as they were, or settled.
    pub deliveries: Vec<DeliveryChange>,
    /// Dead letters of what never was a delivery.
    pub letters: Vec<NewLetter>,
    /// Lanes that do not stand as they did.
    pub lanes: Vec<LaneChange>,
    /// Jobs, by number, that lose their oldest settled delivery; once for each.
    pub unlisted: Vec<u64>,
    /// What the caller may now attempt, in this order.
    pub grants: Vec<Grant>,
}

/// An event for a job's log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The job's number.
    pub job: u64,
    /// The event.
    pub record: EventRecord,
    /// How many lifecycle events the job has had, up to it.
    pub lifecycle_events: u32,
}

/// An idempotency key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The job's number.
    pub job: u64,
    /// The key.
    pub key: IdempotencyKey,
    /// What it stands for.
    pub fingerprint: Fingerprint,
    /// The event that it made.
    pub sequence: u64,
}

/// A delivery that is new, or not as it was, or settled.
#[derive(Clone, Debug)]
pub struct DeliveryChange {
    /// Its lane.
    pub lane: LaneKey,
    /// As it was, if it was.
    pub before: Option<DeliveryRow>,
    /// As it is, or was when it was settled.
    pub row: DeliveryRow,
    /// What a new one is to deliver.
    pub record: Option<EventRecord>,
    /// Attempts that were made since.
    pub attempts: Vec<Attempt>,
    /// How it was settled, if it was.
    pub end: Option<End>,
}

/// How a delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The receiver has it.
    Delivered,
    /// A newer event took its place.
    Superseded,
    /// It becomes the dead letter with this number.
    Dead {
        /// The dead letter's number.
        letter: u64,
        /// Why.
        reason: DeadReason,
    },
    /// It is forgotten, with its job or its endpoint: it leaves its job's list too.
    Forgotten,
}

impl End {
    /// Where it leaves the delivery, if anywhere.
    pub const fn state(self) -> Option<DeliveryState> {
        match self {
            Self::Delivered => Some(DeliveryState::Delivered),
            Self::Superseded => Some(DeliveryState::Superseded),
            Self::Dead { .. } => Some(DeliveryState::Dead),
            Self::Forgotten => None,
        }
    }
}

/// A dead letter of what never was a delivery.
#[derive(Clone, Debug)]
pub struct NewLetter {
    /// Its number.
    pub number: u64,
    /// What it was to deliver.
    pub of: Undelivered,
    /// Why it isn't.
    pub reason: DeadReason,
}

/// How a lane stands now.
#[derive(Clone, Debug)]
pub struct LaneChange {
    /// The lane.
    pub key: LaneKey,
    /// When its head may be attempted; `None` if it is leased or there is none.
    pub stands: Option<Timestamp>,
    /// When a progress of it was last sent, as far as it is known.
    pub progress_sent_at: Option<Timestamp>,
}

/// A delivery that the caller may attempt.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its lane.
    pub lane: LaneKey,
    /// Its row.
    pub row: DeliveryRow,
    /// Its endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its event, if it is of this batch; a store has to fetch any other.
    pub record: Option<EventRecord>,
}

impl Grant {
    /// The lease, once the event has been fetched.
    pub fn leased(self, record: EventRecord) -> Leased {
        let lease = self.row.lease.unwrap_or(Lease::new(0));
        let delivery = Delivery {
            id: self.row.id,
            lane: self.lane,
            generation: self.row.generation,
            record,
            endpoint: self.endpoint,
            accepted_at: self.row.accepted_at,
            due_at: self.row.due_at,
            attempts_made: self.row.attempts_made,
        };
        Leased::new(delivery, lease)
    }
}
