//! Jobs: the head of the log, the token's hash, whom the job tells.

use notify_core::endpoint::{EventFilter, Subscriber};
use notify_core::job::JobHead;
use notify_core::ledger;
use notify_core::store::TokenHash;
use notify_core::{EndpointId, JobId, JobStatus, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    Record, Sum, maybe_time, millis, parsed, signed, small, status_code, status_of, time, unsigned,
};
use crate::error::Fault;

/// A row of `jobs`.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    pub(crate) number: i64,
    pub(crate) id: JobId,
    pub(crate) head: JobHead,
    pub(crate) token: Option<TokenHash>,
    /// The endpoint's number, and what it asks for.
    pub(crate) webhook: Option<(i64, EventFilter)>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// When it had ended and nothing was pending any more.
    pub(crate) ended_at: Option<Timestamp>,
    /// Deliveries, settled or not, that can be looked at.
    pub(crate) deliveries: i64,
}

impl JobRow {
    /// What is kept of `job`, which tells the endpoint with this number.
    pub(crate) fn of(job: &ledger::JobRow, endpoint: Option<i64>) -> Self {
        let filter = job.webhook.map(|subscriber| subscriber.filter);
        Self {
            number: signed(job.number),
            id: job.id.clone(),
            head: job.head,
            token: job.token,
            webhook: endpoint.zip(filter),
            created_at: job.created_at,
            updated_at: job.updated_at,
            ended_at: job.ended_at,
            deliveries: signed(job.listed),
        }
    }

    /// The job, which tells this endpoint. How many of its deliveries are pending
    /// is not kept here.
    pub(crate) fn job(self, endpoint: Option<EndpointId>) -> ledger::JobRow {
        let filter = self.webhook.map(|(_, filter)| filter);
        let webhook = endpoint.zip(filter);
        ledger::JobRow {
            number: unsigned(self.number),
            id: self.id,
            head: self.head,
            token: self.token,
            webhook: webhook.map(|(endpoint, filter)| Subscriber { endpoint, filter }),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
            pending: 0,
            listed: unsigned(self.deliveries),
        }
    }

    pub(crate) fn named(conn: &Connection, id: &JobId) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE job_id = ?1", [id.as_str()])
    }

    pub(crate) fn numbered(conn: &Connection, number: i64) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE id = ?1", [number])
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "INSERT INTO jobs (id, job_id, epoch, sequence, status, lifecycle_events, token,
               endpoint, filter, created_at, updated_at, ended_at, deliveries, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            self.number,
            self.id.as_str(),
            self.head.epoch.to_string(),
            signed(self.head.sequence),
            self.head.status.map(status_code),
            self.head.lifecycle_events,
            self.token,
            self.webhook.map(|(endpoint, _)| endpoint),
            self.webhook.map(|(_, filter)| filter_code(filter)),
            millis(self.created_at),
            millis(self.updated_at),
            self.ended_at.map(millis),
            self.deliveries,
            self.sum(),
        ])?;
        Ok(())
    }

    /// Writes what can change of a job. An index over a column that is named here
    /// would be written anew even if its value stays, so the others are not.
    pub(crate) fn update(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "UPDATE jobs SET sequence = ?2, status = ?3, lifecycle_events = ?4, token = ?5,
               endpoint = ?6, filter = ?7, updated_at = ?8, ended_at = ?9, deliveries = ?10,
               crc = ?11
             WHERE id = ?1",
        )?
        .execute(params![
            self.number,
            signed(self.head.sequence),
            self.head.status.map(status_code),
            self.head.lifecycle_events,
            self.token,
            self.webhook.map(|(endpoint, _)| endpoint),
            self.webhook.map(|(_, filter)| filter_code(filter)),
            millis(self.updated_at),
            self.ended_at.map(millis),
            self.deliveries,
            self.sum(),
        ])?;
        Ok(())
    }
}

impl Record for JobRow {
    const TABLE: &'static str = "jobs";
    const COLUMNS: &'static str = "id, job_id, epoch, sequence, status, lifecycle_events, token, \
         endpoint, filter, created_at, updated_at, ended_at, deliveries, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let status: Option<i64> = row.get(4)?;
        let endpoint: Option<i64> = row.get(7)?;
        let filter: Option<i64> = row.get(8)?;
        let job = Self {
            number: row.get(0)?,
            id: parsed(row, 1)?,
            head: JobHead {
                epoch: parsed(row, 2)?,
                sequence: unsigned(row.get(3)?),
                status: status.map(status_of).transpose()?,
                lifecycle_events: small(row, 5)?,
            },
            token: row.get(6)?,
            webhook: endpoint.zip(filter.map(filter_of)),
            created_at: time(row, 9)?,
            updated_at: time(row, 10)?,
            ended_at: maybe_time(row, 11)?,
            deliveries: row.get(12)?,
        };
        Ok((job, row.get(13)?))
    }

    fn sum(&self) -> i64 {
        Sum::of(Self::TABLE)
            .int(self.number)
            .bytes(self.id.as_str().as_bytes())
            .bytes(self.head.epoch.to_string().as_bytes())
            .int(signed(self.head.sequence))
            .maybe_int(self.head.status.map(status_code))
            .int(self.head.lifecycle_events.into())
            .maybe_bytes(self.token.as_ref().map(TokenHash::as_slice))
            .maybe_int(self.webhook.map(|(endpoint, _)| endpoint))
            .maybe_int(self.webhook.map(|(_, filter)| filter_code(filter)))
            .int(millis(self.created_at))
            .int(millis(self.updated_at))
            .maybe_int(self.ended_at.map(millis))
            .int(self.deliveries)
            .finish()
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

fn filter_code(filter: EventFilter) -> i64 {
    i64::from(filter.wants(JobStatus::Queued)) + 2 * i64::from(filter.wants(JobStatus::Processing))
}

fn filter_of(code: i64) -> EventFilter {
    let queued = (code & 1 != 0).then_some(JobStatus::Queued);
    let processing = (code & 2 != 0).then_some(JobStatus::Processing);
    EventFilter::only(queued.into_iter().chain(processing))
}
