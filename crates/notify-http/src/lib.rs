//! Sends signed webhooks over HTTP.
//!
//! [`HttpTransport`] implements [`notify_core::Transport`]: one request goes
//! out, one answer comes back, within one deadline. The receiver is a stranger
//! and may be slow, broken or hostile, so everything that it could use up is
//! bounded: time, bytes of the answer, headers, connections and name lookups.
//!
//! What it never does:
//!
//! - it connects to no address that its [policy](egress) does not allow, which by
//!   default is public ones alone;
//! - it follows no redirect, asks no proxy of the environment, decompresses
//!   nothing and keeps no cookie;
//! - it knows no job, no retry and no store. What an answer *means* is decided
//!   by [`notify_core::retry::classify`];
//! - it shows no URL, address or header in an error;
//! - it installs no process-wide TLS provider and relies on none.
//!
//! The one thing that it sends again by itself is a request that the receiver
//! has provably not looked at: one that lost its pooled connection before a
//! byte was written, or that HTTP/2 gave back as unprocessed
//! ([RFC 9113 §8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)). That
//! still is one attempt, under the one deadline.
//!
//! # On the wire
//!
//! `POST` over HTTP/1.1, or over HTTP/2 where TLS agrees on it (ALPN). To the
//! request's own headers it adds `host`, `content-length`, `user-agent`,
//! `accept: */*` and `accept-encoding: identity`. The body has a length and is
//! never chunked.
//!
//! # Examples
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use notify_core::{Transport, WebhookRequest};
//! use notify_http::{HttpConfig, HttpTransport};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = HttpTransport::new(HttpConfig::default())?;
//! let answer = transport
//!     .send(WebhookRequest {
//!         url: transport.vet("https://customer.example/hooks")?,
//!         headers: vec![("content-type", "application/json".to_owned())],
//!         body: r#"{"type":"job.completed"}"#.into(),
//!         timeout: Duration::from_secs(10),
//!     })
//!     .await?;
//! println!("answered {}", answer.status);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! - [`config`](HttpConfig): what can be set, and what is wrong with it;
//! - [`egress`]: where a webhook may go, and the one spelling of its URL;
//! - [`transport`](HttpTransport): the request's way out;
//! - `target`: what a URL comes to on the wire;
//! - `connections`: which idle connections are kept;
//! - `connect`: how one is made;
//! - `connection`: how a request goes over one;
//! - `metered`: how much a receiver may say;
//! - `tasks`: what runs on its own, and ends with the transport;
//! - `answer`: what is read of what comes back;
//! - `retry_after`: the one header that is understood;
//! - `no_answer`: why nothing came back;
//! - `tls`: whom we trust;
//! - `resolve`: names to addresses that may be connected to.

mod answer;
mod config;
mod connect;
mod connection;
mod connections;
pub mod egress;
mod metered;
mod no_answer;
mod resolve;
mod retry_after;
mod target;
mod tasks;
mod tls;
mod transport;

pub use config::{HttpConfig, HttpConfigInvalid};
pub use transport::HttpTransport;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
