//! Jobs and their events.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use notify_core::endpoint::EventFilter;
use notify_core::id::{IdempotencyKeyInvalid, JobIdInvalid};
use notify_core::json::Text;
use notify_core::{DeadReason, EventId, EventRecord, JobId, JobStatus};
use notify_hub::{JobView, NotifyError};
use serde::{Deserialize, Serialize};

use super::answer::{Object, array, json, written};
use super::auth::{Caller, Operator};
use super::error::ApiError;
use super::parts::Api;
use super::query::Query;
use super::time::rfc3339;
use super::{body, spec};
use crate::connections::Seat;

/// `POST /v1/jobs`: registers a job.
pub(super) async fn create(
    State(api): State<Api>,
    _: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, spec::BYTES_MAX, &api.bodies).await?;
    let created = api.notifier.create_job(spec::read(&body)?).await?;
    let answer = Registered {
        events_url: events_url(&api, &created.job_id),
        job_id: created.job_id,
        token: &created.token,
        webhook_secret: created.webhook_secret.as_ref().map(|it| it.expose()),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

/// `POST /v1/jobs/{job_id}/token`: a new token; the old one stops.
pub(super) async fn renew_token(
    State(api): State<Api>,
    _: Operator,
    JobPath(job_id): JobPath,
) -> Result<Response, ApiError> {
    if api.notifier.job(job_id.as_str()).await?.is_none() {
        return Err(ApiError::NO_JOB);
    }
    let token = api.notifier.register_job(job_id.as_str()).await?;
    let answer = Registered {
        events_url: events_url(&api, &job_id),
        job_id,
        token: &token,
        webhook_secret: None,
    };
    Ok(json(StatusCode::CREATED, &answer))
}

/// `GET /v1/jobs/{job_id}`: the job as it stands.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    job_id: Result<JobPath, ApiError>,
    seat: Option<Extension<Seat>>,
) -> Result<Response, ApiError> {
    let (job_id, for_operator) = match (caller, job_id) {
        (Caller::Operator, job_id) => (job_id?.0, true),
        // Asked first, since a notifier that takes no calls knows no token
        // either, and a customer who is told that it is wrong gives up.
        (Caller::Shows(_), _) if !api.notifier.is_ready() => return Err(ApiError::not_ready()),
        (Caller::Shows(token), Ok(JobPath(job_id)))
            if api
                .notifier
                .validate_job_token(job_id.as_str(), &token)
                .await =>
        {
            // A customer's connections are not for strangers to take either.
            if let Some(Extension(seat)) = seat {
                seat.is_now_known();
            }
            (job_id, false)
        }
        // Whether it is the token or the job that is wrong is not said, so that
        // nobody can find out which jobs exist.
        (Caller::Shows(_), _) => return Err(ApiError::Forbidden),
    };
    let view = api.notifier.job(job_id.as_str()).await?;
    let mut view = view.ok_or(ApiError::NO_JOB)?;
    if !for_operator {
        view.webhook = None;
    }
    let event = view.last.as_ref().map(EventRecord::json);
    Ok(written(StatusCode::OK, shown(&view, event)))
}

