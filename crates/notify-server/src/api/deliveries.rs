//! Deliveries and their attempts.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use notify_core::delivery::{Attempt, DeliveryView};
use notify_core::{DeliveryId, EndpointId, EventId, JobId};
use serde::Serialize;

use super::answer::{json, list};
use super::auth::Operator;
use super::error::ApiError;
use super::jobs::JobPath;
use super::parts::Api;
use super::query::Query;
use super::time::rfc3339;

/// `GET /v1/jobs/{job_id}/deliveries`: newest first.
pub(super) async fn of_job(
    State(api): State<Api>,
    _: Operator,
    JobPath(job_id): JobPath,
    mut query: Query,
) -> Result<Response, ApiError> {
    let page = query.list()?;
    query.finish()?;
    if api.notifier.job(job_id.as_str()).await?.is_none() {
        return Err(ApiError::NO_JOB);
    }
    let listed = api.archive()?.deliveries(&job_id, page).await;
    Ok(list(listed.map_err(ApiError::from)?, |view| {
        Shown::of(&view)
    }))
}

/// `GET /v1/deliveries/{id}`.
pub(super) async fn show(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id: DeliveryId = id.parse().map_err(|_| ApiError::NO_DELIVERY)?;
    let view = api.archive()?.delivery(id).await?;
    let view = view.ok_or(ApiError::NO_DELIVERY)?;
    Ok(json(StatusCode::OK, &Shown::of(&view)))
}

#[derive(Serialize)]
pub(super) struct Shown {
    id: DeliveryId,
    job_id: JobId,
    event_id: EventId,
    endpoint_id: EndpointId,
    url: String,
    state: &'static str,
    generation: u32,
    attempts: Vec<ShownAttempt>,
}

impl Shown {
    pub(super) fn of(view: &DeliveryView) -> Self {
        Self {
            id: view.id,
            job_id: view.job_id.clone(),
            event_id: view.event_id,
            endpoint_id: view.endpoint_id,
            url: view.url.as_str().to_owned(),
            state: view.state.as_str(),
            generation: view.generation,
            attempts: view.attempts.iter().map(ShownAttempt::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct ShownAttempt {
    number: u32,
    at: String,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
}

impl ShownAttempt {
    fn of(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            at: rfc3339(attempt.at),
            duration_ms: u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
            status: attempt.status,
            error: attempt.error.clone(),
            snippet: attempt.snippet.clone(),
            next_attempt_at: attempt.next_attempt_at.map(rfc3339),
        }
    }
}
