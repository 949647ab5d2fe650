//! A transport that sends nothing: for tests of whoever uses the port.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Transport, TransportError, WebhookRequest, WebhookResponse};

/// Remembers what was sent and answers as it is told to.
///
/// ```
/// use notify_core::transport::RecordingTransport;
/// use notify_core::WebhookResponse;
///
/// // Fails every first attempt of an event, delivers the second.
/// let transport = RecordingTransport::answering(|earlier, request| {
///     let tried = earlier.iter().any(|seen| seen.body == request.body);
///     Ok(WebhookResponse { status: if tried { 204 } else { 500 }, ..Default::default() })
/// });
/// assert!(transport.requests().is_empty());
/// ```
pub struct RecordingTransport {
    requests: Mutex<Vec<WebhookRequest>>,
    answer: Box<Answer>,
}

/// Answers a request, given those that came before it.
type Answer = dyn Fn(&[WebhookRequest], &WebhookRequest) -> Result<WebhookResponse, TransportError>
    + Send
    + Sync;

impl RecordingTransport {
    /// Answers 204 to everything.
    pub fn new() -> Self {
        Self::answering(|_, _| {
            Ok(WebhookResponse {
                status: 204,
                ..Default::default()
            })
        })
    }

    /// Answers with `answer`, which is given the earlier requests too.
    pub fn answering(
        answer: impl Fn(&[WebhookRequest], &WebhookRequest) -> Result<WebhookResponse, TransportError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            requests: Mutex::default(),
            answer: Box::new(answer),
        }
    }

    /// Every request so far, in the order they were sent.
    pub fn requests(&self) -> Vec<WebhookRequest> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WebhookRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RecordingTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecordingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingTransport")
            .field("sent", &self.lock().len())
            .finish()
    }
}

impl Transport for RecordingTransport {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let mut requests = self.lock();
        let outcome = (self.answer)(&requests, &request);
        requests.push(request);
        outcome
    }
}