/// `DELETE /v1/jobs/{job_id}`: forgets it with all that it has.
pub(super) async fn delete(
    State(api): State<Api>,
    _: Operator,
    JobPath(job_id): JobPath,
    mut query: Query,
) -> Result<StatusCode, ApiError> {
    let rule = "must be true or false";
    let force = query.take_as("force", rule, |text| text.parse().ok())?;
    query.finish()?;
    let force = force.unwrap_or_default();
    api.notifier.delete_job(job_id.as_str(), force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/jobs`: newest first, without what the last events say in `result`.
pub(super) async fn show_all(
    State(api): State<Api>,
    _: Operator,
    mut query: Query,
) -> Result<Response, ApiError> {
    let page = query.list()?;
    let status = query.take_as("status", "must be a status", |text| text.parse().ok())?;
    query.finish()?;
    let listed = api.archive()?.jobs(status, page).await?;
    let items = listed.items.iter();
    let items: Vec<Vec<u8>> = items
        .map(|view| shown(view, without_result(view)))
        .collect();
    let answer = Object::new()
        .stored("items", &array(&items))
        .field("next_cursor", &listed.next);
    Ok(answer.answer(StatusCode::OK))
}

/// `POST /v1/jobs/{job_id}/events`: accepts an event.
pub(super) async fn accept_event(
    State(api): State<Api>,
    _: Operator,
    JobPath(job_id): JobPath,
    mut query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let webhook_url = query.take(WEBHOOK_URL)?;
    query.finish()?;
    let limits = api.event_limits;
    let body = body::read_json(&headers, body, limits.event_bytes_max, &api.bodies).await?;
    let accepted = api.notifier.notify_json(
        job_id.as_str(),
        &body,
        webhook_url.as_deref(),
        idempotency_key(&headers)?,
    );
    let accepted = accepted.await?;
    let answer = Accepted {
        id: accepted.id,
        sequence: accepted.id.sequence(),
        warnings: accepted.unsent.into_iter().map(Warning::of).collect(),
    };
    Ok(json(StatusCode::ACCEPTED, &answer))
}

/// The job in the path, percent-decoded.
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        // What decodes to no UTF-8 is outside a job id's alphabet too.
        let Path(text) = path.map_err(|_| NotifyError::JobId(JobIdInvalid::Alphabet))?;
        let job_id = JobId::parse(&text).map_err(NotifyError::JobId)?;
        Ok(Self(job_id))
    }
}

const WEBHOOK_URL: &str = "webhook_url";

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut all = headers.get_all("idempotency-key").iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(key), None) if key.to_str().is_ok() => Ok(key.to_str().ok()),
        _ => Err(NotifyError::IdempotencyKey(IdempotencyKeyInvalid).into()),
    }
}

fn events_url(api: &Api, job_id: &JobId) -> String {
    // A job id's alphabet needs no escaping in a path.
    format!("{}/v1/jobs/{job_id}/events", api.base_url)
}

#[derive(Serialize)]
struct Registered<'a> {
    job_id: JobId,
    token: &'a str,
    events_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<&'a str>,
}

#[derive(Serialize)]
struct Accepted {
    id: EventId,
    sequence: u64,
    /// The event stands; this is what is wrong with its webhook.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Warning {
    code: DeadReason,
    message: &'static str,
}

impl Warning {
    fn of(code: DeadReason) -> Self {
        let message = match code {
            DeadReason::UrlInvalid => "the webhook is not sent: its URL can't be used",
            DeadReason::AddressRefused => "the webhook is not sent: its address is not allowed",
            DeadReason::SecretMissing => {
                "the webhook is not sent: there is no secret to sign it with"
            }
            _ => "the webhook is not sent",
        };
        Self { code, message }
    }
}

/// A job as it stands. The event is shown by the bytes that were made when it
/// was accepted, as through every other door.
fn shown(view: &JobView, event: Option<Bytes>) -> Vec<u8> {
    let last = view.last.as_ref();
    let last_event = last.zip(event).map(|(record, event)| {
        Object::new()
            .field("id", &record.id())
            .stored("event", &event)
            .finish()
    });
    let answer = Object::new()
        .field("job_id", &view.id)
        .field("status", &view.head.status.unwrap_or_default())
        .field("progress", &last.and_then(progress_of))
        .field("sequence", &view.head.sequence)
        .stored("last_event", last_event.as_deref().unwrap_or(b"null"))
        .field("created_at", &rfc3339(view.created_at))
        .field("updated_at", &rfc3339(view.updated_at));
    let answer = match &view.webhook {
        None => answer,
        Some((url, filter)) => answer.field(
            "webhook",
            &Webhook {
                url: url.as_str(),
                events: asked_for(*filter),
            },
        ),
    };
    answer.finish()
}

/// What the last event says, but for its `result`, which may be large.
fn without_result(view: &JobView) -> Option<Bytes> {
    let json = view.last.as_ref()?.json();
    let fields = Text::read(&json).ok()?.fields()?;
    let fields = fields.filter(|(name, _)| name != "result");
    let kept = fields.fold(Object::new(), |kept, (name, value)| match &*name {
        "status" => kept.stored("status", value.as_str().as_bytes()),
        "progress" => kept.stored("progress", value.as_str().as_bytes()),
        "error" => kept.stored("error", value.as_str().as_bytes()),
        "timestamp" => kept.stored("timestamp", value.as_str().as_bytes()),
        _ => kept,
    });
    Some(kept.finish().into())
}

/// The progress that an event states; its `result`, which may be large, is passed
/// over.
fn progress_of(record: &EventRecord) -> Option<u8> {
    #[derive(Deserialize)]
    struct Stated {
        progress: Option<u8>,
    }

    let stated: Stated = serde_json::from_slice(&record.json()).ok()?;
    stated.progress
}

#[derive(Serialize)]
struct Webhook<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<JobStatus>>,
}

/// The statuses that a filter lets pass; `None` if it lets all pass.
fn asked_for(filter: EventFilter) -> Option<Vec<JobStatus>> {
    let wanted = JobStatus::ALL.into_iter().filter(|&it| filter.wants(it));
    (filter != EventFilter::ALL).then(|| wanted.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_shown_by_what_passes() {
        assert_eq!(asked_for(EventFilter::ALL), None);
        let shown = asked_for(EventFilter::only([JobStatus::Queued])).unwrap();
        let expected = [
            JobStatus::Queued,
            JobStatus::Completed,
            JobStatus::Failed,
            JobStatus::Cancelled,
        ];
        assert_eq!(shown, expected);
    }
}
