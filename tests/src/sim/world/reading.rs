//! Readers of streams: they come with a cursor, read a little, and go.

use notify_core::log::{Cursor, Gap, JobLog, Start};
use notify_core::store::Archive;
use notify_core::{Epoch, EventId, JobId};

use super::World;
use crate::sim::agenda::Step;
use crate::sim::audit::Invariant;
use crate::sim::sabotage::Sabotage;
use crate::sim::store::at_once;

/// A customer's client: it remembers the last id, and nothing else.
#[derive(Debug)]
pub(super) struct Reader {
    job: JobId,
    last: Option<EventId>,
    /// While it is connected: the log as the process has it, and the position.
    open: Option<(JobLog, Cursor)>,
}

impl Reader {
    pub(super) fn of(job: JobId) -> Self {
        Self {
            job,
            last: None,
            open: None,
        }
    }
}

impl World {
    pub(super) fn read(&mut self) {
        if self.healing {
            return;
        }
        for index in 0..self.readers.len() {
            if self.rng.percent(30) {
                self.readers
                    .iter_mut()
                    .skip(index)
                    .take(1)
                    .for_each(|reader| reader.open = None);
            }
            if self.rng.percent(60) && self.process.is_some() {
                let most = self.rng.between(1, 6);
                self.read_some(index, most);
            }
        }
        let after = self.rng.between(20, 600) * self.plan.slowness.min(10);
        self.agenda.plan(after, Step::Read);
    }

    /// One reader reads at most so many events.
    fn read_some(&mut self, index: usize, most: u64) {
        let Some(reader) = self.readers.get_mut(index) else {
            return;
        };
        let job = reader.job.clone();
        let after = reader.open.as_ref().map_or(0, |(log, _)| log.head());
        let fails = !self.healing && self.rng.percent(8);
        self.figures.failed_reads += u64::from(fails);
        let skips = fails && self.sabotage == Sabotage::TakeFailedReadsForEmpty;
        if fails && !skips {
            // He is told to come again, and has read nothing.
            reader.open = None;
            return;
        }
        let page = at_once(self.store.memory().read(&job, after, usize::MAX));
        let Some(page) = page.ok().flatten() else {
            reader.open = None;
            return;
        };
        // A job that was forgotten and began anew closes the stream.
        let epoch = page.head.epoch;
        let connected = reader.open.take().filter(|(log, _)| log.epoch() == epoch);
        let (mut log, cursor) = match connected {
            Some((log, cursor)) => (log, Some(cursor)),
            None if after > 0 => return,
            None => (
                JobLog::new(epoch, self.plan.memory.progress_events_max),
                None,
            ),
        };
        page.events.into_iter().for_each(|record| log.push(record));
        let mut last = reader.last;
        let cursor = match skips {
            true => log.position(Start::Latest).ok(),
            false => cursor,
        };
        let mut cursor = match cursor {
            Some(cursor) => cursor,
            None => match self.connect(&log, last) {
                Some(cursor) => cursor,
                None => {
                    // The gap block: the client begins afresh.
                    last = None;
                    log.position(Start::Fresh).unwrap_or_default()
                }
            },
        };
        for _ in 0..most {
            let Some(record) = log.next_after(cursor) else {
                break;
            };
            cursor.pass(record);
            let id = record.id();
            self.check_read(&job, last, id);
            last = Some(id);
        }
        if let Some(reader) = self.readers.get_mut(index) {
            reader.last = last;
            reader.open = Some((log, cursor));
        }
    }

    /// A connection begins; `None` if the client must be told of a gap.
    fn connect(&mut self, log: &JobLog, last: Option<EventId>) -> Option<Cursor> {
        let future = EventId::new(log.epoch(), log.head() + 1);
        let foreign = EventId::new(Epoch::from_random(self.rng.wide()), 1);
        for wrong in [future, foreign] {
            let refused = log.position(Start::After(wrong)) == Err(Gap);
            self.audit.check(refused, Invariant::I8, || {
                format!("{wrong} is taken for a cursor")
            });
        }
        if self.sabotage == Sabotage::SkipOnReconnect && last.is_some() {
            return log.position(Start::Latest).ok();
        }
        let start = last.map_or(Start::Fresh, Start::After);
        let position = log.position(start);
        let other_epoch = last.is_some_and(|last| last.epoch() != log.epoch());
        self.audit
            .check(position.is_ok() || other_epoch, Invariant::I8, || {
                format!("{last:?} is refused, though it was sent")
            });
        position.ok()
    }

    /// Ids only rise, and no lifecycle event is missed.
    fn check_read(&mut self, job: &JobId, last: Option<EventId>, id: EventId) {
        let after = last.map_or(0, EventId::sequence);
        let same = last.is_none_or(|last| last.epoch() == id.epoch());
        let missed = match self.audit.jobs.get(job) {
            Some(model) if model.epoch == id.epoch() => model.missed(after, id.sequence()),
            _ => Some(id.sequence()),
        };
        let rises = id.sequence() > after;
        self.audit
            .check(rises && same && missed.is_none(), Invariant::I8, || {
                format!("{job}: a reader got {id} after {last:?} and missed {missed:?}")
            });
    }

    /// The process is gone, and every connection with it.
    pub(super) fn close_readers(&mut self) {
        for reader in &mut self.readers {
            reader.open = None;
        }
    }

    /// Every reader reads to the end.
    pub(super) fn finish_reading(&mut self) {
        for index in 0..self.readers.len() {
            // Twice: a stream that closed because its job began anew is opened again.
            for _ in 0..2 {
                self.read_some(index, u64::MAX);
            }
            let Some(reader) = self.readers.get(index) else {
                continue;
            };
            let (job, last) = (reader.job.clone(), reader.last);
            let after = last.map_or(0, EventId::sequence);
            let model = self.audit.jobs.get(&job);
            let missed = model.and_then(|model| model.missed(after, model.head() + 1));
            self.audit.check(missed.is_none(), Invariant::I8, || {
                format!("{job}: a reader ended at {last:?} and missed {missed:?}")
            });
        }
    }
}
