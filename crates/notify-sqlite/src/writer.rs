//! The one writer: its transactions, and what it keeps in memory of them.
//!
//! **Cast.** The rows on disk are the truth. In memory are what is pending, with its
//! leases, which are nowhere else ([`Pending`]), and rows that were needed lately
//! ([`Known`]). The ledger decides; nothing is decided here.
//!
//! **Flow.** Rows are fetched (`fetch`), the ledger decides over them (`decide`), its
//! changes are written (`apply`, `deliveries`, `redeliveries`), and once they are committed memory
//! follows ([`Staged`]).
//!
//! A transaction ends in one of three ways. It is committed. Or it could not be
//! carried out: it is rolled back, and memory has never heard of it. Or the disk
//! failed, so that nobody knows what it holds: the store is poisoned and does nothing
//! more. A failed fsync is never repeated, because the kernel may have dropped the
//! pages that it could not write.

mod apply;
mod clock;
mod decide;
mod delete;
mod deliveries;
mod fetch;
mod fold;
mod known;
mod letters;
mod load;
mod redeliveries;
mod staged;
mod trim;
mod unnamed;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use notify_core::DeliveryId;
use notify_core::ledger::{Pending, Supply};
use notify_core::store::{Counters, StoreError};
use rusqlite::Connection;

use crate::connect::WORKING_WAIT;
use crate::error::{Fault, OpenError};
use crate::files::{DataDir, Space};
use crate::options::SqliteOptions;
use crate::rows::{Counts, MetaRow, number, unsigned};
use crate::worker::Desk;
use clock::LastAttempt;
use fold::Log;
use known::Known;
use letters::Letters;
use staged::Staged;
use unnamed::Unnamed;

#[cfg(test)]
pub(crate) use load::opening_queries;

/// Why the store does nothing more, once it doesn't.
pub(crate) type Poison = Arc<OnceLock<String>>;

/// What the store holds, as of the last commit, for whoever reads it.
pub(crate) type Shown = Arc<Mutex<Counters>>;

/// Says no to everything once the store is poisoned.
pub(crate) fn healthy(poison: &Poison) -> Result<(), StoreError> {
    match poison.get() {
        None => Ok(()),
        Some(why) => Err(StoreError::Failed(why.clone())),
    }
}

/// Sees to it that the store does nothing more. The first reason is the one to
/// know.
fn poison_with(poison: &Poison, why: &str) {
    tracing::error!(why, "the store does nothing more");
    let _ = poison.set(why.to_owned());
}

/// What the writer's thread owns.
pub(crate) struct Writer {
    log: Log,
    conn: Connection,
    /// Closed last: closing any handle of the database's file ends the locks that
    /// this process has on it.
    file: Arc<File>,
    options: SqliteOptions,
    poison: Poison,
    space: Space,
    pending: Pending,
    known: Known,
    /// As it is on disk.
    meta: MetaRow,
    counts: Counts,
    supply: Supply,
    shown: Shown,
    /// Of what an earlier life left pending, until that is taken up.
    last_attempts: HashMap<DeliveryId, LastAttempt>,
    /// Whether what an earlier life left behind has been looked at by today's clock.
    taken_up: bool,
    unnamed: Unnamed,
    letters: Letters,
    /// Whether someone else held the database when it was last to be written to.
    held: bool,
    /// Deciding over what names this job panics.
    #[cfg(test)]
    pub(crate) panics_at: Option<notify_core::JobId>,
}

impl Writer {
    /// Takes up what the database holds.
    pub(crate) fn open(
        dir: &DataDir,
        options: SqliteOptions,
        poison: Poison,
        shown: Shown,
    ) -> Result<Self, OpenError> {
        let mut conn = crate::connect::writer(dir, &options)?;
        let database = dir.files().database();
        let file = File::open(&database).map_err(|error| OpenError::io(&database, error))?;
        let file = Arc::new(file);
        let flushed = Arc::clone(&file);
        let synchronous = options.synchronous;
        let mut writer = Self {
            log: Log::watch(&mut conn, dir.files(), flushed, synchronous, &poison)?,
            conn,
            file,
            options,
            poison,
            space: Space::new(dir.files(), options.min_free_bytes),
            pending: Pending::default(),
            known: Known::default(),
            meta: MetaRow::NEW,
            counts: Counts::default(),
            supply: Supply {
                number: 0,
                // From a random one on, so that a lease of an earlier store over the
                // same directory is not taken for one of this.
                lease: u128::from(RandomState::new().build_hasher().finish()) << 64,
            },
            shown,
            last_attempts: HashMap::new(),
            taken_up: false,
            unnamed: Unnamed::default(),
            letters: Letters::default(),
            held: false,
            #[cfg(test)]
            panics_at: None,
        };
        let fault = |fault| OpenError::fault(&database, fault);
        writer.load().map_err(fault)?;
        writer.show();
        let wait = writer.conn.busy_timeout(WORKING_WAIT);
        wait.map_err(|error| fault(error.into()))?;
        Ok(writer)
    }

