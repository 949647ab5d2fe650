//! The operator API: what a service calls to tell of its jobs.
//!
//! Each call is checked in the same order: the API key, the path, the query, the
//! content type, the size, the body. Whatever a check refuses is answered as
//! `{"error":{"code","message","detail"}}`, where `code` is a closed list: the
//! codes of `NotifyError` and those of [`error`].

mod answer;
mod auth;
mod body;
mod error;
mod jobs;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use notify_core::EventLimits;
use notify_hub::{JobNotifier, NotifyError};
use serde::Serialize;

use error::ApiError;

pub(crate) use auth::ApiKeyHash;

/// What the API is made of.
pub(crate) struct Parts {
    pub(crate) notifier: Arc<JobNotifier>,
    pub(crate) key: ApiKeyHash,
    /// Where customers reach the server, without a slash at its end.
    pub(crate) base_url: String,
    pub(crate) event_limits: EventLimits,
}

/// What every call needs.
type Api = Arc<Parts>;

/// The operator API, with health and readiness.
pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/v1/jobs", post(jobs::create))
        .route("/v1/jobs/{job_id}", get(jobs::show))
        .route("/v1/jobs/{job_id}/events", post(jobs::accept_event))
        .route("/v1/jobs/{job_id}/token", post(jobs::renew_token))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(Arc::new(parts))
}

/// Answers what no route takes, of whichever router `routes` was merged from.
pub(crate) fn with_fallbacks(routes: Router) -> Router {
    routes
        .fallback(|| async { ApiError::NO_ROUTE })
        .method_not_allowed_fallback(|| async { ApiError::NO_METHOD })
        .layer(map_response(guarded))
}

/// `GET /healthz`: the process answers.
async fn alive() -> Response {
    json(StatusCode::OK, &Standing { status: "ok" })
}

/// `GET /readyz`: calls are taken.
async fn ready(State(api): State<Api>) -> Result<Response, ApiError> {
    if !api.notifier.is_ready() {
        return Err(not_ready());
    }
    Ok(json(StatusCode::OK, &Standing { status: "ready" }))
}

#[derive(Serialize)]
struct Standing {
    status: &'static str,
}

fn not_ready() -> ApiError {
    NotifyError::NotReady("calls are not taken now").into()
}

/// An answer in JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => answer::json(status, body),
        // Nothing that is answered has a map with keys that are no text, which
        // is all that JSON can't say.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Answers may hold tokens, so no cache keeps them; and no browser guesses at
/// what they are.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}
