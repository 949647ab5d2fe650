//! The axum extractor: a request whose body comes in pieces, or not all of it.

use std::convert::Infallible;
use std::io;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use notify_verify::{Verified, Verifier, VerifyError};

use crate::Target;
use crate::message::{self, Message, SECRETS, receiver};

/// This property.
pub const TARGET: Target = Target {
    name: "extract",
    check,
    seeds: message::seeds,
};

const BODY_BYTES_MAX: usize = 512;

/// However the body comes, the extractor says what the verifier says of the
/// whole of it: unless it is too large, which is 413, or breaks off, which is
/// 400.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let message = Message::draw(bytes);
    let headers = message.header_map();
    let receiver = receiver(&SECRETS).body_bytes_max(BODY_BYTES_MAX);
    let pace = Pace::from(message.knob);
    let extracted = extract(&receiver, &headers, pace.body(message.body));
    let expected = if message.body.len() > BODY_BYTES_MAX {
        Err("body_too_large".into())
    } else if pace.breaks_off() {
        Err("body_incomplete".into())
    } else {
        let verified = receiver.verify(&headers, message.body);
        verified.map(Verified).map_err(|why| why.code())
    };
    match extracted {
        Ok(verified) => assert_eq!(Ok(verified), expected),
        Err(why) => {
            assert_eq!(Err(why.code()), expected);
            check_answer(why);
        }
    }
}

fn extract(receiver: &Verifier, headers: &HeaderMap, body: Body) -> Result<Verified, VerifyError> {
    let mut request = Request::new(body);
    *request.headers_mut() = headers.clone();
    // The whole body is there, so there is nothing to wait for.
    let extracted = Verified::from_request(request, receiver).now_or_never();
    extracted.expect("nothing to wait for")
}

fn check_answer(why: VerifyError) {
    let status = why.status();
    assert!(matches!(status, 400 | 401 | 413));
    assert_eq!(why.into_response().status(), status);
}

/// How a body comes.
#[derive(Clone, Copy)]
enum Pace {
    /// At once, with its length known before.
    Whole,
    /// In pieces of so many bytes, some of them empty, and trailers.
    Pieces(usize),
    /// In pieces of so many bytes, and then the connection ends.
    BreaksOff(usize),
}

impl From<u8> for Pace {
    fn from(knob: u8) -> Self {
        match usize::from(knob) {
            0 => Self::Whole,
            bytes @ 1..=127 => Self::Pieces(bytes),
            bytes => Self::BreaksOff(bytes - 127),
        }
    }
}

impl Pace {
    fn breaks_off(self) -> bool {
        matches!(self, Self::BreaksOff(_))
    }

    fn body(self, bytes: &[u8]) -> Body {
        match self {
            Self::Whole => Body::from(bytes.to_vec()),
            Self::Pieces(piece) => {
                let pieces = data(bytes, piece).flat_map(|data| [data, Frame::data(Bytes::new())]);
                let trailers = Frame::trailers(HeaderMap::new());
                let frames: Vec<_> = pieces.chain([trailers]).map(Ok::<_, Infallible>).collect();
                Body::new(StreamBody::new(stream::iter(frames)))
            }
            Self::BreaksOff(piece) => {
                let end = io::Error::from(io::ErrorKind::ConnectionReset);
                let frames: Vec<_> = data(bytes, piece).map(Ok).chain([Err(end)]).collect();
                Body::new(StreamBody::new(stream::iter(frames)))
            }
        }
    }
}

fn data(bytes: &[u8], piece: usize) -> impl Iterator<Item = Frame<Bytes>> {
    let pieces = bytes.chunks(piece);
    pieces.map(|piece| Frame::data(Bytes::copy_from_slice(piece)))
}
