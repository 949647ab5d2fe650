//! Folding the log (WAL) into the database, without waiting for a long reader.
//!
//! What was written after a reader began can't be folded in, and the log can't
//! begin anew, for as long as it reads. So every checkpoint is an attempt: it
//! does what can be done at once (`PASSIVE`), and is repeated as the log grows,
//! and every [`RETRY`] also when nothing is written. What was copied is not copied
//! again, so an attempt that can do no more costs nearly nothing.
//!
//! Only while nobody appends to it can all of a log be folded in. So the writer
//! does it; but if more has piled up than a write should wait for, another thread
//! (the [`Folder`]) does most of it first, beside the writer.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Poison, Writer, poison_with};
use crate::connect::{OPENING_WAIT, WORKING_WAIT};
use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::options::Synchronous;
use crate::worker::{Desk, Workers};

/// What the writer knows of its log.
pub(super) struct Log {
    /// Pages in it, as of the last commit.
    pages: Arc<AtomicUsize>,
    /// When folding was last attempted, and how many pages there were.
    tried: Option<(Instant, usize)>,
    warned: bool,
    /// Whether the folder is at work.
    folding: Arc<AtomicBool>,
    folder: Workers<Folder>,
}

/// A thread that folds in what is too much for the writer.
struct Folder {
    conn: Connection,
    poison: Poison,
    /// The database's file, to flush what was copied.
    file: Arc<File>,
}

/// How far folding has come.
#[derive(Clone, Copy, Debug)]
struct Folded {
    pages: usize,
    copied: usize,
}

impl Log {
    /// Begins to watch the log of `conn`. `file` is the database's.
    pub(super) fn watch(
        conn: &mut Connection,
        files: &Files,
        file: Arc<File>,
        synchronous: Synchronous,
        poison: &Poison,
    ) -> Result<Self, OpenError> {
        let pages = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pages);
        let count = move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            let pages = usize::try_from(pages).unwrap_or_default();
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        };
        conn.wal_hook(Some(count))
            .map_err(|error| OpenError::fault(&files.database(), error.into()))?;
        let folder = Folder {
            conn: crate::connect::folder(files, synchronous)?,
            poison: Arc::clone(poison),
            file,
        };
        Ok(Self {
            pages,
            tried: None,
            warned: false,
            folding: Arc::default(),
            folder: Workers::start("notify-fold", vec![folder])
                .map_err(|error| OpenError::io(&files.dir, error))?,
        })
    }

    /// How long the next attempt can wait; `None` if its time has come.
    fn not_yet(&self, pages: usize) -> Option<Duration> {
        let (at, then) = self.tried?;
        let wait = RETRY.checked_sub(at.elapsed())?;
        (pages < then + CHECKPOINT_PAGES).then_some(wait)
    }

    /// Says so once when the log has become too long, and anew once it was short.
    fn warn(&mut self, pages: usize) {
        if pages >= WARN_PAGES && !self.warned {
            let mib = pages / PAGES_A_MIB;
            tracing::warn!(
                mib,
                "the log grows, because a long reader keeps it from being folded in"
            );
        }
        self.warned = pages >= WARN_PAGES || (self.warned && pages > LONG_PAGES);
    }

    /// Has the folder do what it can.
    fn fold_beside(&self) {
        self.folding.store(true, Ordering::Release);
        let folding = Arc::clone(&self.folding);
        // It is done whether or not anyone awaits it.
        drop(self.folder.ask(move |folder| {
            folder.fold();
            folding.store(false, Ordering::Release);
            Ok(())
        }));
    }
}

impl Folder {
    fn fold(&self) {
        checkpoint(&self.conn, &self.poison, "PASSIVE");
        // SQLite leaves that to whoever folds in the rest, which is the writer.
        if let Err(error) = self.file.sync_data() {
            poison_with(&self.poison, &format!("a flush failed: {error}"));
        }
    }
}

impl Desk for Folder {
    fn panicked(&mut self) {
        poison_with(&self.poison, "the folding thread has panicked");
    }

    fn close(self) {}
}

