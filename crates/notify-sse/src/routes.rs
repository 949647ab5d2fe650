//! The route: from a request to a body.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::routing::get;
use notify_hub::{JobNotifier, StartFrom, Subscription};

use crate::body::StreamBody;
use crate::config::StreamConfig;
use crate::credentials;
use crate::cursor;
use crate::jitter::Jitter;
use crate::refusal::Refusal;

/// What every request needs.
#[derive(Clone)]
struct Streams {
    hub: Arc<JobNotifier>,
    config: Arc<StreamConfig>,
}

pub(crate) fn router(hub: Arc<JobNotifier>, config: StreamConfig) -> Router {
    let config = Arc::new(config);
    Router::new()
        .route("/v1/jobs/{job_id}/events", get(follow))
        .with_state(Streams { hub, config })
}

/// `GET /v1/jobs/{job_id}/events`.
async fn follow(
    State(streams): State<Streams>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let shown = credentials::bearer(&headers).ok_or(Refusal::CredentialsMissing)?;
    let params = params.map_err(|_| Refusal::Forbidden)?;
    let job = job_id(&params).ok_or(Refusal::Forbidden)?;
    let from = cursor::start_from(&headers, query.as_deref());
    let subscription = streams.subscribe(job, shown, from).await?;
    // Only a valid cursor begins there, and only the terminal event's. An
    // EventSource comes back whenever a body ends; nothing else stops it.
    if subscription.is_at_end() {
        return Ok(nothing_more());
    }
    let jitter = Jitter::from_system();
    let body = StreamBody::new(subscription, streams.config.heartbeat_interval, jitter);
    Ok(event_stream(body))
}

impl Streams {
    async fn subscribe(
        &self,
        job: &str,
        shown: &str,
        from: StartFrom,
    ) -> Result<Subscription, Refusal> {
        // Asked first, since a hub that takes no calls knows no token either, and
        // a reader who is told that his token is wrong does not come back.
        if !self.hub.is_ready() {
            return Err(Refusal::NOT_READY);
        }
        if self.config.api_key.is_some_and(|key| key.is_of(shown)) {
            return Ok(self.hub.subscribe_from(job, from).await?);
        }
        let subscription = self.hub.subscribe_authorized(job, shown, from).await?;
        subscription.ok_or(Refusal::Forbidden)
    }
}

/// The job id, by its name: an app may nest the route below parameters of its
/// own.
fn job_id(params: &RawPathParams) -> Option<&str> {
    let mut params = params.iter();
    params.find_map(|(name, value)| (name == "job_id").then_some(value))
}

fn event_stream(body: StreamBody) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    response.headers_mut().extend([
        header(CONTENT_TYPE, "text/event-stream"),
        // No cache may keep it, and no proxy compress it, which would buffer it.
        header(CACHE_CONTROL, "no-store, no-transform"),
        header(HeaderName::from_static("x-accel-buffering"), "no"),
    ]);
    response
}

fn nothing_more() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .extend([header(CACHE_CONTROL, "no-store")]);
    response
}

fn header(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}
