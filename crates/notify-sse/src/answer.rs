//! The one shape in which a call is told that it failed.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

/// An answer of the shape `{"error":{"code","message","detail"}}`, for routes that
/// stand beside these.
///
/// No cache keeps it.
///
/// ```
/// use axum::http::StatusCode;
/// use axum::response::IntoResponse;
/// use notify_sse::ErrorAnswer;
///
/// async fn no_such_job() -> impl IntoResponse {
///     ErrorAnswer::new(StatusCode::NOT_FOUND, "not_found", "there is no such job")
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ErrorAnswer<D = NoDetail> {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    detail: D,
    advice: Option<(HeaderName, HeaderValue)>,
}

/// Nothing beyond code and message: `{}`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NoDetail {}

impl ErrorAnswer {
    /// `code` is for programs and never changes, `message` is for people. Neither
    /// may hold a token or anything else that is secret.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: NoDetail {},
            advice: None,
        }
    }
}

impl<D> ErrorAnswer<D> {
    /// The same with particulars, which must be a JSON object.
    pub fn with_detail<E>(self, detail: E) -> ErrorAnswer<E> {
        ErrorAnswer {
            status: self.status,
            code: self.code,
            message: self.message,
            detail,
            advice: self.advice,
        }
    }

    /// The same with the challenge that belongs to 401.
    pub fn asking_for_bearer(self) -> Self {
        let bearer = HeaderValue::from_static("Bearer");
        self.advising(WWW_AUTHENTICATE, bearer)
    }

    /// The same with when to come back: in whole seconds, rounded up, and never at
    /// once.
    pub fn retry_after(self, wait: Duration) -> Self {
        let rounded_up = wait.as_millis().div_ceil(1_000).max(1);
        let secs = u64::try_from(rounded_up).unwrap_or(u64::MAX);
        self.advising(RETRY_AFTER, HeaderValue::from(secs))
    }

    fn advising(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            advice: Some((name, value)),
            ..self
        }
    }
}

impl<D: Serialize> IntoResponse for ErrorAnswer<D> {
    fn into_response(self) -> Response<Body> {
        let envelope = Envelope {
            error: Error {
                code: self.code,
                message: &self.message,
                detail: &self.detail,
            },
        };
        // Only a detail with keys that are no text can't be said in JSON.
        let Ok(json) = serde_json::to_vec(&envelope) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.advice);
        response
    }
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    error: Error<'a, D>,
}

#[derive(Serialize)]
struct Error<'a, D> {
    code: &'static str,
    message: &'a str,
    detail: &'a D,
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn gone() -> ErrorAnswer {
        ErrorAnswer::new(StatusCode::GONE, "gone", "it is \"gone\"")
    }

    #[tokio::test]
    async fn every_answer_has_the_one_shape() {
        let bare = gone().into_response();
        assert_eq!(bare.status(), 410);
        assert_eq!(bare.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(bare.headers()[CACHE_CONTROL], "no-store");
        let expected = r#"{"error":{"code":"gone","message":"it is \"gone\"","detail":{}}}"#;
        assert_eq!(text(bare).await, expected);
        let detailed = gone().with_detail(serde_json::json!({"field": "a.b"}));
        let expected = expected.replace("{}", r#"{"field":"a.b"}"#);
        assert_eq!(text(detailed.into_response()).await, expected);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_is_never_zero() {
        for (millis, expected) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            let wait = Duration::from_millis(millis);
            let response = gone().retry_after(wait).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], expected);
        }
    }

    #[test]
    fn who_shows_nothing_is_told_what_to_show() {
        let response = gone().asking_for_bearer().into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
