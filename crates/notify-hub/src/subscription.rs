//! Following a job: a cursor plus a wake-up, not a queue.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use notify_core::log::{Cursor, Start};
use notify_core::{EventId, EventRecord, JobEvent};

use crate::live::{EndReason, Next, Reader};

/// Where a subscription begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// All lifecycle events and the newest progress, then live.
    #[default]
    Beginning,
    /// The newest event, then live.
    Latest,
    /// What came after the event with this id, as text from outside. If it is no
    /// event of the job's log, the subscription begins at the beginning and says
    /// so in [`Subscription::gap`].
    After(String),
}

/// A job's events: what was, then what comes.
///
/// Ends after the job's terminal event. A slow reader skips outdated progress
/// and never misses a lifecycle event. Also a [`Stream`] of [`EventRecord`]s.
#[derive(Debug)]
pub struct Subscription {
    reader: Reader,
    cursor: Cursor,
    bound_to: Option<u64>,
    gap: Option<String>,
    ended: Option<EndReason>,
}

impl Subscription {
    pub(crate) fn new(reader: Reader, from: StartFrom, bound_to: Option<u64>) -> Self {
        let (start, requested) = match from {
            StartFrom::Beginning => (Ok(Start::Fresh), None),
            StartFrom::Latest => (Ok(Start::Latest), None),
            StartFrom::After(text) => (text.parse::<EventId>().map(Start::After), Some(text)),
        };
        let position = start.ok().and_then(|start| reader.position(start).ok());
        let gap = if position.is_none() { requested } else { None };
        let afresh = || reader.position(Start::Fresh).unwrap_or_default();
        let cursor = position.unwrap_or_else(afresh);
        Self {
            reader,
            cursor,
            bound_to,
            gap,
            ended: None,
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// [`Closed`] after the terminal event, or when the notifier shuts down.
    ///
    /// # Cancel safety
    /// An event is taken only when it is returned.
    pub async fn recv(&mut self) -> Result<JobEvent, Closed> {
        Ok(self.recv_record().await?.event())
    }

    /// The next event with its id and bytes.
    ///
    /// # Errors
    /// [`Closed`] after the terminal event, or when the notifier shuts down.
    ///
    /// # Cancel safety
    /// An event is taken only when it is returned.
    pub async fn recv_record(&mut self) -> Result<EventRecord, Closed> {
        poll_fn(|cx| self.poll_record(cx)).await.ok_or(Closed)
    }

    /// The next event if it is there already.
    pub fn try_recv_record(&mut self) -> Option<EventRecord> {
        match self.poll_record(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(record) => record,
            Poll::Pending => None,
        }
    }

    /// Polls for the next event; `None` once it has ended.
    pub fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventRecord>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        match self
            .reader
            .next(&mut self.cursor, self.bound_to, cx.waker())
        {
            Next::Record(record) => Poll::Ready(Some(record)),
            Next::Wait => Poll::Pending,
            Next::Ended(reason) => {
                self.ended = Some(reason);
                Poll::Ready(None)
            }
        }
    }

    /// The cursor that was asked for, if it is no position in the job's log. The
    /// subscription then replays from the beginning.
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    /// Whether nothing is left to read: the job has ended and its terminal event
    /// was passed.
    pub fn is_at_end(&self) -> bool {
        self.reader.is_at_end(self.cursor)
    }

    /// Why it has ended, once it has.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.ended
    }
}

impl Stream for Subscription {
    type Item = EventRecord;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventRecord>> {
        self.get_mut().poll_record(cx)
    }
}

/// The subscription has ended; see [`Subscription::end_reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the subscription has ended")
    }
}

impl std::error::Error for Closed {}
