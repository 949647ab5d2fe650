//! What is left of a request's body once the request is answered.
//!
//! Many senders write all of a body before they read anything. One that is
//! refused half way would wait, or be cut off and never see why. So what is left
//! of a body of legal size is taken and dropped first, and then the answer goes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::EXPECT;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};

/// The most that is taken of it, in bytes: the largest body of any call.
const BYTES_MAX: usize = 1024 * 1024;

/// How long it is waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A body, or what is left of it, that two can read.
#[derive(Clone)]
struct Shared(Arc<Mutex<Incoming>>);

/// What a request leaves of its body.
pub(super) struct Unread {
    /// `None` where there was nothing to read.
    body: Option<Shared>,
    /// Whether its sender waits to be asked for it.
    is_asked_for: bool,
}

impl Unread {
    /// The request, and what will be left of its body.
    pub(super) fn of(request: Request<Incoming>) -> (Request<Body>, Self) {
        let is_asked_for = request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        if body.is_end_stream() {
            let request = Request::from_parts(head, Body::empty());
            return (
                request,
                Self {
                    body: None,
                    is_asked_for,
                },
            );
        }
        let body = Shared(Arc::new(Mutex::new(body)));
        let unread = Self {
            body: Some(body.clone()),
            is_asked_for,
        };
        (Request::from_parts(head, Body::new(body)), unread)
    }

    /// Takes it and drops it, before the answer with this status goes. Whether
    /// that was all of it.
    pub(super) async fn take(self, answered: StatusCode) -> bool {
        let Some(body) = self.body.filter(|body| !body.is_end_stream()) else {
            return true;
        };
        // Who waits to be asked need not send it, and who was too slow is not
        // waited for again.
        if self.is_asked_for || answered == StatusCode::REQUEST_TIMEOUT {
            return false;
        }
        let taken = tokio::time::timeout(WAIT_MAX, all_of(body)).await;
        taken.unwrap_or(false)
    }
}

async fn all_of(mut body: Shared) -> bool {
    let mut bytes_taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes_taken += frame.data_ref().map_or(0, Bytes::len);
        if bytes_taken > BYTES_MAX {
            return false;
        }
    }
    true
}

impl Shared {
    fn with<T>(&self, read: impl FnOnce(&mut Incoming) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.with(|body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
