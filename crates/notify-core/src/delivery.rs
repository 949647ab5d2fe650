//! One event for one endpoint: its states, its attempts, its end.
//!
//! A delivery can be worked on only through its [`Leased`] form, and settling
//! consumes that: there is no way to attempt a dead letter, or to settle twice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::endpoint::{Endpoint, EndpointUrl};
use crate::event::EventRecord;
use crate::id::{DeliveryId, EndpointId, EventId, JobId};
use crate::json::Text;
use crate::time::Timestamp;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Not settled: it waits, or an attempt is under way.
    Pending,
    /// The receiver has it.
    Delivered,
    /// Given up; it can be redelivered.
    Dead,
    /// A newer event took its place before it was sent.
    Superseded,
}

impl DeliveryState {
    /// The state on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
        }
    }
}

impl Serialize for DeliveryState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a delivery was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// All attempts have failed.
    Exhausted,
    /// The receiver answered 410.
    Gone,
    /// The egress policy refuses the address.
    AddressRefused,
    /// It waited longer than `max_age` at a sick or disabled endpoint.
    Expired,
    /// The job's terminal event waited behind it for too long.
    Overtaken,
    /// There was no secret to sign with.
    SecretMissing,
    /// Too much waits for its endpoint already.
    BacklogFull,
    /// The text that was given is no URL to send to.
    UrlInvalid,
    /// It could not be attempted for so long, for a reason of our own.
    Internal,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Exhausted,
        Self::Gone,
        Self::AddressRefused,
        Self::Expired,
        Self::Overtaken,
        Self::SecretMissing,
        Self::BacklogFull,
        Self::UrlInvalid,
        Self::Internal,
    ];

    /// The reason on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Gone => "gone",
            Self::AddressRefused => "address_refused",
            Self::Expired => "expired",
            Self::Overtaken => "overtaken",
            Self::SecretMissing => "secret_missing",
            Self::BacklogFull => "backlog_full",
            Self::UrlInvalid => "url_invalid",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for DeadReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Names a lane: the deliveries of one job to one endpoint, in order. A
/// redelivery is a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The job.
    pub job: JobId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The delivery, if the lane is that delivery's redelivery.
    pub redelivery: Option<DeliveryId>,
}

/// An unsettled delivery, with all that is needed to attempt it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The delivery's id; a redelivery keeps it.
    pub id: DeliveryId,
    /// Its lane.
    pub lane: LaneKey,
    /// 0, and one more for each redelivery.
    pub generation: u32,
    /// The event.
    pub record: EventRecord,
    /// The endpoint: its URL, its secrets, whether it is enabled.
    pub endpoint: Arc<Endpoint>,
    /// When the event (or the redelivery) was accepted.
    pub accepted_at: Timestamp,
    /// Not to be attempted before.
    pub due_at: Timestamp,
    /// How many attempts of this generation have failed.
    pub attempts_made: u32,
}

impl Delivery {
    /// What one occupies beyond its event's JSON, roughly, in bytes.
    pub const BYTES_MIN: u64 = 512;

    /// What it occupies in memory, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.record.json_bytes())
    }

    /// What one occupies of whose event there is so much JSON.
    pub fn bytes_of(json_bytes: u32) -> u64 {
        Self::BYTES_MIN + u64::from(json_bytes)
    }
}

/// Proof that its holder may attempt a delivery. Opaque; a store that finds it
/// out of date settles nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(u128);

impl Lease {
    /// A token of the store's own choosing.
    pub const fn new(token: u128) -> Self {
        Self(token)
    }

    /// The token, for the store that made it.
    pub const fn token(self) -> u128 {
        self.0
    }
}

/// A delivery that the holder may attempt now.
#[derive(Debug, PartialEq)]
pub struct Leased {
    delivery: Delivery,
    lease: Lease,
}

impl Leased {
    /// For a store that hands out `delivery`.
    pub fn new(delivery: Delivery, lease: Lease) -> Self {
        Self { delivery, lease }
    }