    /// Shows what the store holds.
    fn show(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Counters {
            jobs: unsigned(self.counts.jobs),
            pending_deliveries: self.pending.total(),
            dead_letters: unsigned(self.counts.dead_letters),
            oldest_due_at: self.pending.oldest_due(),
        };
    }

    /// Does `work` as one transaction, and then takes over what it has staged.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Staged) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        healthy(&self.poison)?;
        let begun = self.begin();
        if begun.as_ref().is_err_and(Fault::is_busy) {
            // Nothing has begun, so there is nothing to undo.
            return Err(StoreError::NotNow);
        }
        let mut staged = Staged::new(self.meta, self.counts, self.supply);
        let outcome = begun.and_then(|()| {
            let value = work(self, &mut staged)?;
            self.flush(&mut staged)?;
            Ok(value)
        });
        match outcome {
            Ok(value) => match self.conn.execute_batch("COMMIT") {
                Ok(()) => {
                    self.keep(staged);
                    Ok(value)
                }
                Err(error) => {
                    let fault = Fault::from(error);
                    if fault.is_full() || fault.is_busy() {
                        self.letters.take_back(&staged.letters);
                        return Err(self.undo(fault));
                    }
                    self.poison(&format!("a commit failed: {fault}"));
                    Err(StoreError::OutcomeUnknown)
                }
            },
            Err(fault) if fault.is_io() => {
                // Not committed, so the outcome is known; the disk is not.
                self.poison(&format!("the disk failed: {fault}"));
                Err(StoreError::Failed(fault.to_string()))
            }
            Err(fault) => {
                self.letters.take_back(&staged.letters);
                Err(self.undo(fault))
            }
        }
    }

    /// Begins a transaction. Someone else who holds the database is waited for
    /// once; as long as it does, nobody else waits.
    fn begin(&mut self) -> Result<(), Fault> {
        let mut begin = self.conn.prepare_cached("BEGIN IMMEDIATE")?;
        let begun = begin.execute([]).map_err(Fault::from);
        drop(begin);
        let held = begun.as_ref().is_err_and(Fault::is_busy);
        if held != self.held {
            self.held = held;
            if held {
                tracing::warn!("another process holds the database; what is to be written waits");
            }
            let wait = if held { Duration::ZERO } else { WORKING_WAIT };
            self.conn.busy_timeout(wait)?;
        }
        begun.map(drop)
    }

    /// Makes as if the transaction had never begun.
    fn undo(&self, fault: Fault) -> StoreError {
        // SQLite rolls some errors back by itself.
        let rolled_back = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        if !rolled_back {
            self.poison("a rollback failed");
        }
        match fault {
            // A single row refuses only what needs it, so it is the database itself.
            Fault::Damaged(what) => {
                tracing::error!(what, "the database is damaged");
                StoreError::Failed(what)
            }
            fault => fault.into(),
        }
    }

    fn poison(&self, why: &str) {
        poison_with(&self.poison, why);
    }

    /// Whether there is too little space, counting what the database has yet to
    /// grow by when its log is folded in.
    fn is_low(&mut self) -> bool {
        let (conn, file) = (&self.conn, &self.file);
        self.space.is_low(|| {
            let pages = number(conn, "PRAGMA page_count", []).ok().flatten();
            let grown = file.metadata().map_or(0, |meta| meta.len());
            unsigned(pages.unwrap_or_default())
                .saturating_mul(PAGE_BYTES)
                .saturating_sub(grown)
        })
    }

    #[cfg(test)]
    pub(crate) fn rows_written(&self) -> u64 {
        self.conn.total_changes()
    }

    /// Remembers no row, as if others had been needed since.
    #[cfg(test)]
    pub(crate) fn forget_known(&mut self) {
        self.known = Known::default();
    }

    /// Lets the database grow no further, or again.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, to_what_there_is: bool) -> Result<(), StoreError> {
        let pages = if to_what_there_is {
            1
        } else {
            i64::from(u32::MAX) - 1
        };
        let limit = format!("PRAGMA max_page_count = {pages}");
        number(&self.conn, &limit, []).map_err(StoreError::from)?;
        Ok(())
    }
}

impl Desk for Writer {
    /// What is in memory may fit no more to what is on disk.
    fn panicked(&mut self) {
        self.poison("the writing thread has panicked");
    }

    fn tend(&mut self) -> Option<Duration> {
        self.fold()
    }

    fn close(self) {
        self.fold_all();
    }
}

/// As the database was made ([`crate::schema::BIRTH`]).
const PAGE_BYTES: u64 = 4_096;
