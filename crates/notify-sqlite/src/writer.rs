//! The one writer: its transactions, and what it keeps in memory of them.
//!
//! The rows on disk are the truth. In memory are an index of what waits
//! ([`Lanes`]), the leases, which are nowhere else, and rows that were needed
//! lately ([`Jobs`], [`Endpoints`]). Rows of jobs and endpoints are written once
//! at the end of a transaction, however often it changed them.
//!
//! A transaction ends in one of three ways. It is committed. Or it could not be
//! carried out: it is rolled back, the index is rebuilt from disk, the leases
//! are as before. Or the disk failed, so that nobody knows what it holds: the
//! store is poisoned and does nothing more. A failed fsync is never repeated,
//! because the kernel may have dropped the pages that it could not write.

mod append;
mod clock;
mod dead;
mod endpoints;
mod fold;
mod jobs;
mod lanes;
mod leases;
mod load;
mod register;
mod rule;
mod settle;
mod trim;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use notify_core::Timestamp;
use notify_core::delivery::Delivery;
use notify_core::store::{Batch, Counters, Room, StoreError, Written};
use rusqlite::Connection;

use crate::connect::WORKING_WAIT;
use crate::error::{Fault, OpenError};
use crate::files::{DataDir, Space};
use crate::options::SqliteOptions;
use crate::rows::{MetaRow, number, unsigned};
use crate::worker::Desk;
use endpoints::Endpoints;
use fold::Log;
use jobs::Jobs;
use lanes::Lanes;
use leases::{Leases, Pacing};

/// Why the store does nothing more, once it doesn't.
pub(crate) type Poison = Arc<OnceLock<String>>;

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
    lanes: Lanes,
    leases: Leases,
    pacing: Pacing,
    jobs: Jobs,
    endpoints: Endpoints,
    meta: MetaRow,
    stored_meta: MetaRow,
    /// Deliveries that this transaction made, so that a lease need not read them.
    fresh: HashMap<i64, Delivery>,
    /// Whether what an earlier life left behind has been looked at by today's clock.
    taken_up: bool,
    /// The dead letter up to which retention was looked at in turn.
    swept: i64,
    /// Whether someone else held the database when it was last to be written to.
    held: bool,
}

impl Writer {
    /// Takes up what the database holds.
    pub(crate) fn open(
        dir: &DataDir,
        options: SqliteOptions,
        poison: Poison,
    ) -> Result<Self, OpenError> {
        let mut conn = crate::connect::writer(dir, options.synchronous)?;
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
            lanes: Lanes::default(),
            leases: Leases::new(),
            pacing: Pacing::default(),
            jobs: Jobs::default(),
            endpoints: Endpoints::default(),
            meta: MetaRow::NEW,
            stored_meta: MetaRow::NEW,
            fresh: HashMap::new(),
            taken_up: false,
            swept: 0,
            held: false,
        };
        let fault = |fault| OpenError::fault(&database, fault);
        writer.load().map_err(fault)?;
        let wait = writer.conn.busy_timeout(WORKING_WAIT);
        wait.map_err(|error| fault(error.into()))?;
        Ok(writer)
    }

    pub(crate) fn write(&mut self, now: Timestamp, batch: Batch) -> Result<Written, StoreError> {
        let low = !batch.appends.is_empty() && self.is_low();
        self.transact(|writer| {
            writer.take_up(now)?;
            let mut room = batch.may_lease;
            let mut written = Written::default();
            let mut touched = BTreeSet::new();
            for settle in batch.settles {
                let outcome = writer.settle(now, settle, &mut written, &mut touched)?;
                written.settles.push(outcome);
            }
            for append in batch.appends {
                let outcome = writer.append(now, append, low, &mut touched)?;
                // After each one, so that no progress is left in the middle of a
                // lane, where the rule does not look.
                for lane in outcome.iter().flat_map(|appended| &appended.lanes) {
                    writer.rule(now, lane, &mut written)?;
                }
                written.appends.push(outcome);
            }
            for lane in touched {
                writer.lease_head(now, &lane, &mut room, &mut written)?;
            }
            written.next_due = writer.lanes.next_due(now);
            Ok(written)
        })
    }

    pub(crate) fn claim(
        &mut self,
        now: Timestamp,
        room: Room,
        limit: usize,
    ) -> Result<Written, StoreError> {
        self.transact(|writer| {
            writer.take_up(now)?;
            writer.claim_heads(now, room, limit)
        })
    }

    pub(crate) fn next_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        healthy(&self.poison)?;
        if !self.taken_up {
            self.transact(|writer| writer.take_up(now))?;
        }
        Ok(self.lanes.next_due(now))
    }

    pub(crate) fn counters(&self) -> Result<Counters, StoreError> {
        healthy(&self.poison)?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Counters {
            jobs: count(self.meta.jobs),
            pending_deliveries: self.lanes.pending() as u64,
            dead_letters: count(self.meta.dead_letters),
            oldest_due_at: self.lanes.oldest_due(),
        })
    }

    /// Does `work` as one transaction.
    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        healthy(&self.poison)?;
        let begun = self.begin();
        if begun.as_ref().is_err_and(Fault::is_busy) {
            // Nothing has begun, so there is nothing to undo.
            return Err(StoreError::NotNow);
        }
        let outcome = begun.and_then(|()| {
            let value = work(self)?;
            self.flush()?;
            Ok(value)
        });
        self.fresh.clear();
        match outcome {
            Ok(value) => match self.conn.execute_batch("COMMIT") {
                Ok(()) => {
                    self.leases.keep();
                    self.jobs.forget_some();
                    self.endpoints.forget_some();
                    Ok(value)
                }
                Err(error) => {
                    let fault = Fault::from(error);
                    if fault.is_full() || fault.is_busy() {
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
            Err(fault) => Err(self.undo(fault)),
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

    /// Writes the rows that were changed in memory.
    fn flush(&mut self) -> Result<(), Fault> {
        self.jobs.flush(&self.conn)?;
        self.endpoints.flush(&self.conn)?;
        if self.meta != self.stored_meta {
            self.meta.store(&self.conn)?;
            self.stored_meta = self.meta;
        }
        Ok(())
    }

    /// Makes as if the transaction had never begun.
    fn undo(&mut self, fault: Fault) -> StoreError {
        // SQLite rolls some errors back by itself.
        let rolled_back = self.conn.is_autocommit() || self.conn.execute_batch("ROLLBACK").is_ok();
        self.leases.put_back();
        self.taken_up = false;
        if !rolled_back {
            self.poison("a rollback failed");
        } else if let Err(worse) = self.load() {
            self.poison(&format!("reading after a rollback failed: {worse}"));
        }
        fault.into()
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

    /// The next number; orders what comes.
    fn next_number(&mut self) -> i64 {
        let number = self.meta.next_number;
        self.meta.next_number += 1;
        number
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
