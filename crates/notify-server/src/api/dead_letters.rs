//! Dead letters: seen, delivered after all, dropped.
//!
//! What is meant is said by a filter. One that names nothing is never taken for
//! everything: `all` says so.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use notify_core::json::Text;
use notify_core::store::FilterEmpty;
use notify_core::{DeadLetter, DeadReason, DeliveryId, EndpointId, EventId, JobId};
use notify_hub::{DeadFilter, List, NotifyError};
use serde::Serialize;

use super::answer::{Object, json, list};
use super::auth::Operator;
use super::error::ApiError;
use super::object::{NO_SUCH_FIELD, boolean, each_field, optional, text};
use super::parts::Api;
use super::query::Query;
use super::{body, time};

/// The largest body that says what to redeliver, in bytes.
const BYTES_MAX: usize = 4 * 1024;

/// `GET /v1/dead-letters`: newest first, without what they were to deliver.
pub(super) async fn show_all(
    State(api): State<Api>,
    _: Operator,
    mut query: Query,
) -> Result<Response, ApiError> {
    let page = query.list()?;
    let filter = filter_of(&mut query)?;
    query.finish()?;
    let listed = api.archive()?.dead_letters(filter, page).await?;
    Ok(list(listed, |letter| Shown::of(&letter)))
}

/// `GET /v1/dead-letters/{id}`, with the body that it was to deliver.
pub(super) async fn show(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let letter = find(&api, id_in(&id)?).await?.ok_or(ApiError::NO_LETTER)?;
    let shown = Shown::of(&letter);
    let answer = Object::new()
        .field("id", &shown.id)
        .field("job_id", &shown.job_id)
        .field("event_id", &shown.event_id)
        .field("endpoint_id", &shown.endpoint_id)
        .field("url", &shown.url)
        .field("reason", &shown.reason)
        .field("attempts", &shown.attempts)
        .field("last_error", &shown.last_error)
        .field("died_at", &shown.died_at)
        .stored("payload", &letter.body);
    Ok(answer.answer(StatusCode::OK))
}

/// `POST /v1/dead-letters/{id}/redeliver`.
pub(super) async fn redeliver_one(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = id_in(&id)?;
    match find(&api, id).await? {
        Some(letter) if letter.reason == DeadReason::UrlInvalid => {
            return Err(ApiError::field(
                "url",
                "is none that a webhook can be sent to",
            ));
        }
        Some(_) => {}
        // It has been redelivered already, and counts 0.
        None if api.archive()?.delivery(id).await?.is_some() => {}
        None => return Err(ApiError::NO_LETTER),
    }
    let count = api.notifier.redeliver(only(id)).await?;
    Ok(json(StatusCode::ACCEPTED, &Count { count }))
}

/// `POST /v1/dead-letters/redeliver`.
pub(super) async fn redeliver(
    State(api): State<Api>,
    _: Operator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, BYTES_MAX, &api.bodies).await?;
    let meant = Meant::read(&body)?;
    let notifier = &api.notifier;
    let count = match (meant.dry_run, meant.filter.is_empty()) {
        (true, _) => notifier.redeliverable(meant.filter).await?,
        (false, true) => notifier.redeliver_all().await?,
        (false, false) => notifier.redeliver(meant.filter).await?,
    };
    Ok(json(StatusCode::ACCEPTED, &Count { count }))
}

/// `DELETE /v1/dead-letters/{id}`.
pub(super) async fn drop_one(
    State(api): State<Api>,
    _: Operator,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let count = api.notifier.drop_dead_letters(only(id_in(&id)?)).await?;
    if count == 0 {
        return Err(ApiError::NO_LETTER);
    }
    Ok(json(StatusCode::OK, &Count { count }))
}

/// `DELETE /v1/dead-letters`.
pub(super) async fn drop_all(
    State(api): State<Api>,
    _: Operator,
    mut query: Query,
) -> Result<Response, ApiError> {
    let mut flag = |name| query.take_as(name, "must be true or false", |text| text.parse().ok());
    let (all, dry_run) = (flag("all")?, flag("dry_run")?);
    let filter = filter_of(&mut query)?;
    query.finish()?;
    let Meant { filter, dry_run } =
        Meant::new(filter, all.unwrap_or_default(), dry_run.unwrap_or_default())?;
    let count = if dry_run {
        api.archive()?.count_dead_letters(filter).await?
    } else if filter.is_empty() {
        api.notifier.drop_all_dead_letters().await?
    } else {
        api.notifier.drop_dead_letters(filter).await?
    };
    Ok(json(StatusCode::OK, &Count { count }))
}

/// What a call means, and whether it is only asked about.
#[derive(Debug)]
struct Meant {
    /// Everything, if it names nothing.
    filter: DeadFilter,
    dry_run: bool,
}

impl Meant {
    fn new(filter: DeadFilter, all: bool, dry_run: bool) -> Result<Self, ApiError> {
        match (filter.is_empty(), all) {
            (true, false) => Err(NotifyError::FilterEmpty(FilterEmpty).into()),
            (false, true) => Err(ApiError::field("all", "is not said beside a filter")),
            _ => Ok(Self { filter, dry_run }),
        }
    }

    fn read(json: &[u8]) -> Result<Self, ApiError> {
        let body = Text::read(json).map_err(|_| ApiError::Malformed)?;
        let mut filter = DeadFilter::default();
        let (mut all, mut dry_run) = (None, None);
        each_field(body, "body", |name, value| {
            match name {
                "all" => all = optional(value, |it| boolean(name, it))?,
                "dry_run" => dry_run = optional(value, |it| boolean(name, it))?,
                name => {
                    let value = optional(value, |it| text(name, it))?;
                    if !name_in(&mut filter, name, value.as_deref())? {
                        return Err(ApiError::field(name, NO_SUCH_FIELD));
                    }
                }
            }
            Ok(())
        })?;
        Self::new(filter, all.unwrap_or_default(), dry_run.unwrap_or_default())
    }
}

