//! Rows of jobs and endpoints that were needed lately, as the last commit left them.

use std::collections::{HashMap, VecDeque};

use notify_core::ledger::JobRow;
use notify_core::map::IdMap;
use notify_core::{EndpointId, EndpointUrl, JobId};
use rusqlite::Connection;

use crate::error::Fault;
use crate::rows::{self, DeliveryRow, EndpointRow, EventRow, signed};

/// A job, and what of its log the next append needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: JobRow,
    /// The sequences of its kept progress, oldest first, once they were needed.
    progress: Option<VecDeque<u64>>,
}

/// Rows that were needed lately.
#[derive(Debug, Default)]
pub(super) struct Known {
    jobs: HashMap<JobId, Job>,
    endpoints: IdMap<i64, EndpointRow>,
    numbers: IdMap<EndpointId, i64>,
    urls: HashMap<EndpointUrl, i64>,
}

impl Known {
    pub(super) fn job(&mut self, conn: &Connection, id: &JobId) -> Result<Option<&JobRow>, Fault> {
        if !self.jobs.contains_key(id)
            && let Some(row) = rows::JobRow::named(conn, id)?
        {
            let endpoint = match row.webhook {
                None => None,
                // One that was deleted is told nothing.
                Some((number, _)) => {
                    let known = self.endpoint_numbered(conn, number)?;
                    known.map(|known| known.endpoint.id)
                }
            };
            let newest = EventRow::newest(conn, row.number)?;
            let listed = DeliveryRow::count(conn, row.number)?;
            let row = JobRow {
                listed,
                ..row.job(newest.as_ref(), endpoint)
            };
            let progress = None;
            self.jobs.insert(id.clone(), Job { row, progress });
        }
        Ok(self.jobs.get(id).map(|job| &job.row))
    }

    /// The number of a job that has been asked for, if there is such a job.
    pub(super) fn number_of(&self, id: &JobId) -> Option<u64> {
        Some(self.jobs.get(id)?.row.number)
    }

    /// The sequences of the progress that a job's log keeps, if there is such a job;
    /// the job has been asked for.
    pub(super) fn progress(
        &mut self,
        conn: &Connection,
        id: &JobId,
    ) -> Result<Option<&VecDeque<u64>>, Fault> {
        let Some(job) = self.jobs.get_mut(id) else {
            return Ok(None);
        };
        let known = match job.progress.take() {
            Some(known) => known,
            None => EventRow::progress(conn, signed(job.row.number))?.into(),
        };
        Ok(Some(job.progress.insert(known)))
    }

    /// A job as it is now, with what is kept of its progress if that has changed.
    pub(super) fn put_job(&mut self, row: JobRow, progress: Option<VecDeque<u64>>) {
        let known = self.jobs.remove(&row.id);
        let progress = progress.or_else(|| known?.progress);
        self.jobs.insert(row.id.clone(), Job { row, progress });
    }

    pub(super) fn forget_job(&mut self, id: &JobId) {
        self.jobs.remove(id);
    }

    pub(super) fn endpoint_numbered(
        &mut self,
        conn: &Connection,
        number: i64,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.endpoints.contains_key(&number)
            && let Some(row) = EndpointRow::numbered(conn, number)?
        {
            self.put_endpoint(row);
        }
        Ok(self.endpoints.get(&number))
    }

    pub(super) fn endpoint(
        &mut self,
        conn: &Connection,
        id: EndpointId,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.numbers.contains_key(&id)
            && let Some(row) = EndpointRow::with_id(conn, id)?
        {
            self.put_endpoint(row);
        }
        let number = self.numbers.get(&id);
        Ok(number.and_then(|number| self.endpoints.get(number)))
    }

    pub(super) fn endpoint_at(
        &mut self,
        conn: &Connection,
        url: &EndpointUrl,
    ) -> Result<Option<&EndpointRow>, Fault> {
        if !self.urls.contains_key(url)
            && let Some(row) = EndpointRow::at(conn, url)?
        {
            self.put_endpoint(row);
        }
        let number = self.urls.get(url);
        Ok(number.and_then(|number| self.endpoints.get(number)))
    }

    pub(super) fn put_endpoint(&mut self, row: EndpointRow) {
        self.numbers.insert(row.endpoint.id, row.number);
        self.urls.insert(row.endpoint.url.clone(), row.number);
        self.endpoints.insert(row.number, row);
    }

    pub(super) fn forget_endpoint(&mut self, row: &EndpointRow) {
        self.numbers.remove(&row.endpoint.id);
        self.urls.remove(&row.endpoint.url);
        self.endpoints.remove(&row.number);
    }

    /// Keeps the memory bounded, between transactions. Whom a job tells stays known
    /// for as long as the job.
    pub(super) fn forget_some(&mut self) {
        if self.jobs.len() > JOBS_MAX || self.endpoints.len() > ENDPOINTS_MAX {
            *self = Self::default();
        }
    }
}

/// About 4 MiB.
const JOBS_MAX: usize = 8_192;
/// About 8 MiB, if each has a secret of its own.
const ENDPOINTS_MAX: usize = 8_192;
