//! Jobs that somebody follows: their logs in memory, and how a new event
//! reaches those who wait for it.
//!
//! **Cast.** A [`LiveJob`] exists while a job has a subscription. It holds the
//! job's log ([`FollowedLog`]), filled by reading the store, and the wakers of
//! readers that have seen all of it.
//!
//! **Flow.** A reader attaches (from then on every published event reaches the
//! live log), then the log is filled from the store, page by page, by one of those
//! who wait for it; if that one goes away, the next goes on where it was. A jump
//! in what is published is read before it is shown. A reader that finds nothing
//! new leaves its waker under the same lock that a publisher pushes under, so no
//! wake-up slips between looking and waiting.
//!
//! **Bounds.** Logs occupy so many bytes together, and no more: beyond that they let go
//! of what all of their readers have passed, which is read again should another reader
//! come; and while what is left is still too much, none does.
//!
//! **Guarantees.** No queue per reader: a slow one costs its position and its
//! waker. A job that was forgotten is never shown to who follows another one that
//! has begun under its id: its live job leaves the map before that one's first
//! event or token is known to anyone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use notify_core::log::{Ask, Cursor, FollowedLog, JobLog, Start};
use notify_core::store::StoreError;
use notify_core::{Archive, Epoch, EventRecord, JobId};

/// All jobs with a subscription.
#[derive(Debug)]
pub(crate) struct LiveJobs {
    followed: Mutex<Followed>,
    subscriptions_max: usize,
    bytes_max: usize,
    progress_events_max: usize,
}

#[derive(Debug, Default)]
struct Followed {
    jobs: HashMap<JobId, Arc<LiveJob>>,
    readers: usize,
    /// What the logs of these jobs occupy.
    bytes: usize,
    /// What they occupied when all had let go of what they could.
    bytes_needed: usize,
    closed: bool,
}

impl LiveJobs {
    pub(crate) fn new(
        subscriptions_max: usize,
        bytes_max: usize,
        progress_events_max: usize,
    ) -> Self {
        Self {
            followed: Mutex::default(),
            subscriptions_max,
            bytes_max,
            progress_events_max,
        }
    }

    /// Counts a reader in. `None` if there are too many, or too much for them to read.
    /// With it the live job, if that has to be read anew for all of its readers.
    pub(crate) fn attach(self: &Arc<Self>, job: &JobId) -> Option<(Reader, Option<Arc<LiveJob>>)> {
        let mut followed = lock(&self.followed);
        if followed.readers >= self.subscriptions_max {
            return None;
        }
        if followed.bytes > self.bytes_max {
            followed.let_go();
            if followed.bytes > self.bytes_max {
                return None;
            }
        }
        followed.readers += 1;
        let closed = followed.closed;
        let live = followed.jobs.entry(job.clone()).or_insert_with(|| {
            Arc::new(LiveJob {
                state: Mutex::new(LiveState::new(self.progress_events_max, closed)),
                filling: tokio::sync::Mutex::default(),
            })
        });
        let live = Arc::clone(live);
        let mut state = live.lock();
        let before = state.log.memory_bytes();
        let key = state.add_reader();
        let begins_anew = state.log.handle_reader();
        followed.count(before, state.log.memory_bytes());
        drop(state);
        let behind = begins_anew.then(|| Arc::clone(&live));
        let reader = Reader {
            jobs: Arc::clone(self),
            job: job.clone(),
            live,
            key,
        };
        Some((reader, behind))
    }

    /// Makes an event known to whoever follows its job. The live job, if it has to
    /// be read on before its readers can be shown anything more.
    pub(crate) fn publish(&self, job: &JobId, record: &EventRecord) -> Option<Arc<LiveJob>> {
        let live = lock(&self.followed).jobs.get(job).cloned()?;
        let mut is_behind = false;
        self.tell(job, &live, |log| {
            let was_whole = log.is_whole();
            log.handle_published(record);
            is_behind = was_whole && log.poll_read().is_some();
        });
        is_behind.then_some(live)
    }

    /// Makes known that the job is of this incarnation.
    pub(crate) fn begins(&self, job: &JobId, epoch: Epoch) {
        let live = lock(&self.followed).jobs.get(job).cloned();
        if let Some(live) = live {
            self.tell(job, &live, |log| log.handle_epoch(epoch));
        }
    }

