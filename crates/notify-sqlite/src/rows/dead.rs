//! Dead letters: each owns all that it takes to send it after all.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeadLetter, DeadReason, Undelivered};
use notify_core::ledger::{self, LetterRow};
use notify_core::retention::Holder;
use notify_core::store::DeadFilter;
use notify_core::{DeliveryId, EventId, EventRecord, JobId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};
use serde_json::{Value as Json, json};

use super::{
    Record, Sum, kind_code, kind_of, maybe_time, millis, parsed, signed, small, status_code,
    status_of, time, unsigned,
};
use crate::error::Fault;

/// A row of `dead_letters`.
#[derive(Clone, Debug)]
pub(crate) struct DeadRow {
    /// Its place among the dead.
    pub(crate) number: i64,
    /// What was to be delivered.
    pub(crate) of: Undelivered,
    /// Which of those that the event was told to.
    pub(crate) target: i64,
    pub(crate) reason: DeadReason,
    pub(crate) died_at: Timestamp,
    /// What it occupies as a dead letter, roughly.
    pub(crate) bytes: u64,
    /// Its attempts as JSON text; of a redelivery those of its own generation.
    pub(crate) attempts: String,
    /// It is being redelivered.
    pub(crate) waits: Option<Waits>,
}

/// A redelivery that is pending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) accepted_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) first_failed_at: Option<Timestamp>,
    pub(crate) attempts_made: u32,
}

impl Waits {
    /// What is kept of a redelivery that the ledger knows.
    pub(crate) fn of(row: &ledger::DeliveryRow) -> Self {
        Self {
            accepted_at: row.accepted_at,
            due_at: row.due_at,
            first_failed_at: row.first_failed_at,
            attempts_made: row.attempts_made,
        }
    }
}

impl DeadRow {
    pub(crate) fn new(
        number: i64,
        of: Undelivered,
        target: i64,
        reason: DeadReason,
        died_at: Timestamp,
        history: &[Attempt],
    ) -> Self {
        Self {
            bytes: of.bytes(history),
            number,
            of,
            target,
            reason,
            died_at,
            attempts: history_text(history),
            waits: None,
        }
    }

    /// The redelivery of a delivery, if it is pending.
    pub(crate) fn redelivered(conn: &Connection, id: DeliveryId) -> Result<Option<Self>, Fault> {
        let rest = "WHERE delivery = ?1 AND due_at IS NOT NULL";
        Self::one(conn, rest, [id.to_string()])
    }

    /// The dead letter of a delivery.
    pub(crate) fn dead(conn: &Connection, id: DeliveryId) -> Result<Option<Self>, Fault> {
        let rest = "WHERE delivery = ?1 AND due_at IS NULL";
        Self::one(conn, rest, [id.to_string()])
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let Undelivered { job, record, .. } = &self.of;
        conn.prepare_cached(INSERT)?.execute(params![
            self.number,
            self.of.id.to_string(),
            job.as_str(),
            record.id().epoch().to_string(),
            signed(record.sequence()),
            self.target,
            kind_code(record.kind()),
            status_code(record.status()),
            &record.json()[..],
            self.endpoint(),
            self.of.url,
            self.of.generation,
            reason_code(self.reason),
            millis(self.died_at),
            self.attempts,
            self.waits.map(|waits| millis(waits.accepted_at)),
            self.waits.map(|waits| millis(waits.due_at)),
            self.first_failed_at(),
            self.waits.map(|waits| waits.attempts_made),
            signed(self.bytes),
            self.sum()
        ])?;
        Ok(())
    }

