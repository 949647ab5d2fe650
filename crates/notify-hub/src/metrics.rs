//! What a notifier counts, as plain numbers.
//!
//! Whoever embeds it hands them to the metrics library of their choice; the server
//! writes them for Prometheus. Counts begin at zero with each notifier.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use notify_core::delivery::Outcome;
use notify_core::retry::{Verdict, classify};
use notify_core::store::{Answer, Batch, Written};
use notify_core::{DeadReason, JobStatus, Timestamp, TransportError, WebhookResponse};

/// Numbers of a [`JobNotifier`](crate::JobNotifier) at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Events that were accepted, by their status.
    pub events: Vec<(JobStatus, u64)>,
    /// Progress deliveries that a newer event took the place of before they were sent.
    pub superseded: u64,
    /// Deliveries that the receiver has.
    pub delivered: u64,
    /// Deliveries that were given up, or never could be sent, by reason.
    pub dead: Vec<(DeadReason, u64)>,
    /// Attempts by what came of them.
    pub attempts: Vec<(AttemptResult, u64)>,
    /// Attempts that a failure of our own kept from being made.
    pub own_failures: u64,
    /// How long it took from a call to its commit, in seconds.
    pub commit_seconds: Distribution,
    /// How long attempts took, in seconds.
    pub attempt_seconds: Distribution,
    /// How long it took from an event's being accepted to its being delivered, in
    /// seconds.
    pub lag_seconds: Distribution,
    /// How many operations and ends of attempts were written at once.
    pub batch_size: Distribution,
    /// Deliveries that are not settled.
    pub pending_deliveries: u64,
    /// How many there may be.
    pub pending_limit: u64,
    /// Dead letters that are kept.
    pub dead_letters: u64,
    /// Jobs that are kept.
    pub jobs: u64,
    /// Attempts in flight.
    pub in_flight: u64,
    /// Deliveries that are ready in memory.
    pub ready: u64,
    /// How long the head that has waited longest has been due.
    pub oldest_due: Duration,
    /// Jobs that somebody follows, and that have not ended.
    pub followed_jobs: u64,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptResult {
    /// An answer 2xx.
    Success,
    /// An answer 3xx, which is never followed.
    Redirect,
    /// An answer 4xx.
    ClientError,
    /// An answer 5xx, or one that HTTP does not know.
    ServerError,
    /// No complete answer in time.
    Timeout,
    /// The host's name could not be resolved.
    Dns,
    /// No connection could be made.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke, or the answer was no HTTP.
    Http,
    /// The egress policy refused the address.
    Refused,
    /// It could not be made, for a reason of our own.
    Internal,
}

impl AttemptResult {
    /// Every result.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Redirect,
        Self::ClientError,
        Self::ServerError,
        Self::Timeout,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Http,
        Self::Refused,
        Self::Internal,
    ];

    /// The result as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Redirect => "redirect",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Refused => "refused",
            Self::Internal => "internal",
        }
    }

    fn of(outcome: &Result<WebhookResponse, TransportError>) -> Self {
        match outcome {
            Ok(answer) => match answer.status {
                200..=299 => Self::Success,
                300..=399 => Self::Redirect,
                400..=499 => Self::ClientError,
                _ => Self::ServerError,
            },
            Err(TransportError::Timeout) => Self::Timeout,
            Err(TransportError::Dns) => Self::Dns,
            Err(TransportError::Connect) => Self::Connect,
            Err(TransportError::Tls) => Self::Tls,
            Err(TransportError::Http) => Self::Http,
            Err(TransportError::Refused(_)) => Self::Refused,
            Err(_) => Self::Internal,
        }
    }
}

/// How values are distributed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// How many values were at most so large, each with those below it; the last
    /// bound is infinite.
    pub at_most: Vec<(f64, u64)>,
    /// All values, added up.
    pub sum: f64,
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.at_most.last().map_or(0, |&(_, count)| count)
    }
}

