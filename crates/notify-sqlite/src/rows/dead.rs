//! Dead letters: each owns all that it takes to send it after all.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeadLetter, DeadReason, Undelivered};
use notify_core::ledger::LetterRow;
use notify_core::store::DeadFilter;
use notify_core::{EventId, EventRecord, JobId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};
use serde_json::{Value as Json, json};

use super::{
    Record, Sum, kind_code, kind_of, millis, parsed, signed, small, status_code, status_of, time,
    unsigned,
};
use crate::error::Fault;

/// A row of `dead_letters`.
#[derive(Debug)]
pub(crate) struct DeadRow {
    /// Its place among the dead.
    pub(crate) number: i64,
    /// What was to be delivered.
    pub(crate) of: Undelivered,
    pub(crate) reason: DeadReason,
    pub(crate) died_at: Timestamp,
    /// Its attempts as JSON text.
    attempts: String,
}

impl DeadRow {
    pub(crate) fn new(
        number: i64,
        of: Undelivered,
        reason: DeadReason,
        died_at: Timestamp,
        history: &[Attempt],
    ) -> Self {
        Self {
            number,
            of,
            reason,
            died_at,
            attempts: Json::Array(history.iter().map(attempt_json).collect()).to_string(),
        }
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let Undelivered { job, record, .. } = &self.of;
        conn.prepare_cached(
            "INSERT INTO dead_letters (id, delivery, job_id, epoch, sequence, kind, status, json,
               endpoint, url, generation, reason, died_at, attempts, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            self.number,
            self.of.id.to_string(),
            job.as_str(),
            record.id().epoch().to_string(),
            signed(record.sequence()),
            kind_code(record.kind()),
            status_code(record.status()),
            &record.json()[..],
            self.endpoint(),
            self.of.url,
            self.of.generation,
            reason_code(self.reason),
            millis(self.died_at),
            self.attempts,
            self.sum()
        ])?;
        Ok(())
    }

    /// How many there were of it.
    pub(crate) fn delete(conn: &Connection, number: i64) -> Result<usize, Fault> {
        let mut delete = conn.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
        Ok(delete.execute([number])?)
    }

    /// As far as redelivering it goes; `listed` is its number in its job's list.
    pub(crate) fn row(self, listed: Option<u64>) -> LetterRow {
        LetterRow {
            number: unsigned(self.number),
            of: self.of,
            reason: self.reason,
            listed,
        }
    }

    /// The endpoint's id, or nothing.
    fn endpoint(&self) -> String {
        let endpoint = self.of.endpoint;
        endpoint.map(|id| id.to_string()).unwrap_or_default()
    }

    pub(crate) fn letter(&self) -> Result<DeadLetter, Fault> {
        let history: Vec<Json> = serde_json::from_str(&self.attempts)
            .map_err(|_| Fault::damaged(format!("dead_letters {}: attempts", self.name())))?;
        let history = history.iter().map(attempt_of).collect();
        Ok(DeadLetter::new(
            &self.of,
            self.reason,
            history,
            self.died_at,
        ))
    }
}

