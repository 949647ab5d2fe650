//! What it costs to deliver a webhook, for the bench `delivery`.
//!
//! **Cast.** A [`sink`] that answers 204 to everything; senders of four [`Kind`]s,
//! each a process of its own that says what its CPU and the clock did while it sent
//! ([`sender`]); and the bench, which has them take turns and compares what they
//! say ([`report`]).
//!
//! **Fairness.** All send to one host with [`IN_FLIGHT`] requests in flight. The
//! bare loop sends one webhook over and over: the very bytes and headers that the
//! product made of such an event. The product makes, keeps, signs, settles and
//! forgets each of its own.
//!
//! A sender is told what to do by arguments and answers with one line of JSON, so
//! that one of an earlier build can take its turns in the same run.

pub mod report;
pub mod sender;
pub mod sink;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Requests in flight: what the product allows one host.
pub const IN_FLIGHT: usize = 64;

/// Whose cost is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A loop around the HTTP client, and nothing else: the floor.
    Bare,
    /// The product with everything in memory.
    Memory,
    /// The product with everything in a data directory.
    Durable,
}

impl Kind {
    /// As the command line and the report name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Memory => "memory",
            Self::Durable => "durable",
        }
    }
}

/// What a sender measured of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Webhooks that were answered with 204.
    pub delivered: u64,
    /// CPU time of the whole process, in user and kernel, in seconds.
    pub cpu_s: f64,
    /// Time by the clock, in seconds.
    pub wall_s: f64,
    /// Webhooks that it delivered in all, with those before and after.
    pub delivered_in_all: u64,
    /// Jobs that it kept when the measurement ended. More than those of the last
    /// seconds: forgetting does not keep up, and is not paid for in full.
    pub jobs_kept: u64,
}

impl Measured {
    /// CPU time for each webhook, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    pub fn cpu_us(&self) -> f64 {
        1e6 * self.cpu_s / self.delivered as f64
    }

    /// Webhooks per second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
    pub fn per_second(&self) -> f64 {
        self.delivered as f64 / self.wall_s
    }
}

/// Whatever goes wrong ends the bench.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
