//! Events that are kept.

use notify_core::job::EventKind;
use notify_core::{Epoch, EventId, EventRecord, JobStatus};
use rusqlite::{Connection, Row, params};

use super::{Record, Sum, kind_code, kind_of, signed, status_code, status_of, unsigned};
use crate::error::Fault;

/// A row of `events`.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) job: i64,
    pub(crate) sequence: u64,
    pub(crate) kind: EventKind,
    pub(crate) status: JobStatus,
    pub(crate) json: Vec<u8>,
}

impl EventRow {
    pub(crate) fn find(conn: &Connection, job: i64, sequence: u64) -> Result<Option<Self>, Fault> {
        let key = params![job, signed(sequence)];
        Self::one(conn, "WHERE job = ?1 AND sequence = ?2", key)
    }

    /// Writes an accepted event without copying its bytes.
    pub(crate) fn insert(conn: &Connection, job: i64, record: &EventRecord) -> Result<(), Fault> {
        let json = record.json();
        let (sequence, kind) = (record.sequence(), record.kind());
        let sum = sum(job, sequence, kind, record.status(), &json);
        conn.prepare_cached(
            "INSERT INTO events (job, sequence, kind, status, json, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            job,
            signed(sequence),
            kind_code(kind),
            status_code(record.status()),
            &json[..],
            sum
        ])?;
        Ok(())
    }

    /// The sequences of a job's kept progress, oldest first.
    pub(crate) fn progress(conn: &Connection, job: i64) -> Result<Vec<u64>, Fault> {
        let mut statement = conn.prepare_cached(
            "SELECT sequence FROM events WHERE job = ?1 AND kind = 0 ORDER BY sequence",
        )?;
        let sequences = statement.query_map([job], |row| row.get(0))?;
        sequences.map(|sequence| Ok(unsigned(sequence?))).collect()
    }

    pub(crate) fn delete(conn: &Connection, job: i64, sequence: u64) -> Result<(), Fault> {
        conn.prepare_cached("DELETE FROM events WHERE job = ?1 AND sequence = ?2")?
            .execute(params![job, signed(sequence)])?;
        Ok(())
    }

    pub(crate) fn record(&self, epoch: Epoch) -> EventRecord {
        let id = EventId::new(epoch, self.sequence);
        EventRecord::restore(id, self.kind, self.status, &self.json)
    }
}

impl Record for EventRow {
    const TABLE: &'static str = "events";
    const COLUMNS: &'static str = "job, sequence, kind, status, json, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let event = Self {
            job: row.get(0)?,
            sequence: unsigned(row.get(1)?),
            kind: kind_of(row.get(2)?)?,
            status: status_of(row.get(3)?)?,
            json: row.get(4)?,
        };
        Ok((event, row.get(5)?))
    }

    fn sum(&self) -> i64 {
        sum(self.job, self.sequence, self.kind, self.status, &self.json)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.job, self.sequence)
    }
}

fn sum(job: i64, sequence: u64, kind: EventKind, status: JobStatus, json: &[u8]) -> i64 {
    Sum::of(EventRow::TABLE)
        .int(job)
        .int(signed(sequence))
        .int(kind_code(kind))
        .int(status_code(status))
        .bytes(json)
        .finish()
}
