//! Endpoints: seen, enabled and disabled, given other secrets, tried, deleted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use notify_core::EndpointId;
use notify_core::breaker::BreakerState;
use notify_core::endpoint::Endpoint;
use notify_core::json::Text;
use notify_hub::{JobNotifier, Listed, NotifyError};
use serde::Serialize;

use super::answer::{json, list};
use super::auth::Operator;
use super::body;
use super::error::ApiError;
use super::object::{NO_SUCH_FIELD, each_field, optional, text};
use super::parts::Api;
use super::query::Query;
use super::time::rfc3339;

/// The largest body that names a secret, in bytes.
const BYTES_MAX: usize = 4 * 1024;

/// How long the old secret stays active where nobody says otherwise.
const EXPIRE_OLD_AFTER: Duration = Duration::from_secs(86_400);

/// `GET /v1/endpoints`: newest first.
pub(super) async fn show_all(
    State(api): State<Api>,
    _: Operator,
    mut query: Query,
) -> Result<Response, ApiError> {
    let page = query.list()?;
    query.finish()?;
    let listed = api.archive()?.endpoints(page).await?;
    let shown = |endpoint: &Arc<Endpoint>| Shown::of(&api.notifier, endpoint);
    let items = listed
        .items
        .iter()
        .map(shown)
        .collect::<Result<Vec<_>, _>>()?;
    let shown = Listed {
        items,
        next: listed.next,
    };
    Ok(list(shown, |item| item))
}

/// `GET /v1/endpoints/{id}`.
pub(super) async fn show(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
) -> Result<Response, ApiError> {
    let known = api.archive()?.endpoint(id).await?;
    let known = known.ok_or(NotifyError::EndpointUnknown)?;
    Ok(json(StatusCode::OK, &Shown::of(&api.notifier, &known)?))
}

/// `DELETE /v1/endpoints/{id}`: forgets it with all that it has.
pub(super) async fn delete(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
) -> Result<StatusCode, ApiError> {
    api.notifier.delete_endpoint(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/endpoints/{id}/enable`.
pub(super) async fn enable(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
) -> Result<Response, ApiError> {
    let endpoint = api.notifier.set_endpoint_enabled(id, true).await?;
    Ok(json(StatusCode::OK, &Shown::of(&api.notifier, &endpoint)?))
}

/// `POST /v1/endpoints/{id}/disable`.
pub(super) async fn disable(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
) -> Result<Response, ApiError> {
    let endpoint = api.notifier.set_endpoint_enabled(id, false).await?;
    Ok(json(StatusCode::OK, &Shown::of(&api.notifier, &endpoint)?))
}

/// `POST /v1/endpoints/{id}/secrets`: the new secret, this once.
pub(super) async fn rotate_secret(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = body::read_json(&headers, body, BYTES_MAX, &api.bodies).await?;
    let Rotation {
        secret,
        expire_old_after,
    } = Rotation::read(&body)?;
    let rotated = api
        .notifier
        .rotate_secret(id, secret.as_deref(), expire_old_after);
    let secret = rotated.await?;
    let answer = NewSecret {
        secret: secret.expose(),
    };
    Ok(json(StatusCode::CREATED, &answer))
}

/// `POST /v1/endpoints/{id}/test`: what came back.
pub(super) async fn test(
    State(api): State<Api>,
    _: Operator,
    EndpointPath(id): EndpointPath,
) -> Result<Response, ApiError> {
    let answer = api.notifier.test_endpoint(id).await?;
    let shown = Tested {
        status: answer.status,
        error: answer.error,
        snippet: answer.snippet,
        duration_ms: u64::try_from(answer.duration.as_millis()).unwrap_or(u64::MAX),
    };
    Ok(json(StatusCode::OK, &shown))
}

/// The endpoint in the path.
pub(super) struct EndpointPath(EndpointId);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unknown = || ApiError::from(NotifyError::EndpointUnknown);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| unknown())?;
        text.parse().map(Self).map_err(|_| unknown())
    }
}

/// What a rotation asks for.
#[derive(Debug)]
struct Rotation {
    secret: Option<String>,
    expire_old_after: Duration,
}

impl Rotation {
    /// An empty body asks for nothing in particular.
    fn read(json: &[u8]) -> Result<Self, ApiError> {
        let mut rotation = Self {
            secret: None,
            expire_old_after: EXPIRE_OLD_AFTER,
        };
        if json.is_empty() {
            return Ok(rotation);
        }
        let body = Text::read(json).map_err(|_| ApiError::Malformed)?;
        each_field(body, "body", |name, value| {
            match name {
                "secret" => rotation.secret = optional(value, |it| text(name, it))?,
                "expire_old_after_secs" => {
                    let secs = optional(value, |it| seconds(name, it))?;
                    rotation.expire_old_after = secs.unwrap_or(EXPIRE_OLD_AFTER);
                }
                unknown => return Err(ApiError::field(unknown, NO_SUCH_FIELD)),
            }
            Ok(())
        })?;
        Ok(rotation)
    }
}

fn seconds(name: &str, value: Text<'_>) -> Result<Duration, ApiError> {
    let secs = value.whole_number().map(Duration::from_secs);
    let secs = secs.filter(|secs| *secs <= JobNotifier::EXPIRE_OLD_AFTER_MAX);
    secs.ok_or_else(|| ApiError::field(name, "must be a whole number from 0 to 2592000"))
}

#[derive(Serialize)]
struct Shown {
    id: EndpointId,
    url: String,
    enabled: bool,
    breaker: &'static str,
    in_flight: u32,
    consecutive_failures: u32,
    last_success_at: Option<String>,
}

impl Shown {
    fn of(notifier: &JobNotifier, endpoint: &Endpoint) -> Result<Self, ApiError> {
        let health = notifier.endpoint_health(endpoint.id)?;
        let breaker = match health.breaker {
            // Nothing was sent there since the start: it begins with a probe.
            BreakerState::Closed if endpoint.sick_since.is_some() => BreakerState::HalfOpen,
            breaker => breaker,
        };
        Ok(Self {
            id: endpoint.id,
            url: endpoint.url.as_str().to_owned(),
            enabled: endpoint.enabled,
            breaker: breaker.as_str(),
            in_flight: health.in_flight,
            consecutive_failures: health.consecutive_failures,
            last_success_at: health.last_success_at.map(rfc3339),
        })
    }
}

#[derive(Serialize)]
struct NewSecret<'a> {
    secret: &'a str,
}

#[derive(Serialize)]
struct Tested {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<String>,
    duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_read() {
        let read = |json: &str| Rotation::read(json.as_bytes());
        for json in ["", "{}", r#"{"secret":null,"expire_old_after_secs":null}"#] {
            let rotation = read(json).unwrap();
            assert_eq!(rotation.secret, None);
            assert_eq!(rotation.expire_old_after, EXPIRE_OLD_AFTER);
        }
        let rotation = read(r#"{"secret":"s","expire_old_after_secs":0}"#).unwrap();
        assert_eq!(rotation.secret.as_deref(), Some("s"));
        assert_eq!(rotation.expire_old_after, Duration::ZERO);
    }

    #[test]
    fn an_expiry_is_a_number_of_seconds_within_a_month() {
        for bad in ["-1", "1.5", "2592001", "\"60\"", "true"] {
            let json = format!(r#"{{"expire_old_after_secs":{bad}}}"#);
            match Rotation::read(json.as_bytes()) {
                Err(ApiError::Field { field, .. }) => assert_eq!(field, "expire_old_after_secs"),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }
}