impl Record for DeadRow {
    const TABLE: &'static str = "dead_letters";
    const COLUMNS: &'static str = "id, delivery, job_id, epoch, sequence, kind, status, json, \
         endpoint, url, generation, reason, died_at, attempts, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let job: JobId = parsed(row, 2)?;
        let event = EventId::new(parsed(row, 3)?, unsigned(row.get(4)?));
        let (kind, status) = (kind_of(row.get(5)?)?, status_of(row.get(6)?)?);
        let json: Vec<u8> = row.get(7)?;
        let endpoint: String = row.get(8)?;
        let endpoint = (!endpoint.is_empty()).then(|| parsed(row, 8));
        let dead = Self {
            number: row.get(0)?,
            of: Undelivered {
                id: parsed(row, 1)?,
                job,
                record: EventRecord::restore(event, kind, status, &json),
                endpoint: endpoint.transpose()?,
                url: row.get(9)?,
                generation: small(row, 10)?,
            },
            reason: reason_of(row.get(11)?)?,
            died_at: time(row, 12)?,
            attempts: row.get(13)?,
        };
        Ok((dead, row.get(14)?))
    }

    fn sum(&self) -> i64 {
        let Undelivered { job, record, .. } = &self.of;
        Sum::of(Self::TABLE)
            .int(self.number)
            .bytes(self.of.id.to_string().as_bytes())
            .bytes(job.as_str().as_bytes())
            .bytes(record.id().epoch().to_string().as_bytes())
            .int(signed(record.sequence()))
            .int(kind_code(record.kind()))
            .int(status_code(record.status()))
            .bytes(&record.json())
            .bytes(self.endpoint().as_bytes())
            .bytes(self.of.url.as_bytes())
            .int(self.of.generation.into())
            .int(reason_code(self.reason))
            .int(millis(self.died_at))
            .bytes(self.attempts.as_bytes())
            .finish()
    }

    fn name(&self) -> String {
        self.of.id.to_string()
    }
}

/// A [`DeadFilter`] as a condition over `dead_letters`, and what it compares with.
pub(crate) fn condition(filter: &DeadFilter) -> (String, Vec<Value>) {
    let comparisons = [
        (
            "delivery =",
            filter.delivery.map(|id| id.to_string().into()),
        ),
        (
            "job_id =",
            filter.job.as_ref().map(|id| id.to_string().into()),
        ),
        (
            "endpoint =",
            filter.endpoint.map(|id| id.to_string().into()),
        ),
        (
            "reason =",
            filter.reason.map(|reason| reason_code(reason).into()),
        ),
        ("died_at >=", filter.since.map(|at| millis(at).into())),
        ("died_at <", filter.until.map(|at| millis(at).into())),
    ];
    let mut sql = String::from("1");
    let mut values: Vec<Value> = Vec::new();
    for (comparison, value) in comparisons {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(comparison);
            sql.push_str(" ?");
            values.push(value);
        }
    }
    (sql, values)
}

fn reason_code(reason: DeadReason) -> i64 {
    let position = DeadReason::ALL.iter().position(|known| *known == reason);
    position
        .and_then(|code| i64::try_from(code).ok())
        .unwrap_or(-1)
}

fn reason_of(code: i64) -> Result<DeadReason, Fault> {
    let position = usize::try_from(code).unwrap_or(usize::MAX);
    let reason = DeadReason::ALL.get(position).copied();
    reason.ok_or_else(|| Fault::damaged("a reason that there is not"))
}

fn attempt_json(attempt: &Attempt) -> Json {
    json!({
        "number": attempt.number,
        "at": attempt.at.as_millis(),
        "duration_ns": u64::try_from(attempt.duration.as_nanos()).unwrap_or(u64::MAX),
        "status": attempt.status,
        "error": attempt.error,
        "snippet": attempt.snippet,
        "next_attempt_at": attempt.next_attempt_at.map(Timestamp::as_millis),
    })
}

/// The row's CRC has vouched for the text, so every field is there.
fn attempt_of(json: &Json) -> Attempt {
    let number = |field: &str| json.get(field).and_then(Json::as_u64);
    let text = |field: &str| json.get(field).and_then(Json::as_str).map(str::to_owned);
    Attempt {
        number: number("number")
            .and_then(|n| n.try_into().ok())
            .unwrap_or_default(),
        at: Timestamp::from_millis(number("at").unwrap_or_default()),
        duration: Duration::from_nanos(number("duration_ns").unwrap_or_default()),
        status: number("status").and_then(|n| n.try_into().ok()),
        error: text("error"),
        snippet: text("snippet"),
        next_attempt_at: number("next_attempt_at").map(Timestamp::from_millis),
    }
}
