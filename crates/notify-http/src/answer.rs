//! What is read of what comes back.
//!
//! The status decides, and it is known as soon as the headers are there. The
//! body is only looked at for the operator's sake, so nothing that happens to it
//! takes the answer back: a body that stalls until the deadline, or breaks off,
//! leaves an answer with the beginning of a body. Otherwise a receiver that says
//! 200 and then drips would be sent the same event again and again.

use http::Response;
use http::header::RETRY_AFTER;
use hyper::body::{Body as _, Incoming};
use notify_core::transport::RetryAfter;
use notify_core::{TransportError, WebhookResponse};

use crate::connection::Connection;
use crate::retry_after;

/// The most headers an answer may have. Over HTTP/1.1 the parser refuses more;
/// over HTTP/2 it only limits their total size, so they are counted here.
const HEADERS_MAX: usize = 100;

/// An answer, as far as it has come.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    retry_after: Option<RetryAfter>,
    body: Vec<u8>,
}

impl Answer {
    /// One whose head has come.
    ///
    /// # Errors
    /// It has too many headers.
    pub(crate) fn begin(response: &Response<Incoming>) -> Result<Self, TransportError> {
        if response.headers().len() > HEADERS_MAX {
            return Err(TransportError::Http);
        }
        Ok(Self {
            status: response.status().as_u16(),
            retry_after: retry_after_of(response),
            body: Vec::new(),
        })
    }

    /// Copies the beginning of the body, so that what is kept of it does not keep
    /// the connection's read buffer alive. Says whether there is no more of it.
    pub(crate) async fn read_body(
        &mut self,
        connection: &mut Connection,
        mut body: Incoming,
    ) -> bool {
        while !body.is_end_stream() && self.body.len() < WebhookResponse::BODY_BYTES_MAX {
            let frame = match connection.frame(&mut body).await {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return false,
                None => return true,
            };
            // What is no data is a trailer.
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            let room = WebhookResponse::BODY_BYTES_MAX - self.body.len();
            self.body
                .extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        body.is_end_stream()
    }
}

impl From<Answer> for WebhookResponse {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status,
            retry_after: answer.retry_after,
            body: answer.body.into(),
        }
    }
}

fn retry_after_of(response: &Response<Incoming>) -> Option<RetryAfter> {
    let value = response.headers().get(RETRY_AFTER)?;
    retry_after::parse(value.to_str().ok()?)
}