    /// Reads what is missing of a live job's log. At any time one does so for all;
    /// once it returns without an error the log is whole, or over.
    ///
    /// # Cancel safety
    /// Whoever waits for this too goes on where it was dropped.
    pub(crate) async fn fill(
        &self,
        job: &JobId,
        live: &Arc<LiveJob>,
        archive: &dyn Archive,
    ) -> Result<(), StoreError> {
        let _alone = live.filling.lock().await;
        while let Some(ask) = live.poll_read() {
            let page = archive.read(job, ask.after, PAGE_EVENTS_MAX).await?;
            self.tell(job, live, |log| log.handle_page(ask, page));
        }
        Ok(())
    }

    /// Changes a live log. One that is over then leaves the map: whoever reads it
    /// reads what it has, and the next reader begins with the new one.
    fn tell(&self, job: &JobId, live: &Arc<LiveJob>, tell: impl FnOnce(&mut FollowedLog)) {
        // Held so that nobody attaches to what is about to leave.
        let mut followed = lock(&self.followed);
        let mut woken = Vec::new();
        let mut bytes = [0; 2];
        live.change_quietly(&mut woken, |state| {
            bytes[0] = state.log.memory_bytes();
            tell(&mut state.log);
            bytes[1] = state.log.memory_bytes();
        });
        if followed.has(job, live) {
            followed.count(bytes[0], bytes[1]);
        }
        if live.lock().log.is_over() {
            followed.remove(job, live);
        }
        // Not for each event, where there is little to let go of.
        let needed = followed.bytes_needed.saturating_add(self.bytes_max / 8);
        if followed.bytes > self.bytes_max.max(needed) {
            followed.let_go();
        }
        drop(followed);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends the subscriptions of a job that was deleted.
    pub(crate) fn deleted(&self, job: &JobId) {
        let live = lock(&self.followed).jobs.get(job).cloned();
        if let Some(live) = live {
            self.tell(job, &live, FollowedLog::handle_deleted);
        }
    }

    /// Ends the subscriptions that are bound to the job's old token.
    pub(crate) fn token_replaced(&self, job: &JobId) {
        let live = lock(&self.followed).jobs.get(job).cloned();
        if let Some(live) = live {
            live.change(|state| state.token_generation += 1);
        }
    }

    /// Ends every subscription, those yet to come included.
    pub(crate) fn close(&self) {
        let mut followed = lock(&self.followed);
        followed.closed = true;
        let all: Vec<_> = followed.jobs.values().cloned().collect();
        drop(followed);
        for live in all {
            live.change(|state| state.closed = true);
        }
    }

    /// What the logs occupy.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.followed).bytes
    }

    /// How many unfinished jobs have a subscription.
    pub(crate) fn unfinished(&self) -> usize {
        let followed = lock(&self.followed);
        followed
            .jobs
            .values()
            .filter(|live| !live.lock().is_finished())
            .count()
    }
}

impl Followed {
    fn has(&self, job: &JobId, live: &Arc<LiveJob>) -> bool {
        let known = self.jobs.get(job);
        known.is_some_and(|known| Arc::ptr_eq(known, live))
    }

    fn remove(&mut self, job: &JobId, live: &Arc<LiveJob>) {
        if self.has(job, live) {
            self.jobs.remove(job);
            self.count(live.lock().log.memory_bytes(), 0);
        }
    }

    /// A log that occupied `before` occupies `now`.
    fn count(&mut self, before: usize, now: usize) {
        self.bytes = self.bytes.saturating_sub(before) + now;
    }

    /// Every log lets go of what all of its readers have passed.
    fn let_go(&mut self) {
        self.bytes = 0;
        for live in self.jobs.values() {
            let mut state = live.lock();
            let passed = state.passed.values().copied().min();
            state.log.let_go(passed.unwrap_or_default());
            self.bytes += state.log.memory_bytes();
        }
        self.bytes_needed = self.bytes;
    }
}

/// The most events that are read at once.
const PAGE_EVENTS_MAX: usize = 256;

/// One job that somebody follows.
#[derive(Debug)]
pub(crate) struct LiveJob {
    state: Mutex<LiveState>,
    /// Whoever reads the store for it; the others wait here.
    filling: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct LiveState {
    log: FollowedLog,
    closed: bool,
    token_generation: u64,
    readers: usize,
    next_key: u64,
    /// How far each reader has come.
    passed: HashMap<u64, u64>,
    waiting: HashMap<u64, Waker>,
}

impl LiveJob {
    fn lock(&self) -> MutexGuard<'_, LiveState> {
        lock(&self.state)
    }

    fn poll_read(&self) -> Option<Ask> {
        self.lock().log.poll_read()
    }

    /// Whether nobody would see what is read.
    pub(crate) fn is_left(&self) -> bool {
        let state = self.lock();
        state.readers == 0 || state.closed
    }

