//! Why a call is refused, as its caller reads it.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use notify_core::EventId;
use notify_core::event::EventInvalid;
use notify_core::store::StoreError;
use notify_hub::NotifyError;
use notify_sse::ErrorAnswer;
use serde::Serialize;

/// A refused call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ApiError {
    /// The notifier refuses it.
    Notify(NotifyError),
    /// There are no credentials.
    Unauthorized,
    /// The credentials do not open this.
    Forbidden,
    /// There is no such thing.
    NotFound(&'static str),
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The body came too slowly.
    Timeout,
    /// The body did not come whole.
    BodyIncomplete,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body is not said to be JSON.
    NotJson,
    /// The body is no JSON.
    Malformed,
    /// A field of the body or the query breaks its rule.
    Field {
        /// The field, with dots.
        field: String,
        /// What it must be.
        rule: &'static str,
    },
}

impl ApiError {
    pub(super) const NO_ROUTE: Self = Self::NotFound("there is nothing at this path");
    pub(super) const NO_METHOD: Self = Self::MethodNotAllowed;
    pub(super) const NO_DELIVERY: Self = Self::NotFound("there is no such delivery");
    pub(super) const NO_LETTER: Self = Self::NotFound("there is no such dead letter");
    pub(super) const NO_JOB: Self = Self::NotFound("there is no such job");

    /// The notifier takes no calls now.
    pub(super) fn not_ready() -> Self {
        NotifyError::NotReady("calls are not taken now").into()
    }

    pub(super) fn field(field: &str, rule: &'static str) -> Self {
        // A name from outside may be of any length.
        Self::Field {
            field: field.chars().take(64).collect(),
            rule,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Notify(error) => status_of(error),
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyIncomplete | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Notify(error) => error.code(),
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "request_timeout",
            Self::BodyIncomplete => "body_incomplete",
            Self::TooLarge(_) => "payload_too_large",
            Self::NotJson => "unsupported_media_type",
            Self::Malformed => "malformed_json",
            Self::Field { .. } => "request_invalid",
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Notify(error) => error.to_string().into(),
            Self::Unauthorized => "send the header Authorization: Bearer".into(),
            Self::Forbidden => "these credentials do not open this".into(),
            Self::NotFound(what) => (*what).into(),
            Self::MethodNotAllowed => "this path takes other methods".into(),
            Self::Timeout => "the body came too slowly".into(),
            Self::BodyIncomplete => "the body ended before all of it was there".into(),
            Self::TooLarge(bytes_max) => {
                format!("the body is larger than {bytes_max} bytes").into()
            }
            Self::NotJson => "send the header Content-Type: application/json".into(),
            Self::Malformed => "the body is not JSON".into(),
            Self::Field { field, rule } => format!("{field:?}: {rule}").into(),
        }
    }

    fn detail(&self) -> Detail<'_> {
        let field = match self {
            Self::Field { field, .. } => Some(field.as_str()),
            Self::Notify(error) => error.field(),
            _ => None,
        };
        let terminal = match self {
            Self::Notify(NotifyError::JobFinished { terminal }) => Some(*terminal),
            _ => None,
        };
        Detail { field, terminal }
    }
}

/// The statuses of the contract. What is refused for what it says is 422, unless
/// it is about the state of things.
fn status_of(error: &NotifyError) -> StatusCode {
    match error {
        NotifyError::Event(EventInvalid::Malformed) => StatusCode::BAD_REQUEST,
        NotifyError::Event(EventInvalid::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        NotifyError::JobFinished { .. }
        | NotifyError::JobExists
        | NotifyError::JobRunning
        | NotifyError::IdempotencyConflict
        | NotifyError::EndpointSecretConflict
        | NotifyError::RotationInProgress => StatusCode::CONFLICT,
        NotifyError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        NotifyError::ConfigInvalid(_)
        | NotifyError::NotReady(_)
        | NotifyError::StoreFull
        | NotifyError::StoreFailed
        | NotifyError::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        NotifyError::EndpointUnknown | NotifyError::JobUnknown => StatusCode::NOT_FOUND,
        NotifyError::RowDamaged(_) | NotifyError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        NotifyError::from(error).into()
    }
}

impl From<NotifyError> for ApiError {
    fn from(error: NotifyError) -> Self {
        Self::Notify(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(code = self.code(), "a call could not be served");
        }
        let answer = ErrorAnswer::new(status, self.code(), self.message());
        let answer = match &self {
            Self::Unauthorized => answer.asking_for_bearer(),
            Self::Notify(NotifyError::Overloaded { retry_after }) => {
                answer.retry_after(*retry_after)
            }
            _ => answer,
        };
        answer.with_detail(self.detail()).into_response()
    }
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The event that ended the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<EventId>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use notify_core::Epoch;
    use notify_core::store::FilterEmpty;

    use super::*;

    #[track_caller]
    fn check(error: NotifyError, status: u16, code: &str) {
        let error = ApiError::from(error);
        assert_eq!((error.status().as_u16(), error.code()), (status, code));
    }

    #[test]
    fn every_refusal_of_the_notifier_has_the_contracts_status() {
        let terminal = EventId::new(Epoch::from_random(1), 3);
        let retry_after = Duration::from_secs(1);
        check(EventInvalid::Malformed.into(), 400, "malformed_json");
        check(EventInvalid::NotAnObject.into(), 422, "event_invalid");
        let too_large = EventInvalid::TooLarge { bytes_max: 1 };
        check(too_large.into(), 413, "payload_too_large");
        check(NotifyError::JobFinished { terminal }, 409, "job_finished");
        check(NotifyError::JobExists, 409, "job_exists");
        check(NotifyError::JobRunning, 409, "job_running");
        check(
            NotifyError::IdempotencyConflict,
            409,
            "idempotency_conflict",
        );
        check(
            NotifyError::EndpointSecretConflict,
            409,
            "endpoint_secret_conflict",
        );
        check(NotifyError::RotationInProgress, 409, "rotation_in_progress");
        check(NotifyError::TooManyEvents, 422, "too_many_events");
        check(
            NotifyError::SigningSecretMissing,
            422,
            "signing_secret_missing",
        );
        check(NotifyError::FilterEmpty(FilterEmpty), 422, "filter_empty");
        check(NotifyError::EndpointUnknown, 404, "endpoint_unknown");
        check(NotifyError::Overloaded { retry_after }, 429, "overloaded");
        check(NotifyError::RowDamaged("x".into()), 500, "row_damaged");
        check(NotifyError::Internal, 500, "internal");
        check(NotifyError::NotReady("x"), 503, "not_ready");
        check(NotifyError::StoreFull, 503, "store_full");
        check(NotifyError::StoreFailed, 503, "store_failed");
        check(NotifyError::OutcomeUnknown, 503, "outcome_unknown");
    }

    #[test]
    fn a_refusal_for_what_it_says_names_the_field() {
        let error = ApiError::from(NotifyError::FilterEmpty(FilterEmpty));
        assert_eq!(error.detail().field, Some("filter"));
        let error = ApiError::from(NotifyError::RowDamaged("x".into()));
        assert_eq!(error.detail().field, None);
    }

    #[test]
    fn an_overloaded_server_says_when_to_come_back() {
        let retry_after = Duration::from_millis(1_001);
        let response = ApiError::from(NotifyError::Overloaded { retry_after }).into_response();
        assert_eq!(response.headers()["retry-after"], "2");
    }
}
