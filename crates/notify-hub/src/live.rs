//! Jobs that somebody follows: their logs in memory, and how a new event
//! reaches those who wait for it.
//!
//! **Cast.** A [`LiveJob`] exists while a job has a subscription. It holds the
//! job's log, filled by reading the store, and the wakers of readers that have
//! seen all of it.
//!
//! **Flow.** A reader attaches (from then on every published event reaches the
//! live log), then the log is filled from the store. What is both read and
//! published is kept once, by its sequence. A reader that finds nothing new
//! leaves its waker under the same lock that a publisher pushes under, so no
//! wake-up slips between looking and waiting.
//!
//! **Guarantees.** No queue per reader: a slow one costs its position and its
//! waker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use notify_core::log::{Cursor, JobLog, Start};
use notify_core::store::Page;
use notify_core::{EventRecord, JobId};

/// All jobs with a subscription.
#[derive(Debug)]
pub(crate) struct LiveJobs {
    followed: Mutex<Followed>,
    subscriptions_max: usize,
    progress_events_max: usize,
}

#[derive(Debug, Default)]
struct Followed {
    jobs: HashMap<JobId, Arc<LiveJob>>,
    readers: usize,
    closed: bool,
}

impl LiveJobs {
    pub(crate) fn new(subscriptions_max: usize, progress_events_max: usize) -> Self {
        Self {
            followed: Mutex::default(),
            subscriptions_max,
            progress_events_max,
        }
    }

    /// Counts a reader in. `None` if there are too many.
    pub(crate) fn attach(self: &Arc<Self>, job: &JobId) -> Option<Reader> {
        let mut followed = lock(&self.followed);
        if followed.readers >= self.subscriptions_max {
            return None;
        }
        followed.readers += 1;
        let closed = followed.closed;
        let live = followed.jobs.entry(job.clone()).or_insert_with(|| {
            Arc::new(LiveJob {
                state: Mutex::new(LiveState {
                    closed,
                    ..LiveState::default()
                }),
                progress_events_max: self.progress_events_max,
            })
        });
        let key = live.lock().add_reader();
        Some(Reader {
            jobs: Arc::clone(self),
            job: job.clone(),
            live: Arc::clone(live),
            key,
        })
    }

    /// Makes an event known to whoever follows its job.
    pub(crate) fn publish(&self, job: &JobId, record: &EventRecord) {
        let mut followed = lock(&self.followed);
        let Some(live) = followed.jobs.get(job).cloned() else {
            return;
        };
        if live.lock().is_of_another_epoch(record) {
            // The job was forgotten and begins anew. Whoever still reads the old
            // log reads it to its end; the next reader begins with the new one.
            followed.jobs.remove(job);
            return;
        }
        drop(followed);
        live.publish(record);
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

/// One job that somebody follows.
#[derive(Debug)]
struct LiveJob {
    state: Mutex<LiveState>,
    progress_events_max: usize,
}

#[derive(Debug, Default)]
struct LiveState {
    log: Option<JobLog>,
    filled: bool,
    closed: bool,
    token_generation: u64,
    readers: usize,
    next_key: u64,
    waiting: HashMap<u64, Waker>,
}

impl LiveJob {
    fn lock(&self) -> MutexGuard<'_, LiveState> {
        lock(&self.state)
    }

    fn publish(&self, record: &EventRecord) {
        self.change(|state| {
            let log = || JobLog::new(record.id().epoch(), self.progress_events_max);
            state.log.get_or_insert_with(log).push(record.clone());
        });
    }

    /// Changes the state and wakes everyone who waits for a change.
    fn change(&self, change: impl FnOnce(&mut LiveState)) {
        let mut state = self.lock();
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting.into_values() {
            waker.wake();
        }
    }
}

impl LiveState {
    fn add_reader(&mut self) -> u64 {
        self.readers += 1;
        self.next_key += 1;
        self.next_key
    }

    fn is_of_another_epoch(&self, record: &EventRecord) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.epoch() != record.id().epoch())
    }

    fn is_finished(&self) -> bool {
        self.log.as_ref().is_some_and(JobLog::is_finished)
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
}

impl Reader {
    pub(crate) fn is_filled(&self) -> bool {
        self.live.lock().filled
    }

    /// Fills the live log with what the store has; a job that it does not know
    /// begins empty.
    pub(crate) fn fill(&self, page: Option<Page>) {
        self.live.change(|state| {
            if std::mem::replace(&mut state.filled, true) {
                return;
            }
            let Some(page) = page else { return };
            let mut log = JobLog::new(page.head.epoch, self.live.progress_events_max);
            page.events.into_iter().for_each(|record| log.push(record));
            match &state.log {
                Some(published) if published.epoch() != log.epoch() => return,
                Some(published) => published
                    .records()
                    .for_each(|record| log.push(record.clone())),
                None => {}
            }
            state.log = Some(log);
        });
    }

    /// The position for `start`; `Err` if it is no position in the job's log.
    pub(crate) fn position(&self, start: Start) -> Result<Cursor, notify_core::log::Gap> {
        match (&self.live.lock().log, start) {
            (Some(log), start) => log.position(start),
            (None, Start::After(_)) => Err(notify_core::log::Gap),
            (None, _) => Ok(Cursor::default()),
        }
    }

    pub(crate) fn token_generation(&self) -> u64 {
        self.live.lock().token_generation
    }

    /// Whether a reader at `cursor` has seen all there will ever be.
    pub(crate) fn is_at_end(&self, cursor: Cursor) -> bool {
        let state = self.live.lock();
        state
            .log
            .as_ref()
            .is_some_and(|log| log.is_finished() && log.next_after(cursor).is_none())
    }

    /// Reads at `cursor` and moves it; `bound_to` is the token generation that
    /// the reader depends on.
    pub(crate) fn next(&self, cursor: &mut Cursor, bound_to: Option<u64>, waker: &Waker) -> Next {
        let mut state = self.live.lock();
        if bound_to.is_some_and(|generation| generation != state.token_generation) {
            return Next::Ended(EndReason::TokenReplaced);
        }
        if let Some(log) = &state.log {
            if let Some(record) = log.next_after(*cursor) {
                cursor.pass(record);
                return Next::Record(record.clone());
            }
            if log.is_finished() {
                return Next::Ended(EndReason::Terminal);
            }
        }
        if state.closed {
            return Next::Ended(EndReason::Shutdown);
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
        state.readers -= 1;
        let last = state.readers == 0;
        drop(state);
        followed.readers -= 1;
        let listed = followed.jobs.get(&self.job);
        if last && listed.is_some_and(|listed| Arc::ptr_eq(listed, &self.live)) {
            followed.jobs.remove(&self.job);
        }
    }
}

/// A poisoned lock only means that another thread has panicked; the data behind
/// these locks is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
