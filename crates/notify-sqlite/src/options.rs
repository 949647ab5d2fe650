//! What can be set about a store.

use notify_core::EndpointUrl;
use notify_core::endpoint::UrlInvalid;

/// The one spelling of a receiver's URL, if the text is one.
pub type Canonical = fn(&str) -> Result<EndpointUrl, UrlInvalid>;

/// Settings of a [`SqliteStore`](crate::SqliteStore).
#[derive(Clone, Copy, Debug)]
pub struct SqliteOptions {
    /// Deliveries that are not settled; beyond it appends are refused.
    ///
    /// Each occupies about 400 bytes of memory in the worst case, which is that
    /// every one is a lane of its own.
    pub pending_deliveries_max: usize,
    /// Deliveries to one endpoint that are not settled; one more becomes a dead
    /// letter, or is dropped if it is progress.
    pub pending_per_endpoint_max: usize,
    /// Progress events kept of a running job.
    pub progress_events_max: usize,
    /// Free space of the file system, in bytes, below which events and new jobs
    /// are refused, so that settling what is there still has room.
    pub min_free_bytes: u64,
    /// When a commit counts as done.
    pub synchronous: Synchronous,
    /// The one spelling of a URL. Asked only when a database of version 1, which kept
    /// URLs as they were given, is brought to this version: endpoints that their
    /// spelling alone told apart become one. Without it they stay as they are.
    pub canonical: Option<Canonical>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            pending_deliveries_max: 1_000_000,
            pending_per_endpoint_max: 100_000,
            progress_events_max: 16,
            min_free_bytes: 64 * 1024 * 1024,
            synchronous: Synchronous::Full,
            canonical: None,
        }
    }
}

/// When a commit counts as done (`PRAGMA synchronous`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// When it is on the disk.
    #[default]
    Full,
    /// When the operating system has it: a power cut takes accepted events with
    /// it. It exists so that a test of power cuts can show that it would notice.
    DangerousNormal,
}

impl Synchronous {
    pub(crate) const fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::DangerousNormal => "NORMAL",
        }
    }
}
