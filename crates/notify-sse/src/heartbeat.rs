//! When a quiet stream says that it is still there.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::jitter::Jitter;

/// A faster heartbeat would be a load and no use.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A slower one comes after every proxy has given up.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// Falls due after silence; each wait has a length of its own.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    jitter: Jitter,
    silence: Pin<Box<Sleep>>,
}

impl Heartbeat {
    /// Falls due after `interval` ±20 % of silence. It counts from the first
    /// [`restart`](Self::restart), since whatever is said first restarts it.
    pub(crate) fn new(interval: Duration, jitter: Jitter) -> Self {
        let interval = interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
        Self {
            interval,
            jitter,
            silence: Box::pin(sleep(interval)),
        }
    }

    /// Something was said: a wait begins.
    pub(crate) fn restart(&mut self) {
        let wait = self.jitter.spread(self.interval);
        self.silence.as_mut().reset(Instant::now() + wait);
    }

    /// Whether it is due.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.silence.as_mut().poll(cx)
    }
}
