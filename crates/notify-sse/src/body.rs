//! A stream's body: reads a subscription when the connection has room.
//!
//! Nothing is queued here. The connection polls for a frame, and what the log
//! then holds for this reader goes into it: one block as the bytes that all
//! readers share, or several small ones joined. A reader that takes nothing is
//! not polled, so it stays a position in the log while progress passes it by.
//!
//! Each frame is whole: it begins and ends between blocks, so whatever cuts the
//! body never leaves half an event that a lenient client could take for one.
//!
//! The form follows the HTML standard, 9.2, and what its readers make of it. The
//! heartbeat is a comment and *one* newline, and `retry:` stands in a block that
//! has data, because widespread clients dispatch an empty event on any blank line
//! that ends no data.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame};
use notify_hub::Subscription;

use crate::heartbeat::Heartbeat;
use crate::jitter::Jitter;

/// A comment without text. It opens the body, so that proxies pass the headers
/// on, and breaks long silence.
const COMMENT: &[u8] = b":\n";

/// Blocks are joined into frames of at most this size; a larger block is a frame
/// of its own.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// When a reader whose connection broke should come back, ±20 %.
const RETRY: Duration = Duration::from_secs(2);

/// The body of a stream: the events of one subscription as blocks.
#[derive(Debug)]
pub(crate) struct StreamBody {
    subscription: Subscription,
    heartbeat: Heartbeat,
    /// The comment that opens the body is still to come.
    unopened: bool,
    /// For the first block.
    retry: Option<Duration>,
    /// A block that did not fit into the last frame.
    held: Option<Bytes>,
}

impl StreamBody {
    /// Reads `subscription` from where it stands, after a word on the gap if it
    /// has one.
    pub(crate) fn new(
        subscription: Subscription,
        heartbeat_interval: Duration,
        mut jitter: Jitter,
    ) -> Self {
        let retry = jitter.spread(RETRY);
        let gap = subscription.gap().map(gap_block);
        let mut body = Self {
            subscription,
            heartbeat: Heartbeat::new(heartbeat_interval, jitter),
            unopened: true,
            retry: Some(retry),
            held: None,
        };
        body.held = gap.map(|block| body.dress(block));
        body
    }

    fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(block) = self.held.take() {
            return Poll::Ready(Some(block));
        }
        let record = ready!(self.subscription.poll_record(cx));
        Poll::Ready(record.map(|record| self.dress(record.block())))
    }

    /// The first block also says when to come back. All others are passed on as
    /// they are.
    fn dress(&mut self, block: Bytes) -> Bytes {
        let Some(retry) = self.retry.take() else {
            return block;
        };
        let line = format!("retry: {}\n", retry.as_millis());
        let mut dressed = BytesMut::with_capacity(line.len() + block.len());
        dressed.put(line.as_bytes());
        dressed.put(block);
        dressed.freeze()
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let mut gathered = Gathered::default();
        if mem::take(&mut this.unopened) {
            gathered.push(Bytes::from_static(COMMENT));
        }
        let mut ended = false;
        while let Poll::Ready(block) = this.poll_block(cx) {
            match block {
                Some(block) if gathered.has_room(&block) => gathered.push(block),
                Some(block) => {
                    this.held = Some(block);
                    break;
                }
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if gathered.is_empty() {
            if ended {
                return Poll::Ready(None);
            }
            ready!(this.heartbeat.poll_due(cx));
            gathered.push(Bytes::from_static(COMMENT));
        }
        this.heartbeat.restart();
        Poll::Ready(Some(Ok(Frame::data(gathered.into_bytes()))))
    }

    fn is_end_stream(&self) -> bool {
        // Nothing is held then: the end is only found behind the last block, and
        // the frame with that block has been returned.
        self.subscription.end_reason().is_some()
    }
}

/// What goes into one frame.
#[derive(Default)]
struct Gathered {
    /// The first piece; shared, as long as nothing joins it.
    alone: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.alone.len() + self.joined.len()
    }

    fn has_room(&self, piece: &Bytes) -> bool {
        self.is_empty() || self.len() + piece.len() <= FRAME_BYTES_MAX
    }

    fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.alone = piece;
            return;
        }
        self.joined.put(mem::take(&mut self.alone));
        self.joined.put(piece);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.alone
        } else {
            self.joined.freeze()
        }
    }
}

/// Says that the cursor that was asked for is no position in the log. It has no
/// `id:`, so it moves no reader's cursor.
fn gap_block(requested: &str) -> Bytes {
    let data = serde_json::json!({ "requested": requested });
    format!("event: notify.gap\ndata: {data}\n\n").into()
}