    /// Changes the state and wakes everyone who waits for a change.
    fn change(&self, change: impl FnOnce(&mut LiveState)) {
        let mut woken = Vec::new();
        self.change_quietly(&mut woken, change);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Changes the state, and leaves it to the caller to wake everyone.
    fn change_quietly(&self, woken: &mut Vec<Waker>, change: impl FnOnce(&mut LiveState)) {
        let mut state = self.lock();
        change(&mut state);
        woken.extend(state.waiting.drain().map(|(_, waker)| waker));
    }
}

impl LiveState {
    fn new(progress_events_max: usize, closed: bool) -> Self {
        Self {
            log: FollowedLog::new(progress_events_max),
            closed,
            token_generation: 0,
            readers: 0,
            next_key: 0,
            passed: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    fn add_reader(&mut self) -> u64 {
        self.readers += 1;
        self.next_key += 1;
        self.passed.insert(self.next_key, 0);
        self.next_key
    }

    fn is_finished(&self) -> bool {
        self.log.log().is_some_and(JobLog::is_finished)
    }
}

/// One reader's hold on a live job; counted out when dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    jobs: Arc<LiveJobs>,
    job: JobId,
    live: Arc<LiveJob>,
    key: u64,
}

/// What a reader finds at its position.
pub(crate) enum Next {
    Record(EventRecord),
    /// Nothing yet; the waker is called when there is.
    Wait,
    Ended(EndReason),
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The job's terminal event was the last one.
    Terminal,
    /// The token that it was opened with was replaced.
    TokenReplaced,
    /// The notifier is shutting down.
    Shutdown,
    /// The job was deleted, or it was forgotten and another one has begun under its id.
    Forgotten,
}

impl Reader {
    /// Waits until the log is whole, reading it if nobody else does. `false` if it
    /// is over: then this is not the job's log any more.
    pub(crate) async fn filled(&self, archive: &dyn Archive) -> Result<bool, StoreError> {
        self.jobs.fill(&self.job, &self.live, archive).await?;
        Ok(!self.live.lock().log.is_over())
    }

    /// The position for `start`; `Err` if it is no position in the job's log.
    pub(crate) fn position(&self, start: Start) -> Result<Cursor, notify_core::log::Gap> {
        let mut state = self.live.lock();
        let cursor = match (state.log.log(), start) {
            (Some(log), start) => log.position(start),
            (None, Start::After(_)) => Err(notify_core::log::Gap),
            (None, _) => Ok(Cursor::default()),
        }?;
        state.passed.insert(self.key, cursor.sequence());
        Ok(cursor)
    }

    pub(crate) fn token_generation(&self) -> u64 {
        self.live.lock().token_generation
    }

    /// Whether a reader at `cursor` has seen all there will ever be.
    pub(crate) fn is_at_end(&self, cursor: Cursor) -> bool {
        let state = self.live.lock();
        let log = state.log.log();
        log.is_some_and(|log| log.is_finished() && log.next_after(cursor).is_none())
    }

    /// Reads at `cursor` and moves it; `bound_to` is the token generation that
    /// the reader depends on.
    pub(crate) fn next(&self, cursor: &mut Cursor, bound_to: Option<u64>, waker: &Waker) -> Next {
        let mut state = self.live.lock();
        if bound_to.is_some_and(|generation| generation != state.token_generation) {
            return Next::Ended(EndReason::TokenReplaced);
        }
        if let Some(log) = state.log.log() {
            if let Some(record) = log.next_after(*cursor) {
                cursor.pass(record);
                let record = record.clone();
                state.passed.insert(self.key, cursor.sequence());
                return Next::Record(record);
            }
            if log.is_finished() {
                return Next::Ended(EndReason::Terminal);
            }
        }
        if state.closed {
            return Next::Ended(EndReason::Shutdown);
        }
        if state.log.is_over() {
            return Next::Ended(EndReason::Forgotten);
        }
        match state.waiting.get_mut(&self.key) {
            Some(waiting) => waiting.clone_from(waker),
            None => drop(state.waiting.insert(self.key, waker.clone())),
        }
        Next::Wait
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The lock on the map is held, so that no reader can attach to a live
        // job that is about to leave it.
        let mut followed = lock(&self.jobs.followed);
        let mut state = self.live.lock();
        state.waiting.remove(&self.key);
        state.passed.remove(&self.key);
        state.readers -= 1;
        let last = state.readers == 0;
        drop(state);
        followed.readers -= 1;
        if last {
            followed.remove(&self.job, &self.live);
        }
    }
}

/// A poisoned lock only means that another thread has panicked; the data behind
/// these locks is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
