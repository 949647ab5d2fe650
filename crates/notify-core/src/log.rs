//! One job's log as every reader sees it: all lifecycle events, a short ring of
//! progress, and cursors that are plain positions.
//!
//! A reader is no queue. It asks for what comes after its position whenever it
//! is ready for more, so a slow reader costs nothing, progress conflates by
//! itself, and the terminal event can't be lost: nothing evicts it.

mod followed;

use std::collections::VecDeque;

use crate::event::EventRecord;
use crate::id::{Epoch, EventId};
use crate::job::EventKind;

pub use followed::{Ask, FollowedLog};

/// The events of one job that are kept, in order.
#[derive(Clone, Debug)]
pub struct JobLog {
    epoch: Epoch,
    head: u64,
    finished: bool,
    lifecycle: Vec<EventRecord>,
    progress: VecDeque<EventRecord>,
    progress_events_max: usize,
    bytes: usize,
    /// What came up to this sequence is not all here.
    gone_to: u64,
}

impl JobLog {
    /// An empty log that keeps the newest `progress_events_max` (at least one)
    /// progress events.
    pub fn new(epoch: Epoch, progress_events_max: usize) -> Self {
        Self {
            epoch,
            head: 0,
            finished: false,
            lifecycle: Vec::new(),
            progress: VecDeque::new(),
            progress_events_max: progress_events_max.max(1),
            bytes: size_of::<Self>(),
            gone_to: 0,
        }
    }

    /// Appends a record. One that is not newer than the head is ignored, so a
    /// log may be filled from a store and from live events that overlap.
    pub fn push(&mut self, record: EventRecord) {
        if record.sequence() <= self.head {
            return;
        }
        self.head = record.sequence();
        self.bytes += record.memory_bytes();
        match record.kind() {
            EventKind::Progress => {
                self.progress.push_back(record);
                self.keep_progress(self.progress_events_max);
            }
            EventKind::Lifecycle => self.lifecycle.push(record),
            EventKind::Terminal => {
                self.finished = true;
                self.lifecycle.push(record);
                self.keep_progress(1);
                self.progress.shrink_to_fit();
                self.lifecycle.shrink_to_fit();
            }
        }
    }

    /// Which incarnation of the job's log this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest event's sequence; 0 before the first.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Whether the terminal event is in.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The newest event.
    pub fn last(&self) -> Option<&EventRecord> {
        self.next_after(Cursor {
            after: self.head.saturating_sub(1),
            progress_from: 0,
        })
    }

    /// The position for a reader that begins at `start`.
    ///
    /// # Errors
    /// [`Gap`] if `start` is a cursor into another incarnation of the log or
    /// into its future; such a reader is told so and begins afresh.
    pub fn position(&self, start: Start) -> Result<Cursor, Gap> {
        match start {
            Start::Fresh => Ok(Cursor {
                after: 0,
                progress_from: self.progress.back().map_or(0, EventRecord::sequence),
            }),
            Start::Latest => Ok(Cursor {
                after: self.head.saturating_sub(1),
                progress_from: 0,
            }),
            Start::After(id) if id.epoch() == self.epoch && id.sequence() <= self.head => {
                Ok(Cursor {
                    after: id.sequence(),
                    progress_from: 0,
                })
            }
            Start::After(_) => Err(Gap),
        }
    }