/// Counts while a notifier runs.
#[derive(Debug)]
pub(crate) struct Meters {
    events: [AtomicU64; JobStatus::ALL.len()],
    superseded: AtomicU64,
    delivered: AtomicU64,
    dead: [AtomicU64; DeadReason::ALL.len()],
    attempts: [AtomicU64; AttemptResult::ALL.len()],
    commit: Histogram,
    attempt: Histogram,
    lag: Histogram,
    batch: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            events: Default::default(),
            superseded: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dead: Default::default(),
            attempts: Default::default(),
            commit: Histogram::new(&COMMIT_MILLIS),
            attempt: Histogram::new(&ATTEMPT_MILLIS),
            lag: Histogram::new(&LAG_MILLIS),
            batch: Histogram::new(&BATCH_SIZES),
        }
    }

    /// A batch was written.
    pub(crate) fn wrote(&self, batch: &Batch, written: &Written) {
        self.batch
            .note((batch.settles.len() + batch.operations.len()) as u64);
        for answer in written.answers.iter().flatten() {
            if let Answer::Appended(appended) = answer {
                count(&self.events, &JobStatus::ALL, appended.record.status());
            }
        }
        let settles = batch.settles.iter().zip(&written.settles);
        let delivered = settles
            .filter(|(settle, settled)| settle.outcome == Outcome::Delivered && settled.is_ok());
        self.delivered.fetch_add(delivered.count() as u64, Relaxed);
        self.settled(written);
    }

    /// What a batch, a claim or a trim has settled without an attempt.
    pub(crate) fn settled(&self, written: &Written) {
        self.superseded.fetch_add(written.superseded, Relaxed);
        for &reason in &written.died {
            count(&self.dead, &DeadReason::ALL, reason);
        }
    }

    /// A call was carried out.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.note(millis(took));
    }

    /// An attempt has ended.
    pub(crate) fn attempted(
        &self,
        outcome: &Result<WebhookResponse, TransportError>,
        took: Duration,
        accepted_at: Timestamp,
        now: Timestamp,
    ) {
        count(
            &self.attempts,
            &AttemptResult::ALL,
            AttemptResult::of(outcome),
        );
        self.attempt.note(millis(took));
        if classify(outcome, now) == Verdict::Delivered {
            self.lag.note(millis(now.since(accepted_at)));
        }
    }

    /// What was counted; the rest is left at zero.
    pub(crate) fn read(&self) -> Metrics {
        Metrics {
            events: counts(&self.events, &JobStatus::ALL),
            superseded: self.superseded.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            dead: counts(&self.dead, &DeadReason::ALL),
            attempts: counts(&self.attempts, &AttemptResult::ALL),
            commit_seconds: self.commit.read(1e-3),
            attempt_seconds: self.attempt.read(1e-3),
            lag_seconds: self.lag.read(1e-3),
            batch_size: self.batch.read(1.0),
            ..Metrics::default()
        }
    }
}

const COMMIT_MILLIS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];
const ATTEMPT_MILLIS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
const LAG_MILLIS: [u64; 12] = [
    5, 10, 25, 50, 100, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000, 86_400_000,
];
const BATCH_SIZES: [u64; 8] = [1, 2, 4, 8, 32, 128, 512, 2_048];

/// Counts values between bounds.
#[derive(Debug)]
struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is larger than the last.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn note(&self, value: u64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    fn read(&self, unit: f64) -> Distribution {
        let bounds = self.bounds.iter().map(|&bound| bound as f64 * unit);
        let bounds = bounds.chain([f64::INFINITY]);
        let mut below = 0;
        let at_most = bounds.zip(&self.counts).map(|(bound, count)| {
            below += count.load(Relaxed);
            (bound, below)
        });
        Distribution {
            at_most: at_most.collect(),
            sum: self.sum.load(Relaxed) as f64 * unit,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn count<T: PartialEq>(counts: &[AtomicU64], all: &[T], value: T) {
    let place = all.iter().position(|it| *it == value);
    if let Some(count) = place.and_then(|place| counts.get(place)) {
        count.fetch_add(1, Relaxed);
    }
}

fn counts<T: Copy>(counts: &[AtomicU64], all: &[T]) -> Vec<(T, u64)> {
    let counted = all.iter().zip(counts);
    counted
        .map(|(&value, count)| (value, count.load(Relaxed)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_its_bound_and_beyond() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.note(value);
        }
        let read = histogram.read(1.0);
        assert_eq!(read.at_most, [(10.0, 2), (20.0, 4), (f64::INFINITY, 6)]);
        assert_eq!((read.count(), read.sum), (6, 1_062.0));
    }

    #[test]
    fn every_status_and_reason_has_a_place() {
        let meters = Meters::new();
        for reason in DeadReason::ALL {
            count(&meters.dead, &DeadReason::ALL, reason);
        }
        for status in JobStatus::ALL {
            count(&meters.events, &JobStatus::ALL, status);
        }
        let read = meters.read();
        assert!(read.dead.iter().all(|&(_, count)| count == 1), "{read:?}");
        assert!(read.events.iter().all(|&(_, count)| count == 1), "{read:?}");
    }
}
