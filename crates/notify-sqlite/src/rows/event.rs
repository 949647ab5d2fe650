//! Events that are kept.

use notify_core::job::EventKind;
use notify_core::{Epoch, EventId, EventRecord, JobStatus, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    Record, Sum, kind_code, kind_of, millis, signed, small, status_code, status_of, time, unsigned,
};
use crate::error::Fault;

/// A row of `events`.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) job: i64,
    pub(crate) sequence: u64,
    pub(crate) kind: EventKind,
    pub(crate) status: JobStatus,
    /// How many lifecycle events its job then had.
    pub(crate) lifecycle: u32,
    pub(crate) accepted_at: Timestamp,
    pub(crate) json: Vec<u8>,
}

impl EventRow {
    pub(crate) fn find(conn: &Connection, job: i64, sequence: u64) -> Result<Option<Self>, Fault> {
        let key = params![job, signed(sequence)];
        Self::one(conn, "WHERE job = ?1 AND sequence = ?2", key)
    }

    /// A job's newest event, which is the head of its log.
    pub(crate) fn newest(conn: &Connection, job: i64) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE job = ?1 ORDER BY sequence DESC LIMIT 1", [job])
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        insert(conn, self.numbers(), &self.json)
    }

    /// Writes an accepted event without copying its bytes.
    pub(crate) fn accept(
        conn: &Connection,
        job: i64,
        record: &EventRecord,
        lifecycle: u32,
        accepted_at: Timestamp,
    ) -> Result<(), Fault> {
        let json = record.json();
        let (sequence, kind) = (signed(record.sequence()), kind_code(record.kind()));
        let (status, accepted_at) = (status_code(record.status()), millis(accepted_at));
        let numbers = [job, sequence, kind, status, lifecycle.into(), accepted_at];
        insert(conn, numbers, &json)
    }

    /// All columns but the JSON.
    fn numbers(&self) -> [i64; 6] {
        let (kind, status) = (kind_code(self.kind), status_code(self.status));
        let (lifecycle, accepted_at) = (self.lifecycle.into(), millis(self.accepted_at));
        let sequence = signed(self.sequence);
        [self.job, sequence, kind, status, lifecycle, accepted_at]
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
    const COLUMNS: &'static str = "job, sequence, kind, status, lifecycle, accepted_at, json, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let event = Self {
            job: row.get(0)?,
            sequence: unsigned(row.get(1)?),
            kind: kind_of(row.get(2)?)?,
            status: status_of(row.get(3)?)?,
            lifecycle: small(row, 4)?,
            accepted_at: time(row, 5)?,
            json: row.get(6)?,
        };
        Ok((event, row.get(7)?))
    }

    fn sum(&self) -> i64 {
        sum(self.numbers(), &self.json)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.job, self.sequence)
    }
}

fn insert(conn: &Connection, numbers: [i64; 6], json: &[u8]) -> Result<(), Fault> {
    let [job, sequence, kind, status, lifecycle, accepted_at] = numbers;
    let sum = sum(numbers, json);
    conn.prepare_cached(
        "INSERT INTO events (job, sequence, kind, status, lifecycle, accepted_at, json, crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        job,
        sequence,
        kind,
        status,
        lifecycle,
        accepted_at,
        json,
        sum
    ])?;
    Ok(())
}

fn sum(numbers: [i64; 6], json: &[u8]) -> i64 {
    let sum = numbers.into_iter().fold(Sum::of(EventRow::TABLE), Sum::int);
    sum.bytes(json).finish()
}
