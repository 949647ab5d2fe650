//! What is read of what comes back.
//!
//! The status decides, and it is known as soon as the headers are there. The
//! body is only looked at for the operator's sake, so nothing that happens to it
//! takes the answer back: a body that stalls until the deadline, or breaks off,
//! leaves an answer with the beginning of a body. Otherwise a receiver that says
//! 200 and then drips would be sent the same event again and again.

use std::time::Duration;

use http::header::RETRY_AFTER;
use notify_core::transport::RetryAfter;
use notify_core::{TransportError, WebhookResponse};
use reqwest::Response;

use crate::retry_after;

/// The most headers an answer may have. Over HTTP/1.1 the parser refuses more;
/// over HTTP/2 it only limits their total size, so they are counted here.
const HEADERS_MAX: usize = 100;

/// Reads the answer whose head has come, for `remaining` at most.
///
/// What is left of the body is dropped: over HTTP/1.1 with its connection, over
/// HTTP/2 with its stream.
pub(crate) async fn read(
    mut response: Response,
    remaining: Duration,
) -> Result<WebhookResponse, TransportError> {
    if response.headers().len() > HEADERS_MAX {
        return Err(TransportError::Http);
    }
    let status = response.status().as_u16();
    let retry_after = retry_after_of(&response);
    let mut body = Vec::new();
    // Whether the body ended, broke or ran out of time makes no difference.
    let _ = tokio::time::timeout(remaining, read_body(&mut response, &mut body)).await;
    Ok(WebhookResponse {
        status,
        retry_after,
        body: body.into(),
    })
}

/// Copies the beginning of the body, so that what is kept of it does not keep
/// the connection's read buffer alive.
async fn read_body(response: &mut Response, body: &mut Vec<u8>) {
    while body.len() < WebhookResponse::BODY_BYTES_MAX {
        let Ok(Some(chunk)) = response.chunk().await else {
            return;
        };
        let room = WebhookResponse::BODY_BYTES_MAX - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
    }
}

fn retry_after_of(response: &Response) -> Option<RetryAfter> {
    let value = response.headers().get(RETRY_AFTER)?;
    retry_after::parse(value.to_str().ok()?)
}
