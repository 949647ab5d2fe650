//! The store itself: it hands each call to the thread that does it.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::retention::Retention;
use notify_core::store::{
    Archive, Batch, Counters, DeadFilter, JobView, List, Listed, Page, Room, Store, StoreResult,
    TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, JobStatus, Timestamp};
use rusqlite::Connection;

use crate::error::{Fault, OpenError};
use crate::files::DataDir;
use crate::options::SqliteOptions;
use crate::reader::{self, Reader};
use crate::worker::Workers;
use crate::writer::{Poison, Shown, Writer, healthy};

/// Keeps everything in one SQLite database.
///
/// Dropping it closes the database: what was sent to it is still done, then its
/// threads end and the log is folded into the database. That blocks for as long.
pub struct SqliteStore {
    // Fields are dropped in this order: readers first, so that the writer's last
    // checkpoint finds nobody in its way; the lock last.
    readers: Workers<Reader>,
    looks: Workers<Reader>,
    writer: Workers<Writer>,
    poison: Poison,
    shown: Shown,
    dir: DataDir,
    options: SqliteOptions,
}

impl SqliteStore {
    /// Opens the store in the directory `dir`, which is made if there is none.
    ///
    /// Takes as long as reading the unsettled deliveries does; finished jobs are
    /// not looked at.
    ///
    /// # Errors
    /// [`OpenError`] names the file and what to do. Nothing was overwritten.
    pub fn open(dir: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let dir = DataDir::take(dir.as_ref())?;
        let (poison, shown) = (Poison::default(), Shown::default());
        let writer = Writer::open(&dir, options, Arc::clone(&poison), Arc::clone(&shown))?;
        let readers = |count| {
            let readers = (0..count).map(|_| Reader::open(dir.files(), Arc::clone(&poison)));
            readers.collect::<Result<Vec<_>, _>>()
        };
        let (pages, looks) = (readers(READERS)?, readers(1)?);
        let no_thread = |error| OpenError::io(&dir.files().dir, error);
        Ok(Self {
            readers: Workers::start("notify-read", pages).map_err(no_thread)?,
            looks: Workers::start("notify-look", looks).map_err(no_thread)?,
            writer: Workers::start("notify-write", vec![writer]).map_err(no_thread)?,
            poison,
            shown,
            dir,
            options,
        })
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir.files().dir
    }

    /// What it was opened with.
    pub fn options(&self) -> SqliteOptions {
        self.options
    }

    /// Lets the database grow no further, or again.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, to_what_there_is: bool) -> StoreResult<'_, ()> {
        self.writer
            .ask(move |writer| writer.limit_pages(to_what_there_is))
    }

    /// A bug in the middle of a write.
    #[cfg(test)]
    pub(crate) fn panic_in_writer(&self) -> StoreResult<'_, ()> {
        self.writer.ask(|_| panic!("a bug"))
    }

    /// A bug in the ledger that one job brings to light, or none any more.
    #[cfg(test)]
    pub(crate) fn panic_at(&self, job: Option<JobId>) -> StoreResult<'_, ()> {
        self.writer.ask(|writer| {
            writer.panics_at = job;
            Ok(())
        })
    }

    /// How many rows were ever written or deleted.
    #[cfg(test)]
    pub(crate) fn rows_written(&self) -> StoreResult<'_, u64> {
        self.writer.ask(|writer| Ok(writer.rows_written()))
    }

    /// The writer remembers no row, as if others had been needed since.
    #[cfg(test)]
    pub(crate) fn forget_known(&self) -> StoreResult<'_, ()> {
        self.writer.ask(|writer| {
            writer.forget_known();
            Ok(())
        })
    }

    pub(crate) fn read_with<'a, T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreResult<'a, T> {
        self.readers.ask(|reader| reader.read(read))
    }

    /// Reads a row or two, which waits for no list.
    fn look_with<'a, T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> StoreResult<'a, T> {
        self.looks.ask(|reader| reader.read(look))
    }
}

impl Store for SqliteStore {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        self.writer.ask(move |writer| writer.write(now, &batch))
    }

    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written> {
        self.writer
            .ask(move |writer| writer.claim(now, &room, limit))
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        self.writer
            .ask(move |writer| writer.trim(now, retention, rows_max))
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        self.writer.ask(move |writer| writer.clock_set(step))
    }
}

impl Archive for SqliteStore {
    fn read(&self, job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>> {
        let job = job.clone();
        self.read_with(move |conn| reader::page(conn, &job, after, limit))
    }

    fn job(&self, job: &JobId) -> StoreResult<'_, Option<JobView>> {
        let job = job.clone();
        self.read_with(move |conn| reader::job(conn, &job))
    }

    fn jobs(&self, status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>> {
        self.read_with(move |conn| reader::jobs(conn, status, &list))
    }

    fn token(&self, job: &JobId) -> StoreResult<'_, Option<TokenHash>> {
        let job = job.clone();
        self.look_with(move |conn| reader::token(conn, &job))
    }

    fn deliveries(&self, job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>> {
        let job = job.clone();
        self.read_with(move |conn| reader::deliveries(conn, &job, &list))
    }

    fn delivery(&self, delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>> {
        self.read_with(move |conn| reader::delivery(conn, delivery))
    }

    fn dead_letters(&self, filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>> {
        self.read_with(move |conn| reader::dead_letters(conn, &filter, &list))
    }

    fn count_dead_letters(&self, filter: DeadFilter) -> StoreResult<'_, u64> {
        self.read_with(move |conn| reader::count_dead_letters(conn, &filter))
    }

    fn endpoint(&self, endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        self.look_with(move |conn| reader::endpoint(conn, endpoint))
    }

    fn endpoint_at(&self, url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        let url = url.clone();
        self.look_with(move |conn| reader::endpoint_at(conn, &url))
    }

    fn endpoints(&self, list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>> {
        self.read_with(move |conn| reader::endpoints(conn, &list))
    }

    fn counters(&self) -> StoreResult<'_, Counters> {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = healthy(&self.poison).map(|()| shown);
        Box::pin(std::future::ready(counters))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Threads that read lists and pages, so that a long one does not hold up everyone.
const READERS: usize = 2;
