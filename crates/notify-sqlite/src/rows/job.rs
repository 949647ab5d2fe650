//! Jobs: the token's hash, whom the job tells, its end. The head of a job's log is
//! its newest event.

use notify_core::endpoint::{EventFilter, Subscriber};
use notify_core::job::JobHead;
use notify_core::ledger;
use notify_core::store::TokenHash;
use notify_core::{EndpointId, Epoch, JobId, JobStatus, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    EventRow, Record, Sum, maybe_time, millis, parsed, signed, status_code, status_of, time,
    unsigned,
};
use crate::error::Fault;

/// A row of `jobs`.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    pub(crate) number: i64,
    pub(crate) id: JobId,
    pub(crate) epoch: Epoch,
    /// Its newest event's when this was written; a newer one says itself what follows
    /// from it.
    pub(crate) sequence: u64,
    /// Its newest event's.
    pub(crate) status: Option<JobStatus>,
    pub(crate) token: Option<TokenHash>,
    /// The endpoint's number, and what it asks for.
    pub(crate) webhook: Option<(i64, EventFilter)>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// When it had ended and nothing was pending any more.
    pub(crate) ended_at: Option<Timestamp>,
}

impl JobRow {
    /// What is kept of `job`, which tells the endpoint with this number.
    pub(crate) fn of(job: &ledger::JobRow, endpoint: Option<i64>) -> Self {
        let filter = job.webhook.map(|subscriber| subscriber.filter);
        Self {
            number: signed(job.number),
            id: job.id.clone(),
            epoch: job.head.epoch,
            sequence: job.head.sequence,
            status: job.head.status,
            token: job.token,
            webhook: endpoint.zip(filter),
            created_at: job.created_at,
            updated_at: job.updated_at,
            ended_at: job.ended_at,
        }
    }

    /// The head of its log, given its newest event.
    pub(crate) fn head(&self, newest: Option<&EventRow>) -> JobHead {
        newest.map_or(JobHead::new(self.epoch), |newest| JobHead {
            epoch: self.epoch,
            sequence: newest.sequence,
            status: Some(newest.status),
            lifecycle_events: newest.lifecycle,
        })
    }

    /// When it was last heard of, given its newest event.
    pub(crate) fn last_heard_of(&self, newest: Option<&EventRow>) -> Timestamp {
        let newer = newest.filter(|newest| newest.sequence > self.sequence);
        newer.map_or(self.updated_at, |newest| newest.accepted_at)
    }

    /// The job, which tells this endpoint. What is counted is not kept here.
    pub(crate) fn job(
        self,
        newest: Option<&EventRow>,
        endpoint: Option<EndpointId>,
    ) -> ledger::JobRow {
        let filter = self.webhook.map(|(_, filter)| filter);
        let webhook = endpoint.zip(filter);
        ledger::JobRow {
            number: unsigned(self.number),
            head: self.head(newest),
            updated_at: self.last_heard_of(newest),
            id: self.id,
            token: self.token,
            webhook: webhook.map(|(endpoint, filter)| Subscriber { endpoint, filter }),
            created_at: self.created_at,
            ended_at: self.ended_at,
            pending: 0,
            listed: 0,
        }
    }

    pub(crate) fn named(conn: &Connection, id: &JobId) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE job_id = ?1", [id.as_str()])
    }

    pub(crate) fn numbered(conn: &Connection, number: i64) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE id = ?1", [number])
    }

    /// Writes a new one. `told` if it may have a delivery.
    pub(crate) fn insert(&self, conn: &Connection, told: bool) -> Result<(), Fault> {
        conn.prepare_cached(
            "INSERT INTO jobs (id, job_id, epoch, sequence, status, token, endpoint, filter,
               created_at, updated_at, ended_at, told, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            self.number,
            self.id.as_str(),
            self.epoch.to_string(),
            signed(self.sequence),
            self.status.map(status_code),
            self.token,
            self.webhook.map(|(endpoint, _)| endpoint),
            self.webhook.map(|(_, filter)| filter_code(filter)),
            millis(self.created_at),
            millis(self.updated_at),
            self.ended_at.map(millis),
            told,
            self.sum(),
        ])?;
        Ok(())
    }

    /// It has its first delivery.
    pub(crate) fn tell(conn: &Connection, number: i64) -> Result<(), Fault> {
        conn.prepare_cached("UPDATE jobs SET told = 1 WHERE id = ?1 AND told = 0")?
            .execute([number])?;
        Ok(())
    }

    /// Writes what can change of a job. An index over a column that is named here
    /// would be written anew even if its value stays, so the others are not, and its
    /// end only if that `has_moved`.
    pub(crate) fn update(&self, conn: &Connection, has_moved: bool) -> Result<(), Fault> {
        let sql = if has_moved { MOVE } else { UPDATE };
        conn.prepare_cached(sql)?.execute(params![
            self.number,
            signed(self.sequence),
            self.status.map(status_code),
            self.token,
            self.webhook.map(|(endpoint, _)| endpoint),
            self.webhook.map(|(_, filter)| filter_code(filter)),
            millis(self.updated_at),
            self.sum(),
            self.ended_at.map(millis),
        ])?;
        Ok(())
    }
}

const UPDATE: &str = "UPDATE jobs SET sequence = ?2, status = ?3, token = ?4, endpoint = ?5, \
     filter = ?6, updated_at = ?7, crc = ?8 WHERE id = ?1 AND ended_at IS ?9";

const MOVE: &str = "UPDATE jobs SET sequence = ?2, status = ?3, token = ?4, endpoint = ?5, \
     filter = ?6, updated_at = ?7, crc = ?8, ended_at = ?9 WHERE id = ?1";

#[cfg(test)]
pub(crate) const UPDATES_OF_A_JOB: [&str; 2] = [UPDATE, MOVE];

impl Record for JobRow {
    const TABLE: &'static str = "jobs";
    const COLUMNS: &'static str = "id, job_id, epoch, sequence, status, token, endpoint, filter, \
         created_at, updated_at, ended_at, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let status: Option<i64> = row.get(4)?;
        let endpoint: Option<i64> = row.get(6)?;
        let filter: Option<i64> = row.get(7)?;
        let job = Self {
            number: row.get(0)?,
            id: parsed(row, 1)?,
            epoch: parsed(row, 2)?,
            sequence: unsigned(row.get(3)?),
            status: status.map(status_of).transpose()?,
            token: row.get(5)?,
            webhook: endpoint.zip(filter.map(filter_of)),
            created_at: time(row, 8)?,
            updated_at: time(row, 9)?,
            ended_at: maybe_time(row, 10)?,
        };
        Ok((job, row.get(11)?))
    }

    fn sum(&self) -> i64 {
        Sum::of(Self::TABLE)
            .int(self.number)
            .bytes(self.id.as_str().as_bytes())
            .bytes(self.epoch.to_string().as_bytes())
            .int(signed(self.sequence))
            .maybe_int(self.status.map(status_code))
            .maybe_bytes(self.token.as_ref().map(TokenHash::as_slice))
            .maybe_int(self.webhook.map(|(endpoint, _)| endpoint))
            .maybe_int(self.webhook.map(|(_, filter)| filter_code(filter)))
            .int(millis(self.created_at))
            .int(millis(self.updated_at))
            .maybe_int(self.ended_at.map(millis))
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
