//! Attempts: those after which a delivery went on have rows of their own.

use std::time::Duration;

use notify_core::Timestamp;
use notify_core::delivery::Attempt;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::{Place, Record, Sum, maybe_time, millis, signed, unsigned};
use crate::error::Fault;

/// A row of `attempts`.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRow {
    /// The delivery's place.
    pub(crate) place: Place,
    /// 0, 1, 2, … within the delivery.
    pub(crate) entry: i64,
    pub(crate) attempt: Attempt,
}

impl AttemptRow {
    /// A delivery's rows, in order.
    pub(crate) fn of(conn: &Connection, place: Place) -> Result<Vec<Self>, Fault> {
        Self::all(conn, IN_ORDER, place.key())
    }

    /// A delivery's last row.
    pub(crate) fn last(conn: &Connection, place: Place) -> Result<Option<Self>, Fault> {
        let rest = "WHERE job = ?1 AND sequence = ?2 AND target = ?3 ORDER BY entry DESC LIMIT 1";
        Self::one(conn, rest, place.key())
    }

    /// A delivery's attempts that can be read, in order.
    pub(crate) fn readable(conn: &Connection, place: Place) -> Result<Vec<Attempt>, Fault> {
        let mut statement = conn.prepare_cached(&Self::select(IN_ORDER))?;
        let mut rows = statement.query(place.key())?;
        let mut attempts = Vec::new();
        while let Some(row) = rows.next()? {
            match Self::checked(row) {
                Ok(entry) => attempts.push(entry.attempt),
                Err(Fault::Damaged(row)) => tracing::error!(row, "damaged, and left out"),
                Err(fault) => return Err(fault),
            }
        }
        Ok(attempts)
    }

    /// How many rows a delivery has.
    pub(crate) fn count(conn: &Connection, place: Place) -> Result<i64, Fault> {
        let sql = "SELECT coalesce(max(entry) + 1, 0) FROM attempts
                   WHERE job = ?1 AND sequence = ?2 AND target = ?3";
        Ok(super::number(conn, sql, place.key())?.unwrap_or_default())
    }

    /// Forgets a delivery's rows; how many those were.
    pub(crate) fn delete(conn: &Connection, place: Place) -> Result<usize, Fault> {
        let sql = "DELETE FROM attempts WHERE job = ?1 AND sequence = ?2 AND target = ?3";
        Ok(conn.prepare_cached(sql)?.execute(place.key())?)
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let [number, at, duration, answer, error, snippet, next] = values(Some(&self.attempt));
        conn.prepare_cached(
            "INSERT INTO attempts (job, sequence, target, entry, attempt, at, duration_ns, answer,
               error, snippet, next_attempt_at, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            self.place.job,
            self.place.sequence,
            self.place.target,
            self.entry,
            number,
            at,
            duration,
            answer,
            error,
            snippet,
            next,
            self.sum()
        ])?;
        Ok(())
    }
}

impl Record for AttemptRow {
    const TABLE: &'static str = "attempts";
    const COLUMNS: &'static str = "job, sequence, target, entry, attempt, at, duration_ns, \
         answer, error, snippet, next_attempt_at, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let attempt = read(row, 4)?;
        let entry = Self {
            place: Place::read(row)?,
            entry: row.get(3)?,
            attempt: attempt.ok_or_else(|| Fault::damaged("an attempt without a number"))?,
        };
        Ok((entry, row.get(11)?))
    }

    fn sum(&self) -> i64 {
        let sum = self.place.sum(Sum::of(Self::TABLE)).int(self.entry);
        add(sum, Some(&self.attempt)).finish()
    }

    fn name(&self) -> String {
        format!("{} entry {}", self.place, self.entry)
    }
}

const IN_ORDER: &str = "WHERE job = ?1 AND sequence = ?2 AND target = ?3 ORDER BY entry";

/// An attempt's columns, from `attempt` to `next_attempt_at`.
pub(super) fn values(attempt: Option<&Attempt>) -> [Value; 7] {
    let Some(attempt) = attempt else {
        return [const { Value::Null }; 7];
    };
    [
        i64::from(attempt.number).into(),
        millis(attempt.at).into(),
        nanos(attempt.duration).into(),
        attempt.status.map(i64::from).into(),
        attempt.error.clone().into(),
        attempt.snippet.clone().into(),
        attempt.next_attempt_at.map(millis).into(),
    ]
}

/// Reads an attempt whose columns begin at `first`, if there is one.
pub(super) fn read(row: &Row<'_>, first: usize) -> Result<Option<Attempt>, Fault> {
    let number: Option<u32> = row.get(first)?;
    let Some(number) = number else {
        return Ok(None);
    };
    Ok(Some(Attempt {
        number,
        at: maybe_time(row, first + 1)?.unwrap_or(Timestamp::EPOCH),
        duration: Duration::from_nanos(unsigned(row.get(first + 2)?)),
        status: row.get(first + 3)?,
        error: row.get(first + 4)?,
        snippet: row.get(first + 5)?,
        next_attempt_at: maybe_time(row, first + 6)?,
    }))
}

/// Adds an attempt to a row's sum.
pub(super) fn add(sum: Sum, attempt: Option<&Attempt>) -> Sum {
    let Some(attempt) = attempt else {
        return sum.int(0);
    };
    sum.int(1)
        .int(attempt.number.into())
        .int(millis(attempt.at))
        .int(nanos(attempt.duration))
        .maybe_int(attempt.status.map(i64::from))
        .maybe_bytes(attempt.error.as_deref().map(str::as_bytes))
        .maybe_bytes(attempt.snippet.as_deref().map(str::as_bytes))
        .maybe_int(attempt.next_attempt_at.map(millis))
}

fn nanos(duration: Duration) -> i64 {
    signed(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
