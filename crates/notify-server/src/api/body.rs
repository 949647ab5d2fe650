//! Reading a request's body: it is JSON, it comes in time, never more of it is
//! kept than its limit, and never more of all together than theirs.
//!
//! What is refused is left unread: whoever holds the connection sees to the rest.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use notify_hub::NotifyError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The most of all bodies that have been read and are not yet answered, in bytes.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// When it is worth another try after that.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The room for bodies. They are charged for what has come of them, so a sender
/// that announces much and sends little takes no room from others.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes_max)))
    }

    fn charge(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let overloaded = || {
            ApiError::from(NotifyError::Overloaded {
                retry_after: RETRY_AFTER,
            })
        };
        let bytes = u32::try_from(bytes).map_err(|_| overloaded())?;
        let charged = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        charged.map_err(|_| overloaded())
    }
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new(BODIES_BYTES_MAX)
    }
}

/// A body that was read. It takes its room until it is dropped.
#[derive(Debug)]
pub(super) struct ReadBody {
    bytes: Bytes,
    _charged: Option<OwnedSemaphorePermit>,
}

impl Deref for ReadBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a JSON body of at most `bytes_max`.
pub(super) async fn read_json(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    bodies: &Bodies,
) -> Result<ReadBody, ApiError> {
    if !is_json(headers) {
        return Err(ApiError::NotJson);
    }
    let read = tokio::time::timeout(READ_TIMEOUT, read_bounded(body, bytes_max, bodies));
    read.await.unwrap_or(Err(ApiError::Timeout))
}

/// `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

async fn read_bounded(
    mut body: Body,
    bytes_max: usize,
    bodies: &Bodies,
) -> Result<ReadBody, ApiError> {
    let too_large = || Err(ApiError::TooLarge(bytes_max));
    let fits = |bytes| usize::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max);
    if !fits(body.size_hint().lower()) {
        return too_large();
    }
    let mut kept = BytesMut::new();
    let mut charged: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame.map_err(|_| ApiError::BodyIncomplete)?.into_data() else {
            continue;
        };
        if kept.len() + frame.len() > bytes_max {
            return too_large();
        }
        let charge = bodies.charge(frame.len())?;
        match &mut charged {
            Some(charged) => charged.merge(charge),
            None => charged = Some(charge),
        }
        kept.extend_from_slice(&frame);
    }
    Ok(ReadBody {
        bytes: kept.freeze(),
        _charged: charged,
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::HttpBody;
    use hyper::body::{Frame, SizeHint};

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

    async fn read(body: Body, bytes_max: usize, bodies: &Bodies) -> Result<ReadBody, ApiError> {
        read_json(&said_to_be("application/json"), body, bytes_max, bodies).await
    }

    #[tokio::test]
    async fn a_body_at_its_limit_is_read_and_one_beyond_is_not() {
        let bodies = Bodies::default();
        let read = async |text: &'static str| {
            let body = read(Body::from(text), 4, &bodies).await;
            body.map(|body| body.to_vec())
        };
        assert_eq!(read("1234").await, Ok(b"1234".to_vec()));
        assert_eq!(read("12345").await, Err(ApiError::TooLarge(4)));
        assert_eq!(read("").await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn bodies_have_a_limit_altogether_until_they_are_dropped() {
        let bodies = Bodies::new(6);
        let first = read(Body::from("1234"), 4, &bodies).await.unwrap();
        let refused = read(Body::from("123"), 4, &bodies).await.unwrap_err();
        assert_eq!(
            refused,
            NotifyError::Overloaded {
                retry_after: RETRY_AFTER
            }
            .into()
        );
        assert!(read(Body::from("12"), 4, &bodies).await.is_ok());
        drop(first);
        assert!(read(Body::from("1234"), 4, &bodies).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_announced_and_does_not_come_takes_no_room() {
        let bodies = Bodies::new(4);
        let announced = read(Body::new(Never), 4, &bodies);
        tokio::pin!(announced);
        tokio::select! {
            biased;
            read = announced.as_mut() => panic!("{read:?}"),
            () = std::future::ready(()) => {}
        }
        assert!(read(Body::from("1234"), 4, &bodies).await.is_ok());
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

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(4)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = read(Body::new(Never), 4, &Bodies::default()).await;
        assert_eq!(never.unwrap_err(), ApiError::Timeout);
    }
}
