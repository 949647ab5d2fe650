//! The port to the network: how one webhook request is sent.
//!
//! A transport sends one request and reports what came back. It knows no job,
//! no retry and no store; what an answer *means* is decided by
//! [`crate::retry::classify`].

mod recording;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::endpoint::{EndpointUrl, UrlInvalid};
use crate::store::BoxFuture;
use crate::time::Timestamp;

pub use recording::RecordingTransport;

/// One request, complete and signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where to `POST` it.
    pub url: EndpointUrl,
    /// All headers that belong to the message, in lower case. A transport adds
    /// only what HTTP itself needs (`host`, `content-length`).
    pub headers: Vec<(&'static str, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The deadline for the whole exchange, from name resolution to the last
    /// byte of the answer that is read.
    pub timeout: Duration,
}

/// What came back: any answer at all, whatever its status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookResponse {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, if it was there and readable.
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the body, at most [`WebhookResponse::BODY_BYTES_MAX`].
    pub body: Bytes,
}

impl WebhookResponse {
    /// The most of an answer's body that is read, in bytes; the rest is dropped
    /// with its connection.
    pub const BODY_BYTES_MAX: usize = 16 * 1024;
}

/// When a receiver wants to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// So long after the answer.
    Delay(Duration),
    /// Not before this time, by the receiver's wall clock.
    At(Timestamp),
}

/// Sends webhook requests.
///
/// Implementations write `async fn send`. The future may be dropped at any time;
/// the exchange is then abandoned.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and waits for the answer.
    ///
    /// # Errors
    /// [`TransportError`] if no complete answer came back.
    fn send(
        &self,
        request: WebhookRequest,
    ) -> impl Future<Output = Result<WebhookResponse, TransportError>> + Send;

    /// Judges a URL as somebody wrote it, as far as that goes without the network,
    /// and gives the canonical one: the one that is requested and that identifies
    /// the receiver. A canonical URL is its own canonical URL.
    ///
    /// By default the raw gate of [`EndpointUrl::parse`], and the text unchanged.
    ///
    /// # Errors
    /// [`VetError`] says what is wrong with it.
    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        Ok(EndpointUrl::parse(text)?)
    }
}

/// [`Transport`] behind a pointer; every transport is one.
pub trait DynTransport: Send + Sync + 'static {
    /// See [`Transport::send`].
    fn send_boxed(
        &self,
        request: WebhookRequest,
    ) -> BoxFuture<'_, Result<WebhookResponse, TransportError>>;

    /// See [`Transport::vet`].
    ///
    /// # Errors
    /// [`VetError`] says what is wrong with it.
    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError>;
}

impl<T: Transport> DynTransport for T {
    fn send_boxed(
        &self,
        request: WebhookRequest,
    ) -> BoxFuture<'_, Result<WebhookResponse, TransportError>> {
        Box::pin(self.send(request))
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        Transport::vet(self, text)
    }
}

impl<T: Transport> Transport for Arc<T> {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        T::send(self, request).await
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        T::vet(self, text)
    }
}

/// Why no answer came back. None of these shows the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The deadline of the whole exchange has passed.
    Timeout,
    /// The host's name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke, or what came was no HTTP.
    Http,
    /// The egress policy does not allow the address.
    Refused(AddressRefused),
    /// The transport itself failed, or this machine: the receiver is not to blame,
    /// and it counts as no attempt.
    Internal(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no complete answer in time"),
            Self::Dns => f.write_str("the host name could not be resolved"),
            Self::Connect => f.write_str("no connection could be made"),
            Self::Tls => f.write_str("the TLS handshake failed"),
            Self::Http => f.write_str("the connection broke or the answer was no HTTP"),
            Self::Refused(refused) => refused.fmt(f),
            Self::Internal(what) => write!(f, "internal: {what}"),
        }
    }
}

impl std::error::Error for TransportError {}

/// The egress policy does not let this address pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRefused {
    /// The rule that it breaks, such as `forbidden ip`. Never the address that a
    /// name resolved to: that would tell a stranger about the network inside.
    pub rule: &'static str,
}

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address not allowed: {}", self.rule)
    }
}

impl std::error::Error for AddressRefused {}

/// Why [`Transport::vet`] lets a URL not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VetError {
    /// The text is no receiver's URL.
    Invalid(UrlInvalid),
    /// It is one, but the egress policy does not let its address pass.
    Refused {
        /// The canonical URL.
        url: EndpointUrl,
        /// The rule that it breaks.
        refused: AddressRefused,
    },
}

impl fmt::Display for VetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid(_) => "no receiver's URL",
            Self::Refused { .. } => "address not allowed",
        })
    }
}

impl std::error::Error for VetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(invalid) => Some(invalid),
            Self::Refused { refused, .. } => Some(refused),
        }
    }
}

impl From<UrlInvalid> for VetError {
    fn from(invalid: UrlInvalid) -> Self {
        Self::Invalid(invalid)
    }
}
