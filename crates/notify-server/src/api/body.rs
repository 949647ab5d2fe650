//! Reading a request's body: it is JSON, it comes in time, and never more of it
//! is kept than its limit.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::error::ApiError;

/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a body that is too large is taken and thrown away, so that its
/// sender, who may not read before it has written, gets to see the answer.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads a JSON body of at most `bytes_max`.
pub(super) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    if !is_json(headers) {
        return Err(ApiError::NotJson);
    }
    let read = tokio::time::timeout(READ_TIMEOUT, read_bounded(body, bytes_max));
    read.await.unwrap_or(Err(ApiError::Timeout))
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

async fn read_bounded(mut body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut bytes_read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame.map_err(|_| ApiError::BodyIncomplete)?.into_data() else {
            continue;
        };
        bytes_read += frame.len();
        if bytes_read <= bytes_max {
            kept.extend_from_slice(&frame);
        } else if bytes_read > bytes_max + DISCARDED_BYTES_MAX {
            break;
        }
    }
    if bytes_read > bytes_max {
        return Err(ApiError::TooLarge(bytes_max));
    }
    Ok(kept.freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use hyper::body::Frame;

    use super::*;

    fn said_to_be(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())])
    }

    #[test]
    fn only_json_is_json() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
        ] {
            assert!(is_json(&said_to_be(good)), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json(&said_to_be(bad)), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_body_at_its_limit_is_read_and_one_beyond_is_not() {
        let headers = said_to_be("application/json");
        let read = |text: &'static str| read_json(&headers, Body::from(text), 4);
        assert_eq!(read("1234").await, Ok(Bytes::from("1234")));
        assert_eq!(read("12345").await, Err(ApiError::TooLarge(4)));
        assert_eq!(read("").await, Ok(Bytes::new()));
    }

    /// A body that is announced and never comes.
    struct Never;

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let headers = said_to_be("application/json");
        let read = read_json(&headers, Body::new(Never), 4);
        assert_eq!(read.await, Err(ApiError::Timeout));
    }
}
