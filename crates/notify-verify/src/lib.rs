//! What a customer puts in a receiver: is this webhook from the service, is it
//! fresh, has it been handled, and what does it say?
//!
//! Every signature is judged by [`notify_core::signing::check`], the same code
//! that the sender's own tests run. This crate adds what a receiver needs
//! around it: headers from any framework, the parsed [`Notification`], errors
//! that say how to answer, and a guard against handling one event twice. It
//! opens no connection, starts no task and keeps nothing between two calls,
//! except for what a [`MemoryReplayGuard`] is asked to remember; the one clock
//! it reads can be replaced ([`Verifier::clock`]).
//!
//! - [`Verifier`]: the secrets and the rules; the type to start with;
//! - [`Headers`]: where the headers come from, for a framework not listed here;
//! - [`Notification`]: what the webhook says;
//! - [`VerifyError`]: which check failed, and how to answer;
//! - [`ReplayGuard`]: handle an event once, though it may arrive more often;
//! - `Verified`, `VerifiedAs` (feature `axum`): all of it as an extractor.
//!
//! # Examples
//!
//! A whole receiver, whatever the framework:
//!
//! ```
//! use notify_verify::Verifier;
//!
//! fn receive(verifier: &Verifier, headers: &[(String, String)], body: &[u8]) -> u16 {
//!     match verifier.verify(headers, body) {
//!         Ok(webhook) => {
//!             println!("{} is {}", webhook.job_id, webhook.event.status);
//!             200
//!         }
//!         Err(refused) => refused.status(),
//!     }
//! }
//!
//! let verifier = Verifier::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
//! assert_eq!(receive(&verifier, &[], b"{}"), 401);
//! # Ok::<(), notify_verify::SecretsInvalid>(())
//! ```
//!
//! To test a receiver, sign messages of your own with
//! [`notify_core::signing::sign`].
//!
//! # Features
//!
//! None is on by default. `http` reads headers from `http::HeaderMap`; `axum`
//! adds the extractor.

#![forbid(unsafe_code)]

mod error;
#[cfg(feature = "axum")]
mod extract;
mod headers;
mod notification;
mod replay;
mod verifier;

pub use error::{PayloadMalformed, VerifyError};
#[cfg(feature = "axum")]
pub use extract::{Verified, VerifiedAs};
pub use headers::Headers;
pub use notification::Notification;
pub use replay::{Claim, MemoryReplayGuard, ReplayGuard, Seen};
pub use verifier::{BODY_BYTES_MAX_DEFAULT, Proof, SecretsInvalid, Verifier};

// What appears in the types above, so that a receiver needs this crate alone.
pub use notify_core::json::{Flaw, Json};
pub use notify_core::signing::{Forged, Scheme, SecretInvalid, TOLERANCE_DEFAULT};
pub use notify_core::{EventContent, EventId, JobId, JobStatus, Secret, Timestamp};

#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
