//! The embedded durable store of notify: jobs, events, deliveries, endpoints and
//! dead letters in one SQLite database.
//!
//! [`SqliteStore`] is the port [`notify_core::Store`] over a data directory. It
//! fetches and writes what the [ledger](notify_core::ledger) wants and decides, and
//! has no rule of its own; it knows no HTTP.
//!
//! # Guarantees
//!
//! - A batch is one transaction, and one `fdatasync`. What was answered is on the
//!   disk (`journal_mode=WAL`, `synchronous=FULL`); what was not answered is
//!   there wholly or not at all.
//! - After a crash everything is back, except leases: all that waits can be
//!   claimed, so a delivery under way may be attempted once more.
//! - Every row carries a CRC-32. A damaged one is named in the log and never served:
//!   it refuses what needs it, and stops nobody else. A damaged log (WAL) is cut at its first bad frame by SQLite,
//!   which leaves an earlier state, whole; that is logged as a warning.
//! - If the disk fails while committing, the batch's outcome is unknown and the
//!   store does nothing more; it never repeats an fsync. A full disk is no such
//!   failure: the batch is rolled back and may be tried again.
//! - A directory belongs to one store at a time. One that was written by a later
//!   version, or is damaged, is refused and left as it is.
//!
//! One thread writes and folds the log in, with the help of another when there is
//! much to fold in; others read, and never wait for it. It waits for no reader, and
//! only a moment for another process that holds the database: then it says
//! [`NotNow`](notify_core::store::StoreError::NotNow). Dropping the store ends them.
//!
//! # The data directory
//!
//! | file | is |
//! |---|---|
//! | `notify.db` | the database; `sqlite3 -readonly notify.db` shows it, also while it is in use |
//! | `notify.db-wal`, `notify.db-shm` | its log and the log's index, while it is open or after a crash |
//! | `notify.db.v1-backup` | the database as version 1 of the tables had it, if it was brought to this one; nothing needs it |
//! | `notify.lock` | locked by the process that has the directory |
//!
//! [`schema`] describes the tables, [`check`] scans them all, [`backup`] copies them.
//!
//! # Examples
//!
//! ```no_run
//! use notify_core::Archive;
//! use notify_sqlite::{SqliteOptions, SqliteStore};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("./notify-data", SqliteOptions::default())?;
//! println!("{} deliveries wait", store.counters().await?.pending_deliveries);
//! # Ok(()) }
//! ```

mod backup;
mod check;
mod connect;
mod copy;
mod error;
mod files;
mod migrate;
mod options;
mod reader;
mod rows;
pub mod schema;
mod store;
mod wal;
mod worker;
mod writer;

pub use backup::{BackupError, backup};
pub use check::{Report, check};
pub use connect::SQLITE_VERSION_MIN;
pub use error::OpenError;
pub use options::{Canonical, SqliteOptions, Synchronous};
pub use store::SqliteStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