    /// What is to be delivered.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The endpoint has changed since the delivery was leased.
    pub fn set_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        self.delivery.endpoint = endpoint;
    }

    /// Ends the lease with what became of the delivery.
    pub fn settle(self, outcome: Outcome, attempt: Option<Attempt>) -> Settle {
        Settle {
            delivery: self.delivery.id,
            lane: self.delivery.lane,
            lease: self.lease,
            outcome,
            attempt,
        }
    }
}

/// What a store is to write when a lease ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Settle {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its lane.
    pub lane: LaneKey,
    /// The lease that is given back.
    pub lease: Lease,
    /// What became of the delivery.
    pub outcome: Outcome,
    /// The attempt that decided it; `None` if there was none.
    pub attempt: Option<Attempt>,
}

/// What becomes of a leased delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It was not attempted because a newer event has come into its lane: the
    /// lane rule settles it, and hands its due time on.
    Superseded,
    /// Try again, not before this has passed.
    Retry {
        /// How long it waits from now on.
        after: Duration,
    },
    /// Give it up.
    Dead {
        /// Why.
        reason: DeadReason,
    },
    /// It was not attempted; someone else may.
    Released,
    /// It could not be attempted, for a reason of our own: no attempt counts, and
    /// someone may try again, not before this has passed.
    Postponed {
        /// How long it waits from now on.
        after: Duration,
    },
}

/// One HTTP try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1, 2, 3, … within one generation.
    pub number: u32,
    /// When it began, by the wall clock.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, if no answer came.
    pub error: Option<String>,
    /// The beginning of an answer that was not 2xx.
    pub snippet: Option<String>,
    /// When the next attempt is due, by the clock of `at`; who settles a retry
    /// need not say so.
    pub next_attempt_at: Option<Timestamp>,
}

impl Attempt {
    /// The longest snippet, in bytes.
    pub const SNIPPET_BYTES_MAX: usize = 1_024;

    /// What one occupies beyond its texts, roughly, in bytes.
    pub const BYTES_MIN: u64 = 128;

    /// What it occupies, roughly, in bytes.
    pub fn bytes(&self) -> u64 {
        let texts = [&self.error, &self.snippet].into_iter().flatten();
        Self::BYTES_MIN + texts.map(|text| text.len() as u64).sum::<u64>()
    }

    /// What went wrong, as one line of text; `None` for a success.
    pub fn failure(&self) -> Option<String> {
        match (&self.error, self.status) {
            (Some(error), _) => Some(error.clone()),
            (None, Some(200..=299)) => None,
            (None, Some(status)) => Some(format!("HTTP status {status}")),
            (None, None) => None,
        }
    }

    /// A snippet of an answer's body: text of at most
    /// [`Attempt::SNIPPET_BYTES_MAX`] bytes, control characters escaped.
    pub fn snippet_of(body: &[u8]) -> Option<String> {
        let head = body.get(..Self::SNIPPET_BYTES_MAX).unwrap_or(body);
        let mut snippet = String::new();
        for c in String::from_utf8_lossy(head).chars() {
            let escaped: String = if c.is_control() {
                c.escape_default().collect()
            } else {
                c.into()
            };
            if snippet.len() + escaped.len() > Self::SNIPPET_BYTES_MAX {
                break;
            }
            snippet.push_str(&escaped);
        }
        (!snippet.is_empty()).then_some(snippet)
    }
}

