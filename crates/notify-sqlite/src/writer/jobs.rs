//! Rows of jobs that were needed lately; changed ones are written at the end of
//! the transaction.

use std::collections::{HashMap, HashSet, VecDeque};

use notify_core::job::JobHead;
use notify_core::{JobId, Timestamp};
use rusqlite::Connection;

use super::Writer;
use crate::error::Fault;
use crate::rows::{EventRow, JobRow};

/// A job's row, and what of its log the next append needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: JobRow,
    /// The sequences of its kept progress, oldest first, once they were needed.
    progress: Option<VecDeque<u64>>,
    stored: bool,
}

impl Job {
    /// The sequences of its kept progress.
    pub(super) fn progress(&mut self, conn: &Connection) -> Result<&mut VecDeque<u64>, Fault> {
        let known = match self.progress.take() {
            Some(known) => known,
            None => EventRow::progress(conn, self.row.number)?.into(),
        };
        Ok(self.progress.insert(known))
    }
}

/// Rows of jobs that were needed lately.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: HashMap<JobId, Job>,
    changed: HashSet<JobId>,
}

impl Jobs {
    /// The job, read if need be.
    pub(super) fn find(
        &mut self,
        conn: &Connection,
        id: &JobId,
    ) -> Result<Option<&mut Job>, Fault> {
        if !self.jobs.contains_key(id)
            && let Some(row) = JobRow::named(conn, id)?
        {
            let job = Job {
                row,
                progress: None,
                stored: true,
            };
            self.jobs.insert(id.clone(), job);
        }
        Ok(self.jobs.get_mut(id))
    }

    /// The job if it is in memory, to be changed.
    pub(super) fn change(&mut self, id: &JobId) -> Option<&mut Job> {
        let job = self.jobs.get_mut(id)?;
        if !self.changed.contains(id) {
            self.changed.insert(id.clone());
        }
        Some(job)
    }

    pub(super) fn add(&mut self, row: JobRow) {
        self.changed.insert(row.id.clone());
        let job = Job {
            progress: Some(VecDeque::new()),
            stored: false,
            row,
        };
        self.jobs.insert(job.row.id.clone(), job);
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        self.jobs.remove(id);
        self.changed.remove(id);
    }

    /// Writes what was changed.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<(), Fault> {
        for id in self.changed.drain() {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            if job.stored {
                job.row.update(conn)?;
            } else {
                job.row.insert(conn)?;
                job.stored = true;
            }
        }
        Ok(())
    }

    /// Keeps the memory bounded, between transactions.
    pub(super) fn forget_some(&mut self) {
        if self.jobs.len() > JOBS_MAX {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        self.changed.clear();
    }
}

impl Writer {
    /// Makes sure that there is such a job.
    pub(super) fn ensure_job(
        &mut self,
        now: Timestamp,
        id: &JobId,
        head: JobHead,
    ) -> Result<(), Fault> {
        if self.jobs.find(&self.conn, id)?.is_some() {
            return Ok(());
        }
        let number = self.next_number();
        self.meta.jobs += 1;
        self.jobs.add(JobRow {
            number,
            id: id.clone(),
            head,
            token: None,
            webhook: None,
            created_at: now,
            updated_at: now,
            ended_at: None,
            deliveries: 0,
        });
        Ok(())
    }

    /// If the job has ended and nothing is pending, its retention begins now.
    pub(super) fn begin_retention(&mut self, now: Timestamp, id: &JobId) -> Result<(), Fault> {
        let Some(job) = self.jobs.find(&self.conn, id)? else {
            return Ok(());
        };
        if job.row.head.is_finished()
            && self.lanes.pending_of(job.row.number) == 0
            && let Some(job) = self.jobs.change(id)
        {
            job.row.ended_at = Some(now);
        }
        Ok(())
    }
}

/// About 4 MiB.
const JOBS_MAX: usize = 8_192;
