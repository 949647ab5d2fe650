//! Attempts, and how deliveries ended.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeliveryState};
use notify_core::{DeliveryId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{Record, Sum, maybe_time, millis, parsed, signed, small, unsigned};
use crate::error::Fault;

/// A row of `attempts`: one attempt, and where it left the delivery; or only the
/// latter, where a delivery ended without one.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRow {
    pub(crate) job: i64,
    /// The delivery's number.
    pub(crate) number: i64,
    /// 0, 1, 2, … within the delivery.
    pub(crate) entry: i64,
    pub(crate) delivery: DeliveryId,
    /// The endpoint's number.
    pub(crate) endpoint: i64,
    pub(crate) sequence: u64,
    pub(crate) generation: u32,
    pub(crate) state: DeliveryState,
    pub(crate) attempt: Option<Attempt>,
}

impl AttemptRow {
    /// A delivery's rows, in order.
    pub(crate) fn of(conn: &Connection, job: i64, number: i64) -> Result<Vec<Self>, Fault> {
        let rest = "WHERE job = ?1 AND number = ?2 ORDER BY entry";
        Self::all(conn, rest, [job, number])
    }

    /// A delivery's rows that can be read, in order.
    pub(crate) fn readable(conn: &Connection, job: i64, number: i64) -> Result<Vec<Self>, Fault> {
        let sql = Self::select("WHERE job = ?1 AND number = ?2 ORDER BY entry");
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query([job, number])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            match Self::checked(row) {
                Ok(entry) => entries.push(entry),
                Err(Fault::Damaged(row)) => tracing::error!(row, "damaged, and left out"),
                Err(fault) => return Err(fault),
            }
        }
        Ok(entries)
    }

    /// How many rows a delivery has.
    pub(crate) fn count(conn: &Connection, job: i64, number: i64) -> Result<i64, Fault> {
        let sql = "SELECT coalesce(max(entry) + 1, 0) FROM attempts WHERE job = ?1 AND number = ?2";
        Ok(super::number(conn, sql, [job, number])?.unwrap_or_default())
    }

    /// The number of a job's settled delivery that was accepted first.
    pub(crate) fn oldest_settled(conn: &Connection, job: i64) -> Result<Option<i64>, Fault> {
        let sql =
            "SELECT number FROM attempts WHERE job = ?1 AND state <> 0 ORDER BY number LIMIT 1";
        super::number(conn, sql, [job])
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let attempt = self.attempt.as_ref();
        conn.prepare_cached(
            "INSERT INTO attempts (job, number, entry, delivery, endpoint, sequence, generation,
               state, attempt, at, duration_ns, status, error, snippet, next_attempt_at, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            self.job,
            self.number,
            self.entry,
            self.delivery.to_string(),
            self.endpoint,
            signed(self.sequence),
            self.generation,
            state_code(self.state),
            attempt.map(|attempt| attempt.number),
            attempt.map(|attempt| millis(attempt.at)),
            attempt.map(|attempt| nanos(attempt.duration)),
            attempt.and_then(|attempt| attempt.status),
            attempt.and_then(|attempt| attempt.error.as_deref()),
            attempt.and_then(|attempt| attempt.snippet.as_deref()),
            attempt.and_then(|attempt| attempt.next_attempt_at.map(millis)),
            self.sum()
        ])?;
        Ok(())
    }
}

impl Record for AttemptRow {
    const TABLE: &'static str = "attempts";
    const COLUMNS: &'static str = "job, number, entry, delivery, endpoint, sequence, generation, \
         state, attempt, at, duration_ns, status, error, snippet, next_attempt_at, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let made: Option<u32> = row.get(8)?;
        let attempt = match made {
            None => None,
            Some(number) => Some(Attempt {
                number,
                at: maybe_time(row, 9)?.unwrap_or(Timestamp::EPOCH),
                duration: Duration::from_nanos(unsigned(row.get(10)?)),
                status: row.get(11)?,
                error: row.get(12)?,
                snippet: row.get(13)?,
                next_attempt_at: maybe_time(row, 14)?,
            }),
        };
        let entry = Self {
            job: row.get(0)?,
            number: row.get(1)?,
            entry: row.get(2)?,
            delivery: parsed(row, 3)?,
            endpoint: row.get(4)?,
            sequence: unsigned(row.get(5)?),
            generation: small(row, 6)?,
            state: state_of(row.get(7)?)?,
            attempt,
        };
        Ok((entry, row.get(15)?))
    }

    fn sum(&self) -> i64 {
        let sum = Sum::of(Self::TABLE)
            .int(self.job)
            .int(self.number)
            .int(self.entry)
            .bytes(self.delivery.to_string().as_bytes())
            .int(self.endpoint)
            .int(signed(self.sequence))
            .int(self.generation.into())
            .int(state_code(self.state));
        let Some(attempt) = &self.attempt else {
            return sum.finish();
        };
        sum.int(attempt.number.into())
            .int(millis(attempt.at))
            .int(nanos(attempt.duration))
            .maybe_int(attempt.status.map(i64::from))
            .maybe_bytes(attempt.error.as_deref().map(str::as_bytes))
            .maybe_bytes(attempt.snippet.as_deref().map(str::as_bytes))
            .maybe_int(attempt.next_attempt_at.map(millis))
            .finish()
    }

    fn name(&self) -> String {
        format!("{} entry {}", self.delivery, self.entry)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

const fn state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Delivered => 1,
        DeliveryState::Dead => 2,
        DeliveryState::Superseded => 3,
    }
}

fn state_of(code: i64) -> Result<DeliveryState, Fault> {
    match code {
        0 => Ok(DeliveryState::Pending),
        1 => Ok(DeliveryState::Delivered),
        2 => Ok(DeliveryState::Dead),
        3 => Ok(DeliveryState::Superseded),
        _ => Err(Fault::damaged("a state that there is not")),
    }
}