    /// The next event for a reader at `cursor`, if there is one yet.
    pub fn next_after(&self, cursor: Cursor) -> Option<&EventRecord> {
        let lifecycle = self.lifecycle.get(
            self.lifecycle
                .partition_point(|record| record.sequence() <= cursor.after),
        );
        let progress = self.progress.get(self.progress.partition_point(|record| {
            record.sequence() <= cursor.after || record.sequence() < cursor.progress_from
        }));
        match (lifecycle, progress) {
            (Some(a), Some(b)) => Some(if a.sequence() < b.sequence() { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Every kept event, in order.
    pub fn records(&self) -> impl Iterator<Item = &EventRecord> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(move || {
            let record = self.next_after(cursor)?;
            cursor.pass(record);
            Some(record)
        })
    }

    /// What the log occupies in memory, roughly, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of what came up to the sequence `passed`, which every reader has passed;
    /// the newest event stays. Who begins before that then needs another log.
    pub fn let_go(&mut self, passed: u64) {
        let passed = passed.min(self.head.saturating_sub(1));
        let is_passed = |record: &EventRecord| record.sequence() <= passed;
        let lifecycle = self.lifecycle.partition_point(is_passed);
        let progress = self.progress.partition_point(is_passed);
        let gone = self.lifecycle.drain(..lifecycle);
        let gone = gone.chain(self.progress.drain(..progress));
        let (mut last, mut bytes) = (self.gone_to, 0);
        for record in gone {
            last = last.max(record.sequence());
            bytes += record.memory_bytes();
        }
        (self.gone_to, self.bytes) = (last, self.bytes - bytes);
        self.lifecycle.shrink_to_fit();
    }

    /// Whether some of it was [let go](Self::let_go).
    pub fn is_cut(&self) -> bool {
        self.gone_to > 0
    }

    fn keep_progress(&mut self, newest: usize) {
        let outdated = self.progress.len().saturating_sub(newest);
        for record in self.progress.drain(..outdated) {
            self.bytes -= record.memory_bytes();
        }
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All lifecycle events and the newest progress, then live.
    Fresh,
    /// The newest event, then live.
    Latest,
    /// What came after this event.
    After(EventId),
}

/// A reader's position in a [`JobLog`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    after: u64,
    progress_from: u64,
}

impl Cursor {
    /// Moves past `record`.
    pub fn pass(&mut self, record: &EventRecord) {
        self.after = record.sequence();
    }

    /// The sequence of the last event that was passed; 0 before the first.
    pub fn sequence(self) -> u64 {
        self.after
    }
}

/// The cursor is no position in this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{EventLimits, JobEvent};
    use crate::job::{JobHead, JobStatus};

    fn epoch() -> Epoch {
        Epoch::from_random(5)
    }

    /// A log of these statuses, and the list of all records ever pushed.
    fn build(statuses: &[JobStatus], progress_events_max: usize) -> (JobLog, Vec<EventRecord>) {
        let mut head = JobHead::new(epoch());
        let mut log = JobLog::new(epoch(), progress_events_max);
        let mut all = Vec::new();
        for &status in statuses {
            let Ok(accepted) = head.accept(status) else {
                break;
            };
            head = accepted.head;
            let draft = JobEvent {
                status,
                ..JobEvent::default()
            };
            let draft = draft.draft(1, EventLimits::default()).unwrap();
            let record = EventRecord::new(accepted.id, accepted.kind, &draft);
            log.push(record.clone());
            all.push(record);
        }
        (log, all)
    }

    fn read(log: &JobLog, start: Start) -> Vec<u64> {
        let mut cursor = log.position(start).unwrap();
        let mut ids = Vec::new();
        while let Some(record) = log.next_after(cursor) {
            cursor.pass(record);
            ids.push(record.sequence());
        }
        ids
    }

    /// The naive model: filter the list of everything.
    fn kept(all: &[EventRecord], progress_events_max: usize) -> Vec<&EventRecord> {
        let finished = all
            .last()
            .is_some_and(|record| record.kind() == EventKind::Terminal);
        let ring = if finished { 1 } else { progress_events_max };
        let progress: Vec<u64> = all
            .iter()
            .filter(|record| record.kind() == EventKind::Progress)
            .map(EventRecord::sequence)
            .collect();
        let oldest = progress.iter().rev().take(ring).min().copied().unwrap_or(0);
        all.iter()
            .filter(|record| record.kind() != EventKind::Progress || record.sequence() >= oldest)
            .collect()
    }

    #[test]
    fn a_fresh_reader_gets_lifecycle_and_the_newest_progress() {
        use JobStatus::{Completed, Processing, Queued};
        let (log, _) = build(
            &[Queued, Processing, Processing, Processing, Processing],
            16,
        );
        assert_eq!(read(&log, Start::Fresh), [1, 2, 5]);
        assert_eq!(read(&log, Start::Latest), [5]);
        let (log, _) = build(&[Queued, Processing, Processing, Processing, Completed], 16);
        assert_eq!(read(&log, Start::Fresh), [1, 2, 4, 5]);
        assert_eq!(log.records().count(), 4);
    }

    #[test]
    fn a_foreign_or_future_cursor_is_a_gap() {
        let (log, all) = build(&[JobStatus::Queued, JobStatus::Processing], 16);
        let foreign = EventId::new(Epoch::from_random(6), 1);
        assert_eq!(log.position(Start::After(foreign)), Err(Gap));
        let future = EventId::new(epoch(), 3);
        assert_eq!(log.position(Start::After(future)), Err(Gap));
        assert_eq!(read(&log, Start::After(all[1].id())), Vec::<u64>::new());
    }

    proptest! {
        #[test]
        fn every_start_agrees_with_a_filtered_list(
            statuses in proptest::collection::vec(proptest::sample::select(vec![
                JobStatus::Queued, JobStatus::Processing, JobStatus::Processing,
                JobStatus::Processing, JobStatus::Completed]), 0..40),
            ring in 1usize..5,
            after in 0usize..40,
        ) {
            let (log, all) = build(&statuses, ring);
            let kept = kept(&all, ring);
            let bytes: usize = kept.iter().map(|record| record.memory_bytes()).sum();
            prop_assert_eq!(log.memory_bytes(), size_of::<JobLog>() + bytes);
            let sequences = |records: &[&EventRecord]| -> Vec<u64> {
                records.iter().map(|record| record.sequence()).collect()
            };
            prop_assert_eq!(log.records().map(EventRecord::sequence).collect::<Vec<_>>(), sequences(&kept));

            let newest_progress = kept.iter().rev().find(|record| record.kind() == EventKind::Progress);
            let fresh: Vec<&EventRecord> = kept.iter().copied().filter(|record| {
                record.kind() != EventKind::Progress || Some(&record) == newest_progress.as_ref()
            }).collect();
            prop_assert_eq!(read(&log, Start::Fresh), sequences(&fresh));

            let latest: Vec<u64> = all.last().map(EventRecord::sequence).into_iter().collect();
            prop_assert_eq!(read(&log, Start::Latest), latest);

            if let Some(cursor) = all.get(after) {
                let later: Vec<&EventRecord> = kept.iter().copied()
                    .filter(|record| record.sequence() > cursor.sequence()).collect();
                prop_assert_eq!(read(&log, Start::After(cursor.id())), sequences(&later));
            }
        }

        #[test]
        fn filling_twice_changes_nothing(split in 0usize..8) {
            let statuses = [JobStatus::Queued, JobStatus::Processing, JobStatus::Processing, JobStatus::Queued,
                JobStatus::Processing, JobStatus::Processing, JobStatus::Failed];
            let (log, all) = build(&statuses, 16);
            let mut refilled = JobLog::new(epoch(), 16);
            for record in all.iter().take(split).chain(&all) {
                refilled.push(record.clone());
            }
            prop_assert_eq!(refilled.records().collect::<Vec<_>>(), log.records().collect::<Vec<_>>());
        }
    }
}
