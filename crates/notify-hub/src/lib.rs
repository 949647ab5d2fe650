//! The job-notification engine: one event log per job, behind webhooks and
//! streams.
//!
//! [`JobNotifier`] is all that a service holds. It drives the pure rules of
//! `notify-core`: it owns the tasks, reads the clock, draws the random numbers,
//! and speaks to a transport and a store. It never talks HTTP itself and knows
//! no SQL; those are ports.
//!
//! # Examples
//!
//! ```no_run
//! use notify_hub::{JobEvent, JobNotifier, NotifierConfig};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let notifier = JobNotifier::new(NotifierConfig {
//!     signing_secret: "operator-hmac-key".into(),
//!     ..Default::default()
//! });
//! let token = notifier.register_job("job-123").await?; // for the customer's stream
//! notifier.notify("job-123", JobEvent::processing(42), None).await?;
//! notifier
//!     .notify(
//!         "job-123",
//!         JobEvent::completed(json!({"video_url": "https://cdn.example.com/out.mp4"})),
//!         Some("https://customer.example.com/hooks/results"),
//!     )
//!     .await?;
//! # let _ = token; Ok(()) }
//! ```
//!
//! # Features
//!
//! - `http` (default): delivery over HTTP, so that [`JobNotifier::new`] just
//!   works. Without it a transport is given to [`JobNotifier::builder`].
//! - `sqlite`: a durable store in a directory, for `JobNotifier::open` (with
//!   `http`) and for [`Builder::store`].

mod clock;
mod config;
mod engine;
mod error;
mod live;
mod memory;
mod metrics;
mod notifier;
mod random;
mod subscription;
mod token;

pub use clock::{Clock, SystemClock};
pub use config::{
    ConfigInvalid, DeliveryConfig, EgressConfig, LimitsConfig, NotifierConfig, SecretText,
    StoreConfig, StreamLimits,
};
pub use engine::TestAnswer;
pub use error::{Failure, NotifyError};
pub use live::EndReason;
pub use memory::{MemoryLimits, MemoryStore};
pub use metrics::{AttemptResult, Distribution, Metrics};
pub use notifier::{Builder, CreatedJob, JobNotifier, JobSpec, WebhookSpec};
pub use notify_core::schedule::EndpointHealth;
pub use notify_core::store::{DeadFilter, JobView, List, Listed};
pub use notify_core::{
    Attempt, DeadLetter, DeadReason, EndpointId, EventId, EventRecord, JobEvent, JobId, JobStatus,
    Span, Timestamp, Transport,
};
#[cfg(feature = "sqlite")]
pub use notify_sqlite::{OpenError, SqliteOptions, SqliteStore};
pub use subscription::{Closed, StartFrom, Subscription};
pub use token::JobToken;

#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../README.md")]
struct Readme;
