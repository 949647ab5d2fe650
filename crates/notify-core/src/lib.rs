//! The domain of job notification, as pure code.
//!
//! One event log per job feeds three doors: signed webhooks, resumable streams
//! and polling. This crate holds every rule of that domain and performs none of
//! it: it does no I/O, owns no thread or task, reads no clock and draws no
//! random number. `now` and a seed come in as arguments, so every rule can be
//! tested against a naive model and every failure replayed.
//!
//! The rooms, in reading order:
//!
//! - [`id`], [`time`]: the nouns' names, and points in time as data;
//! - [`json`]: what comes from outside, as text and without trust;
//! - [`hex`], [`map`]: bytes as text, in one spelling; tables that are quick;
//! - [`job`]: the statuses and the one transition function;
//! - [`event`]: one fact about a job, checked once, encoded once;
//! - [`log`]: a job's events as its readers see them, with cursors;
//! - [`signing`]: both schemes, for the sender and for the customer;
//! - [`endpoint`]: receivers, their URLs and filters;
//! - [`retry`]: when to try again, and what an answer means;
//! - [`delivery`]: one event for one endpoint, its attempts and its end;
//! - [`lane`]: the order of one job's deliveries to one endpoint;
//! - [`ledger`]: every rule about what is kept;
//! - [`schedule`]: what to send next, fairly;
//! - [`commit`]: what to write, and when;
//! - [`clock`]: what becomes of kept times when the clock is set;
//! - [`webhook`]: what one attempt sends;
//! - [`transport`], [`store`]: the two ports.
//!
//! # Examples
//!
//! ```
//! use notify_core::job::{EventKind, JobHead};
//! use notify_core::{Epoch, EventLimits, JobEvent};
//!
//! // `now` and randomness are the caller's.
//! let head = JobHead::new(Epoch::from_random(0x5eed));
//! let draft = JobEvent::processing(42).draft(1_712_534_400, EventLimits::default())?;
//! let accepted = head.accept(draft.status).expect("the job has not ended");
//! assert_eq!(accepted.id.sequence(), 1);
//! assert_eq!(accepted.kind, EventKind::Lifecycle);
//! # Ok::<(), notify_core::event::EventInvalid>(())
//! ```

pub mod breaker;
pub mod clock;
pub mod commit;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod hex;
pub mod id;
pub mod job;
pub mod json;
pub mod lane;
pub mod ledger;
pub mod log;
pub mod map;
pub mod retention;
pub mod retry;
pub mod schedule;
pub mod signing;
pub mod store;
pub mod time;
pub mod transport;
pub mod webhook;

pub use delivery::{Attempt, DeadLetter, DeadReason};
pub use endpoint::EndpointUrl;
pub use event::{EventContent, EventLimits, EventRecord, JobEvent};
pub use id::{DeliveryId, EndpointId, Epoch, EventId, IdempotencyKey, JobId};
pub use job::JobStatus;
pub use retention::Retention;
pub use retry::RetryPolicy;
pub use signing::{Keyring, Secret};
pub use store::{Archive, Store};
pub use time::{Span, Timestamp};
pub use transport::{Transport, TransportError, WebhookRequest, WebhookResponse};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
