//! Streams: as many as there is room for, and not one more.
//!
//! A stream holds its connection for an hour, so streams have a bound of their
//! own below that of connections: they never keep out the operator's calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use notify_sse::ErrorAnswer;
use tokio::sync::Semaphore;

use crate::connections::{Seat, holding};

/// Those who find no room come back after 5 to 14 s, not all at once.
const COME_BACK_AFTER_SECS: u64 = 5;
const SPREAD_SECS: u64 = 10;

/// A page's request has this header, and everybody else's has not.
const SENT_BY_BROWSERS: &str = "sec-fetch-mode";

struct Room {
    streams: Arc<Semaphore>,
    refused: AtomicU64,
}

/// `routes`, whose every 200 is a stream, with at most so many of them open.
pub(super) fn bounded(routes: Router, streams_max: usize) -> Router {
    let room = Arc::new(Room {
        streams: Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS))),
        refused: AtomicU64::new(0),
    });
    routes.layer(from_fn_with_state(room, follow))
}

async fn follow(State(room): State<Arc<Room>>, request: Request, next: Next) -> Response {
    let is_page = request.headers().contains_key(SENT_BY_BROWSERS);
    let seat = request.extensions().get::<Seat>().cloned();
    let response = next.run(request).await;
    // Whoever gets a stream, or is told that it is over, has shown a token.
    if response.status().is_success()
        && let Some(seat) = seat
    {
        seat.is_now_known();
    }
    if response.status() != StatusCode::OK {
        return response;
    }
    match Arc::clone(&room.streams).try_acquire_owned() {
        Ok(place) => response.map(|body| holding(body, place)),
        Err(_) => room.refuse(is_page),
    }
}

impl Room {
    fn refuse(&self, is_page: bool) -> Response {
        let refused = self.refused.fetch_add(1, Ordering::Relaxed);
        if refused.is_power_of_two() {
            tracing::warn!(refused, "there is no room for more streams");
        }
        let secs = COME_BACK_AFTER_SECS + refused % SPREAD_SECS;
        match is_page {
            true => busy(secs),
            false => overloaded(secs),
        }
    }
}

/// An `EventSource` gives up for good on any status but 200.
fn busy(secs: u64) -> Response {
    let block = format!(
        "retry: {}\nevent: notify.busy\ndata: {{}}\n\n",
        secs * 1_000
    );
    let mut response = Response::new(Body::from(block));
    response.headers_mut().extend([
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (
            CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
    ]);
    response
}

fn overloaded(secs: u64) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let message = "there are too many streams; try again later";
    ErrorAnswer::new(status, "overloaded", message)
        .retry_after(Duration::from_secs(secs))
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(routes: &Router, header: &'static str) -> Response {
        let request = http::Request::get("/").header(header, "cors");
        let request = request.body(Body::empty()).unwrap();
        routes.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_stream_beyond_the_bound_is_told_when_to_come_back() {
        let routes = bounded(Router::new().route("/", get(|| async { "stream" })), 1);
        let first = ask(&routes, "x-none").await;
        assert_eq!(first.status(), StatusCode::OK);
        let second = ask(&routes, "x-none").await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(second.headers()[RETRY_AFTER], "5");
        drop(first);
        assert_eq!(ask(&routes, "x-none").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_page_is_told_in_a_way_that_it_does_not_give_up_on() {
        let routes = bounded(Router::new().route("/", get(|| async { "stream" })), 0);
        let busy = ask(&routes, SENT_BY_BROWSERS).await;
        assert_eq!(busy.status(), StatusCode::OK);
        assert_eq!(busy.headers()[CONTENT_TYPE], "text/event-stream");
        let block = busy.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&block[..], b"retry: 5000\nevent: notify.busy\ndata: {}\n\n");
    }

    #[tokio::test]
    async fn what_is_no_stream_takes_no_room() {
        let nothing = || async { StatusCode::FORBIDDEN };
        let routes = bounded(Router::new().route("/", get(nothing)), 0);
        let refused = ask(&routes, "x-none").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    }
}