    /// Writes what differs between a dead letter and a redelivery, and what changes
    /// of one.
    pub(crate) fn update(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "UPDATE dead_letters SET endpoint = ?2, url = ?3, generation = ?4, attempts = ?5,
               accepted_at = ?6, due_at = ?7, first_failed_at = ?8, attempts_made = ?9, crc = ?10
             WHERE id = ?1",
        )?
        .execute(params![
            self.number,
            self.endpoint(),
            self.of.url,
            self.of.generation,
            self.attempts,
            self.waits.map(|waits| millis(waits.accepted_at)),
            self.waits.map(|waits| millis(waits.due_at)),
            self.first_failed_at(),
            self.waits.map(|waits| waits.attempts_made),
            self.sum()
        ])?;
        Ok(())
    }

    /// Deletes a dead letter, if there is one: whose it was, if that can be read, and
    /// what it occupied.
    pub(crate) fn delete(
        conn: &Connection,
        number: i64,
    ) -> Result<Option<(Option<Holder>, u64)>, Fault> {
        let mut delete = conn.prepare_cached(
            "DELETE FROM dead_letters WHERE id = ?1 AND due_at IS NULL
             RETURNING endpoint, job_id, bytes",
        )?;
        let mut rows = delete.query([number])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let gone = (Self::holder(row, 0), unsigned(row.get(2)?));
        // To its end, so that it is done.
        rows.next()?;
        Ok(Some(gone))
    }

    /// Who has it; its endpoint stands at `column`, and then its job.
    pub(crate) fn holder(row: &Row<'_>, column: usize) -> Option<Holder> {
        let endpoint: String = row.get(column).ok()?;
        if endpoint.is_empty() {
            return parsed(row, column + 1).ok().map(Holder::Job);
        }
        parsed(row, column).ok().map(Holder::Endpoint)
    }

    /// The redelivery has come to its end.
    pub(crate) fn delete_redelivered(conn: &Connection, id: DeliveryId) -> Result<(), Fault> {
        let sql = "DELETE FROM dead_letters WHERE delivery = ?1 AND due_at IS NOT NULL";
        conn.prepare_cached(sql)?.execute([id.to_string()])?;
        Ok(())
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

    fn first_failed_at(&self) -> Option<i64> {
        self.waits?.first_failed_at.map(millis)
    }

    /// Its attempts, oldest first.
    pub(crate) fn history(&self) -> Result<Vec<Attempt>, Fault> {
        let history: Vec<Json> = serde_json::from_str(&self.attempts)
            .map_err(|_| Fault::damaged(format!("dead_letters {}: attempts", self.name())))?;
        Ok(history.iter().map(attempt_of).collect())
    }

    pub(crate) fn letter(&self) -> Result<DeadLetter, Fault> {
        let history = self.history()?;
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
    const COLUMNS: &'static str = "id, delivery, job_id, epoch, sequence, target, kind, status, \
         json, endpoint, url, generation, reason, died_at, attempts, accepted_at, due_at, \
         first_failed_at, attempts_made, bytes, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let job: JobId = parsed(row, 2)?;
        let event = EventId::new(parsed(row, 3)?, unsigned(row.get(4)?));
        let (kind, status) = (kind_of(row.get(6)?)?, status_of(row.get(7)?)?);
        let json: Vec<u8> = row.get(8)?;
        let endpoint: String = row.get(9)?;
        let endpoint = (!endpoint.is_empty()).then(|| parsed(row, 9));
        let attempts_made: Option<u32> = row.get(18)?;
        let times = maybe_time(row, 15)?.zip(maybe_time(row, 16)?);
        let first_failed_at = maybe_time(row, 17)?;
        let waits = times
            .zip(attempts_made)
            .map(|((accepted_at, due_at), attempts_made)| Waits {
                accepted_at,
                due_at,
                first_failed_at,
                attempts_made,
            });
        let dead = Self {
            number: row.get(0)?,
            of: Undelivered {
                id: parsed(row, 1)?,
                job,
                record: EventRecord::restore(event, kind, status, &json),
                endpoint: endpoint.transpose()?,
                url: row.get(10)?,
                generation: small(row, 11)?,
            },
            target: row.get(5)?,
            reason: reason_of(row.get(12)?)?,
            died_at: time(row, 13)?,
            bytes: unsigned(row.get(19)?),
            attempts: row.get(14)?,
            waits,
        };
        Ok((dead, row.get(20)?))
    }

    fn sum(&self) -> i64 {
        let Undelivered { job, record, .. } = &self.of;
        let sum = Sum::of(Self::TABLE)
            .int(self.number)
            .bytes(self.of.id.to_string().as_bytes())
            .bytes(job.as_str().as_bytes())
            .bytes(record.id().epoch().to_string().as_bytes())
            .int(signed(record.sequence()))
            .int(self.target)
            .int(kind_code(record.kind()))
            .int(status_code(record.status()))
            .bytes(&record.json())
            .bytes(self.endpoint().as_bytes())
            .bytes(self.of.url.as_bytes())
            .int(self.of.generation.into())
            .int(reason_code(self.reason))
            .int(millis(self.died_at))
            .bytes(self.attempts.as_bytes())
            .int(signed(self.bytes));
        let Some(waits) = &self.waits else {
            return sum.int(0).finish();
        };
        sum.int(1)
            .int(millis(waits.accepted_at))
            .int(millis(waits.due_at))
            .maybe_int(waits.first_failed_at.map(millis))
            .int(waits.attempts_made.into())
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
            "epoch =",
            filter.event.map(|id| id.epoch().to_string().into()),
        ),
        (
            "sequence =",
            filter.event.map(|id| signed(id.sequence()).into()),
        ),
        (
            "reason =",
            filter.reason.map(|reason| reason_code(reason).into()),
        ),
        ("died_at >=", filter.since.map(|at| millis(at).into())),
        ("died_at <", filter.until.map(|at| millis(at).into())),
    ];
    let mut sql = String::from("due_at IS NULL");
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

const INSERT: &str = "INSERT INTO dead_letters (id, delivery, job_id, epoch, sequence, target, \
     kind, status, json, endpoint, url, generation, reason, died_at, attempts, accepted_at, \
     due_at, first_failed_at, attempts_made, bytes, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
     ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";

/// Attempts as JSON text.
pub(crate) fn history_text(history: &[Attempt]) -> String {
    Json::Array(history.iter().map(attempt_json).collect()).to_string()
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