/// A delivery as a reader sees it, settled or not.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    /// The delivery's id.
    pub id: DeliveryId,
    /// Its job.
    pub job_id: JobId,
    /// Its event.
    pub event_id: EventId,
    /// Its endpoint.
    pub endpoint_id: EndpointId,
    /// The endpoint's URL.
    pub url: EndpointUrl,
    /// Where it stands.
    pub state: DeliveryState,
    /// 0, and one more for each redelivery.
    pub generation: u32,
    /// This generation's attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// A delivery that was given up, with its own copy of what it was to deliver.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The delivery.
    pub id: DeliveryId,
    /// Its job.
    pub job_id: JobId,
    /// Its event.
    pub event_id: EventId,
    /// Its endpoint, if it had come to one.
    pub endpoint_id: Option<EndpointId>,
    /// The endpoint's URL, or the text that was given for one.
    pub url: String,
    /// Why it was given up.
    pub reason: DeadReason,
    /// How many attempts were made.
    pub attempts: u32,
    /// What went wrong last, as text; empty if nothing was attempted.
    pub last_error: String,
    /// When it was given up.
    pub died_at: Timestamp,
    /// The webhook's body, as JSON.
    pub payload: Value,
    /// The webhook's body, byte for byte.
    pub body: Bytes,
    /// Every attempt of the last generation, oldest first.
    pub history: Vec<Attempt>,
}

/// What a dead letter owns of what it was to deliver.
#[derive(Clone, Debug, PartialEq)]
pub struct Undelivered {
    /// The delivery.
    pub id: DeliveryId,
    /// Its job.
    pub job: JobId,
    /// The event.
    pub record: EventRecord,
    /// The endpoint, if it had come to one.
    pub endpoint: Option<EndpointId>,
    /// The endpoint's URL, or the text that was given for one.
    pub url: String,
    /// 0, and one more for each redelivery.
    pub generation: u32,
}

impl Undelivered {
    /// What a dead letter keeps of `delivery`.
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id,
            job: delivery.lane.job.clone(),
            record: delivery.record.clone(),
            endpoint: Some(delivery.lane.endpoint),
            url: delivery.endpoint.url.as_str().to_owned(),
            generation: delivery.generation,
        }
    }

    /// What its dead letter occupies with these attempts, roughly, in bytes.
    pub fn bytes(&self, history: &[Attempt]) -> u64 {
        let attempts = history.iter().map(Attempt::bytes);
        let text = self.url.len() as u64;
        Delivery::bytes_of(self.record.json_bytes()) + text + attempts.sum::<u64>()
    }
}

impl DeadLetter {
    /// The dead letter of what was given up at `died_at` after these attempts.
    pub fn new(
        of: &Undelivered,
        reason: DeadReason,
        history: Vec<Attempt>,
        died_at: Timestamp,
    ) -> Self {
        let body = of.record.webhook_body(&of.job);
        Self {
            id: of.id,
            job_id: of.job.clone(),
            event_id: of.record.id(),
            endpoint_id: of.endpoint,
            url: of.url.clone(),
            reason,
            attempts: u32::try_from(history.len()).unwrap_or(u32::MAX),
            last_error: history
                .last()
                .and_then(Attempt::failure)
                .unwrap_or_default(),
            died_at,
            body: body.clone(),
            payload: Text::read(&body)
                .ok()
                .and_then(|text| text.to_value().ok())
                .unwrap_or_default(),
            history,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_short_printable_text() {
        assert_eq!(Attempt::snippet_of(b""), None);
        assert_eq!(
            Attempt::snippet_of(b"a\x1b[2J\n").as_deref(),
            Some("a\\u{1b}[2J\\n")
        );
        let long = Attempt::snippet_of(&[0xff; 5000]).unwrap();
        assert!(long.len() <= Attempt::SNIPPET_BYTES_MAX);
    }

    #[test]
    fn a_failure_is_one_line() {
        let attempt = Attempt {
            number: 1,
            at: Timestamp::EPOCH,
            duration: Duration::ZERO,
            status: Some(500),
            error: None,
            snippet: None,
            next_attempt_at: None,
        };
        assert_eq!(attempt.failure().as_deref(), Some("HTTP status 500"));
        assert_eq!(
            Attempt {
                status: Some(204),
                ..attempt.clone()
            }
            .failure(),
            None
        );
        let broken = Attempt {
            status: None,
            error: Some("x".into()),
            ..attempt
        };
        assert_eq!(broken.failure().as_deref(), Some("x"));
    }
}
