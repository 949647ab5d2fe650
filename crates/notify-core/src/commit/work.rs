//! What the committer says, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::retention::Retention;
use crate::store::{Answer, Batch, Refusal, Room, StoreError};

/// How much is written and fetched at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitLimits {
    /// The most operations of one batch.
    pub batch_operations_max: usize,
    /// The most deliveries that one claim takes out of the store.
    pub claim_deliveries_max: usize,
    /// The most rows that one step of trimming forgets: some 10 ms of work. A job's
    /// are forgotten at once, and may be 12,000.
    pub trim_rows_max: usize,
}

impl Default for CommitLimits {
    fn default() -> Self {
        Self {
            batch_operations_max: 1_024,
            claim_deliveries_max: 1_024,
            trim_rows_max: 4_096,
        }
    }
}

/// What the driver is to do next.
#[derive(Debug)]
pub enum Work {
    /// Write this, then say what came of it.
    Write(Arc<Batch>),
    /// Claim, then say what came of it.
    Claim {
        /// How much room there is.
        room: Room,
        /// The most to take.
        limit: usize,
    },
    /// Trim, then say what came of it.
    Trim {
        /// What is to be kept.
        retention: Retention,
        /// The most rows to forget.
        rows_max: usize,
    },
    /// Nothing, until something happens or this time has come.
    Wait(Duration),
    /// Nothing more, ever.
    End,
}

/// Where the driver stands; only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitPhase {
    /// Everything goes on.
    Running,
    /// Nothing more is claimed; what is in flight may finish.
    Draining,
    /// What is known is written, and nothing more.
    Closing,
}

/// What a caller is to be told. `T` is how the driver knows whom.
#[derive(Debug)]
pub struct Done<T> {
    /// Who asked.
    pub ticket: T,
    /// What came of it.
    pub outcome: Result<Answer, CommitError>,
}

/// Why an operation was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// It was refused.
    Refused(Refusal),
    /// The store could not do it.
    Store(StoreError),
}
