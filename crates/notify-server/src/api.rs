//! The operator API: what a service calls to tell of its jobs.
//!
//! Each call is checked in the same order: the API key, the path, the query, the
//! content type, the size, the room for bodies, the body. Whatever a check refuses is answered as
//! `{"error":{"code","message","detail"}}`, where `code` is a closed list: the
//! codes of `NotifyError` and those of [`error`].

mod answer;
mod auth;
mod body;
mod dead_letters;
mod deliveries;
mod endpoints;
mod error;
mod jobs;
mod object;
mod parts;
mod query;
mod spec;
#[cfg(test)]
mod tests;
mod time;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;

use answer::json;
use error::ApiError;
use parts::Api;

pub(crate) use body::Bodies;
pub(crate) use parts::Parts;

/// The operator API, with health and readiness.
pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/v1/jobs", post(jobs::create).get(jobs::show_all))
        .route("/v1/jobs/{job_id}", get(jobs::show).delete(jobs::delete))
        .route("/v1/jobs/{job_id}/events", post(jobs::accept_event))
        .route("/v1/jobs/{job_id}/token", post(jobs::renew_token))
        .route("/v1/jobs/{job_id}/deliveries", get(deliveries::of_job))
        .route("/v1/deliveries/{id}", get(deliveries::show))
        .route(
            "/v1/dead-letters",
            get(dead_letters::show_all).delete(dead_letters::drop_all),
        )
        .route("/v1/dead-letters/redeliver", post(dead_letters::redeliver))
        .route(
            "/v1/dead-letters/{id}",
            get(dead_letters::show).delete(dead_letters::drop_one),
        )
        .route(
            "/v1/dead-letters/{id}/redeliver",
            post(dead_letters::redeliver_one),
        )
        .route("/v1/endpoints", get(endpoints::show_all))
        .route(
            "/v1/endpoints/{id}",
            get(endpoints::show).delete(endpoints::delete),
        )
        .route("/v1/endpoints/{id}/enable", post(endpoints::enable))
        .route("/v1/endpoints/{id}/disable", post(endpoints::disable))
        .route("/v1/endpoints/{id}/secrets", post(endpoints::rotate_secret))
        .route("/v1/endpoints/{id}/test", post(endpoints::test))
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
        return Err(ApiError::not_ready());
    }
    Ok(json(StatusCode::OK, &Standing { status: "ready" }))
}

#[derive(Serialize)]
struct Standing {
    status: &'static str,
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