impl Writer {
    /// Folds in a log that is long; says when to try again if that was not all.
    pub(super) fn fold(&mut self) -> Option<Duration> {
        let pages = self.log.pages.load(Ordering::Relaxed);
        self.log.warn(pages);
        if pages < CHECKPOINT_PAGES || self.poison.get().is_some() {
            self.log.tried = None;
            return None;
        }
        if let Some(wait) = self.log.not_yet(pages) {
            return Some(wait);
        }
        self.log.tried = Some((Instant::now(), pages));
        if self.log.folding.load(Ordering::Acquire) {
            return Some(RETRY);
        }
        let is_long_for = |folded: &Folded| folded.pages - folded.copied > LONG_PAGES;
        if checkpoint(&self.conn, &self.poison, "NOOP").is_some_and(|folded| is_long_for(&folded)) {
            self.log.fold_beside();
            return Some(RETRY);
        }
        let folded = checkpoint(&self.conn, &self.poison, "PASSIVE")?;
        let rest = folded.pages - folded.copied;
        if pages <= LONG_PAGES {
            return (rest > 0).then_some(RETRY);
        }
        // It is as good as folded in, but too long to be left like that. Who is
        // still in the way has begun just now, and is likely to be quick.
        let shortened = rest <= NEAR_PAGES && self.shorten();
        (!shortened).then_some(RETRY)
    }

    /// Cuts the log to nothing, if nobody is in the way for long.
    fn shorten(&self) -> bool {
        let _ = self.conn.busy_timeout(QUICK_WAIT);
        let folded = checkpoint(&self.conn, &self.poison, "TRUNCATE");
        let wait = if self.held {
            Duration::ZERO
        } else {
            WORKING_WAIT
        };
        let _ = self.conn.busy_timeout(wait);
        let shortened = folded.is_some_and(|folded| folded.pages == 0);
        if shortened {
            self.log.pages.store(0, Ordering::Relaxed);
        }
        shortened
    }

    /// Folds all of it in, at the end.
    pub(super) fn fold_all(self) {
        let _ = self.conn.busy_timeout(OPENING_WAIT);
        if self.poison.get().is_none()
            && let Err(fault) = self.sum_up()
        {
            tracing::warn!(%fault, "what there is will be counted at the next opening");
        }
        let Self {
            conn, poison, log, ..
        } = self;
        drop(log);
        if poison.get().is_none() {
            checkpoint(&conn, &poison, "TRUNCATE");
        }
    }
}

/// Moves pages from the log to the database. `None` if someone else is at it, or
/// if it failed.
fn checkpoint(conn: &Connection, poison: &Poison, mode: &str) -> Option<Folded> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let moved = conn.query_row(&sql, [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let moved = moved.map(|(pages, copied)| (usize::try_from(pages), usize::try_from(copied)));
    match moved.map_err(Fault::from) {
        Ok((Ok(pages), Ok(copied))) => Some(Folded {
            pages,
            copied: copied.min(pages),
        }),
        Ok(_) => None,
        Err(fault) if fault.is_busy() => None,
        // The log stays as it is; nothing is lost.
        Err(fault) if fault.is_full() => {
            tracing::warn!("no space for a checkpoint");
            None
        }
        Err(fault) => {
            poison_with(poison, &format!("a checkpoint failed: {fault}"));
            None
        }
    }
}

/// A log of 16 MiB is worth a checkpoint: the pages that change most are then moved
/// once for many commits.
const CHECKPOINT_PAGES: usize = 16 * PAGES_A_MIB;
/// A log of more than 32 MiB has had readers in the way, and is cut to nothing.
const LONG_PAGES: usize = 32 * PAGES_A_MIB;
/// A log of 256 MiB is one that an operator should know of.
const WARN_PAGES: usize = 256 * PAGES_A_MIB;
/// What is appended while a quick reader reads, at most.
const NEAR_PAGES: usize = 4 * PAGES_A_MIB;
const PAGES_A_MIB: usize = 256;
/// How long a log that could not be folded in is left alone, unless it grows.
const RETRY: Duration = Duration::from_secs(1);
/// How long the writer waits for quick readers, at most once in [`RETRY`], so that
/// they can't keep a log for ever by taking turns.
const QUICK_WAIT: Duration = Duration::from_millis(25);
