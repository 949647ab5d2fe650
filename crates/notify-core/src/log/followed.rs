//! A job's log as it is followed: read from a store page by page, joined by what
//! is published meanwhile.
//!
//! Whoever drives it reads whenever [`poll_read`](FollowedLog::poll_read) says so,
//! and hands in the page; a publication may come at any moment in between. A jump
//! in what is published, 5 and then 7, is no reason to skip 6: the log is read on
//! before 7 is shown. A store keeps no old progress, so a jump within what it says
//! is one that may be.
//!
//! An id may outlive its job: the job is forgotten, and another begins under it.
//! Its log is another incarnation's, and is never joined to the first one's.

use super::JobLog;
use crate::event::EventRecord;
use crate::id::Epoch;
use crate::store::Page;

/// A job's log that is being followed. How, the module says.
#[derive(Debug)]
pub struct FollowedLog {
    progress_events_max: usize,
    /// The incarnation that was last heard of.
    epoch: Option<Epoch>,
    log: Option<JobLog>,
    /// What was published since there is something to read: no jump within.
    ahead: Option<Run>,
    state: State,
}

#[derive(Debug)]
struct Run {
    from: u64,
    log: JobLog,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is something to read; nobody has been shown anything.
    New,
    /// All that there is.
    Whole,
    /// There is something to read; what there is has been shown.
    Behind,
    /// The job is no more, or another incarnation has begun and this one has been shown.
    Over,
}

/// What is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Events after this sequence.
    pub after: u64,
    /// What was known when it was asked.
    epoch: Option<Epoch>,
    ahead: Option<u64>,
}

impl FollowedLog {
    /// A log of which nothing is known, to keep the newest `progress_events_max`
    /// progress events.
    pub fn new(progress_events_max: usize) -> Self {
        Self {
            progress_events_max,
            epoch: None,
            log: None,
            ahead: None,
            state: State::New,
        }
    }

    /// What may be shown, once it was whole; `None` if the job has no event.
    pub fn log(&self) -> Option<&JobLog> {
        self.log.as_ref()
    }

    /// Whether there is nothing to read.
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// Whether the job is no more: whatever comes under its id is another one's log.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What it occupies in memory, roughly, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let ahead = self.ahead.as_ref().map(|run| &run.log);
        let logs = self.log.iter().chain(ahead);
        logs.map(JobLog::memory_bytes).sum()
    }

    /// Lets go of what every reader has passed ([`JobLog::let_go`]).
    pub fn let_go(&mut self, passed: u64) {
        if let Some(log) = self.log.as_mut().filter(|_| self.state == State::Whole) {
            log.let_go(passed);
        }
    }

    /// Another reader comes: what was let go is to be read again, from the beginning.
    /// Those who are here already go on once it has been. Whether it begins anew.
    pub fn handle_reader(&mut self) -> bool {
        let Some(log) = self.log.as_mut().filter(|log| log.is_cut()) else {
            return false;
        };
        *log = JobLog::new(log.epoch(), self.progress_events_max);
        if self.state == State::Whole {
            self.state = State::Behind;
        }
        true
    }

    /// The job is of this incarnation: it was registered.
    pub fn handle_epoch(&mut self, epoch: Epoch) {
        if self.epoch.replace(epoch).is_none_or(|known| known == epoch) {
            return;
        }
        self.log = self.log.take().filter(|_| self.state != State::New);
        self.ahead = None;
        if self.state != State::New {
            self.state = State::Over;
        }
    }

    /// The job was deleted.
    pub fn handle_deleted(&mut self) {
        self.ahead = None;
        self.state = State::Over;
    }

    /// An event was published.
    pub fn handle_published(&mut self, record: &EventRecord) {
        self.handle_epoch(record.id().epoch());
        let head = self.head();
        match self.state {
            State::Over => {}
            State::Whole if record.sequence() <= head + 1 => self.push(record.clone()),
            State::Whole => {
                self.state = State::Behind;
                self.begin_run(record);
            }
            State::New | State::Behind => match &mut self.ahead {
                Some(run) if record.sequence() <= run.log.head() + 1 => {
                    run.log.push(record.clone());
                }
                _ => self.begin_run(record),
            },
        }
    }

    /// What to read next, if there is something.
    pub fn poll_read(&self) -> Option<Ask> {
        matches!(self.state, State::New | State::Behind).then(|| Ask {
            after: self.head(),
            epoch: self.epoch,
            ahead: self.ahead.as_ref().map(|run| run.from),
        })
    }

    /// What was asked for has been read; `None` if the store knows no such job.
    pub fn handle_page(&mut self, ask: Ask, page: Option<Page>) {
        if self.poll_read().is_none() || ask.after != self.head() {
            return;
        }
        // What was heard of while the store was read may not have been seen by it.
        let is_current = ask.epoch == self.epoch;
        let Some(page) = page else {
            if is_current && self.state == State::New {
                self.forget();
                self.state = State::Whole;
            } else if is_current {
                self.state = State::Over;
            }
            return;
        };
        if self.epoch.is_some_and(|epoch| epoch != page.head.epoch) {
            if is_current {
                self.forget();
                self.epoch = Some(page.head.epoch);
            }
            return;
        }
        self.epoch = Some(page.head.epoch);
        let last = page.events.last().map(EventRecord::sequence);
        page.events.into_iter().for_each(|record| self.push(record));
        let is_last = last.is_none_or(|last| last >= page.head.sequence);
        let head = self.head();
        let joins = |run: &Run| run.from <= head + 1 || ask.ahead == Some(run.from);
        if is_last && self.ahead.as_ref().is_none_or(joins) {
            if let Some(run) = self.ahead.take() {
                run.log
                    .records()
                    .for_each(|record| self.push(record.clone()));
            }
            self.state = State::Whole;
        }
    }

    /// The job is not the one that was heard of.
    fn forget(&mut self) {
        if self.state == State::New {
            *self = Self::new(self.progress_events_max);
        } else {
            self.state = State::Over;
        }
    }

    fn head(&self) -> u64 {
        self.log.as_ref().map_or(0, JobLog::head)
    }

    fn push(&mut self, record: EventRecord) {
        let log = || JobLog::new(record.id().epoch(), self.progress_events_max);
        self.log.get_or_insert_with(log).push(record);
    }

    fn begin_run(&mut self, record: &EventRecord) {
        let mut log = JobLog::new(record.id().epoch(), self.progress_events_max);
        log.push(record.clone());
        let from = record.sequence();
        self.ahead = Some(Run { from, log });
    }
}

#[cfg(test)]
mod tests;
