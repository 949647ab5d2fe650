//! Resumable event streams of jobs: axum routes over a [`JobNotifier`].
//!
//! [`router`] serves `GET /v1/jobs/{job_id}/events` as `text/event-stream`: to
//! whoever shows the job's token, what was and then what comes, until the job's
//! terminal event ends the body. It is an ordinary [`Router`], to serve alone or
//! to merge into any axum app; an app with a state of its own merges it after
//! `with_state`.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use axum::{Router, routing::get};
//! use notify_hub::JobNotifier;
//!
//! async fn serve(hub: Arc<JobNotifier>) -> std::io::Result<()> {
//!     let app = Router::new()
//!         .route("/healthz", get(|| async { "ok" }))
//!         .merge(notify_sse::router(hub));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! **Cast.** The hub keeps each job's log and wakes its readers. A connection is
//! a [`Subscription`](notify_hub::Subscription) (a position in the log) inside a
//! response body that reads from it when the connection has room.
//!
//! **Flow.** Credentials, then the cursor that the reader presents, then the
//! subscription, then the body: `:` at once, a gap block if the cursor is no
//! position in the log, the replay, live events, and `:` again whenever it is
//! quiet for long.
//!
//! **Guarantees.** Ids only rise. A lifecycle event after the reader's cursor is
//! sent whatever the reader's pace; only progress that has become outdated is
//! left out. An event's bytes are made once, by the hub, and shared by all of
//! its readers. A reader costs its position, a timer and at most 16 KiB or one
//! event in the making.
//!
//! **Beside it.** An app with routes of its own answers as these do with [`bearer`],
//! [`ApiKeyHash`] and [`ErrorAnswer`]; the program `notify` does.
//!
//! **Never here.** No delivery and no rule about events; no queue per reader; no
//! task of its own: dropping the response ends the subscription. Neither a token
//! nor a URL is logged, put into an answer or shown by a `Debug`.

mod answer;
mod body;
mod config;
mod credentials;
mod cursor;
mod heartbeat;
mod jitter;
mod refusal;
mod routes;

#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use notify_hub::JobNotifier;

pub use answer::{ErrorAnswer, NoDetail};
pub use config::StreamConfig;
pub use credentials::{ApiKeyHash, bearer};

/// The streams of `hub`'s jobs, with the default settings.
pub fn router(hub: Arc<JobNotifier>) -> Router {
    router_with(hub, StreamConfig::default())
}

/// The streams of `hub`'s jobs, with settings of one's own.
///
/// ```
/// use std::sync::Arc;
///
/// use notify_hub::JobNotifier;
/// use notify_sse::{ApiKeyHash, StreamConfig};
///
/// fn streams(hub: Arc<JobNotifier>, api_key: ApiKeyHash) -> axum::Router {
///     let config = StreamConfig {
///         api_key: Some(api_key),
///         ..StreamConfig::default()
///     };
///     notify_sse::router_with(hub, config)
/// }
/// ```
pub fn router_with(hub: Arc<JobNotifier>, config: StreamConfig) -> Router {
    routes::router(hub, config)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