/// What a filter may name.
const NAMES: [&str; 6] = [
    "job_id",
    "endpoint_id",
    "event_id",
    "reason",
    "since",
    "until",
];

fn filter_of(query: &mut Query) -> Result<DeadFilter, ApiError> {
    let mut filter = DeadFilter::default();
    for name in NAMES {
        let value = query.take(name)?;
        name_in(&mut filter, name, value.as_deref())?;
    }
    Ok(filter)
}

/// Lets the filter name this. `false` if there is no such name.
fn name_in(filter: &mut DeadFilter, name: &str, value: Option<&str>) -> Result<bool, ApiError> {
    const TIME: &str = "must be a time as in 2026-01-31T12:00:00Z";
    fn read<T>(
        name: &str,
        value: Option<&str>,
        rule: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = value else { return Ok(None) };
        let value = read(value).ok_or_else(|| ApiError::field(name, rule))?;
        Ok(Some(value))
    }
    let reason = |text: &str| DeadReason::ALL.into_iter().find(|it| it.as_str() == text);
    match name {
        "job_id" => {
            filter.job = read(name, value, "must be a job id", |it| JobId::parse(it).ok())?;
        }
        "endpoint_id" => {
            filter.endpoint = read(name, value, "must be an endpoint id", |it| it.parse().ok())?;
        }
        "event_id" => {
            filter.event = read(name, value, "must be an event id", |it| it.parse().ok())?;
        }
        "reason" => {
            filter.reason = read(name, value, "must be the reason of a dead letter", reason)?;
        }
        "since" => filter.since = read(name, value, TIME, time::parse)?,
        "until" => filter.until = read(name, value, TIME, time::parse)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn id_in(path: &str) -> Result<DeliveryId, ApiError> {
    path.parse().map_err(|_| ApiError::NO_LETTER)
}

fn only(id: DeliveryId) -> DeadFilter {
    DeadFilter {
        delivery: Some(id),
        ..DeadFilter::default()
    }
}

async fn find(api: &Api, id: DeliveryId) -> Result<Option<DeadLetter>, ApiError> {
    let first = List {
        limit: 1,
        cursor: None,
    };
    let listed = api.archive()?.dead_letters(only(id), first).await?;
    Ok(listed.items.into_iter().next())
}

#[derive(Serialize)]
struct Count {
    count: u64,
}

#[derive(Serialize)]
struct Shown {
    id: DeliveryId,
    job_id: JobId,
    event_id: EventId,
    endpoint_id: Option<EndpointId>,
    url: String,
    reason: DeadReason,
    attempts: u32,
    last_error: String,
    died_at: String,
}

impl Shown {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            job_id: letter.job_id.clone(),
            event_id: letter.event_id,
            endpoint_id: letter.endpoint_id,
            url: letter.url.clone(),
            reason: letter.reason,
            attempts: letter.attempts,
            last_error: letter.last_error.clone(),
            died_at: time::rfc3339(letter.died_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        match Meant::read(json.as_bytes()) {
            Err(ApiError::Field { field, .. }) => assert_eq!(field, expected, "{json}"),
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn what_is_meant_is_read() {
        let meant = Meant::read(
            br#"{"job_id":"a","event_id":"k3f9a2m7q1xz-12","reason":"gone","since":"2026-01-31T12:00:00Z","until":null,"dry_run":true}"#,
        )
        .unwrap();
        assert!(meant.dry_run);
        let filter = meant.filter;
        assert_eq!(filter.job, Some(JobId::parse("a").unwrap()));
        assert_eq!(filter.event, Some("k3f9a2m7q1xz-12".parse().unwrap()));
        assert_eq!(filter.reason, Some(DeadReason::Gone));
        assert_eq!(filter.since, time::parse("2026-01-31T12:00:00Z"));
        assert_eq!(
            (filter.until, filter.endpoint, filter.delivery),
            (None, None, None)
        );
        let all = Meant::read(br#"{"all":true}"#).unwrap();
        assert!(all.filter.is_empty() && !all.dry_run);
    }

    #[test]
    fn nothing_is_never_taken_for_everything() {
        let empty = ApiError::from(NotifyError::FilterEmpty(FilterEmpty));
        for json in [
            "{}",
            r#"{"all":false}"#,
            r#"{"dry_run":true}"#,
            r#"{"job_id":null}"#,
        ] {
            assert_eq!(Meant::read(json.as_bytes()).unwrap_err(), empty, "{json}");
        }
        check_refused(r#"{"all":true,"job_id":"a"}"#, "all");
    }

    #[test]
    fn what_is_wrong_is_named() {
        check_refused(r#"{"job":"a"}"#, "job");
        check_refused(r#"{"job_id":"."}"#, "job_id");
        check_refused(r#"{"job_id":1}"#, "job_id");
        check_refused(r#"{"endpoint_id":"dlv_x"}"#, "endpoint_id");
        check_refused(r#"{"event_id":"12"}"#, "event_id");
        check_refused(r#"{"reason":"tired"}"#, "reason");
        check_refused(r#"{"until":"tomorrow"}"#, "until");
        check_refused(r#"{"all":"yes"}"#, "all");
        check_refused(r#"{"job_id":"a","job_id":"a"}"#, "job_id");
        assert_eq!(Meant::read(b"").unwrap_err(), ApiError::Malformed);
    }
}
