//! What a store is asked for, and what it shows.

use crate::delivery::{DeadLetter, DeadReason};
use crate::endpoint::{EndpointUrl, EventFilter};
use crate::event::EventRecord;
use crate::id::{DeliveryId, EndpointId, EventId, JobId};
use crate::job::JobHead;
use crate::time::Timestamp;

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

/// Which dead letters are meant: those that are all that is named here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// This one.
    pub delivery: Option<DeliveryId>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of this event.
    pub event: Option<EventId>,
    /// For this reason.
    pub reason: Option<DeadReason>,
    /// Given up at or after.
    pub since: Option<Timestamp>,
    /// Given up before.
    pub until: Option<Timestamp>,
}

impl DeadFilter {
    /// Whether it names nothing, and so means every dead letter.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it means `letter`.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.delivery.is_none_or(|delivery| delivery == letter.id)
            && self.job.as_ref().is_none_or(|job| *job == letter.job_id)
            && self
                .endpoint
                .is_none_or(|endpoint| Some(endpoint) == letter.endpoint_id)
            && self.event.is_none_or(|event| event == letter.event_id)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.since.is_none_or(|since| since <= letter.died_at)
            && self.until.is_none_or(|until| letter.died_at < until)
    }
}

/// What a step of trimming came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Jobs and dead letters that it forgot.
    pub forgotten: u64,
    /// Of these, dead letters that had not had their time, but
    /// [had to make room](crate::retention::Holders::next_to_leave).
    pub crowded_out: u64,
    /// Deliveries that it gave up, since they were due at sick endpoints for too long.
    pub expired: u64,
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
