//! Deliveries, pending or settled.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeliveryState};
use notify_core::job::EventKind;
use notify_core::ledger;
use notify_core::{DeliveryId, Epoch, EventId, EventRecord, JobId, JobStatus, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    AttemptRow, EventRow, Place, Record, Sum, attempt, kind_code, kind_of, maybe_parsed,
    maybe_time, millis, signed, small, state_code, state_of, time, unsigned,
};
use crate::error::Fault;

/// A row of `deliveries`.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) place: Place,
    /// Its place in its job's list.
    pub(crate) number: i64,
    /// Its id, if that does not say where it stands.
    pub(crate) old_id: Option<DeliveryId>,
    /// The endpoint's number.
    pub(crate) endpoint: i64,
    pub(crate) kind: EventKind,
    /// More than 0 for a redelivery; while that is pending, its dead letter's row
    /// has the rest.
    pub(crate) generation: u32,
    pub(crate) state: DeliveryState,
    pub(crate) accepted_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) first_failed_at: Option<Timestamp>,
    pub(crate) attempts_made: u32,
    /// How many rows of `attempts` it has.
    pub(crate) entries: i64,
    /// What waiting progress owns a copy of.
    pub(crate) json: Option<Vec<u8>>,
    /// The attempt that settled it.
    pub(crate) last: Option<Attempt>,
}

impl DeliveryRow {
    /// The row of a delivery that the ledger knows, at this place.
    pub(crate) fn of(row: &ledger::DeliveryRow, place: Place, old_id: Option<DeliveryId>) -> Self {
        Self {
            place,
            number: signed(row.number),
            old_id,
            endpoint: signed(row.endpoint),
            kind: row.kind,
            generation: row.generation,
            state: DeliveryState::Pending,
            accepted_at: row.accepted_at,
            due_at: row.due_at,
            first_failed_at: row.first_failed_at,
            attempts_made: row.attempts_made,
            entries: 0,
            json: None,
            last: None,
        }
    }

    /// A new delivery's row: it owns what may leave its job's log.
    pub(crate) fn new(row: &ledger::DeliveryRow, job: u64, record: &EventRecord) -> Self {
        let (_, target) = row.id.place();
        let place = Place {
            job: signed(job),
            sequence: signed(row.sequence),
            target: target.into(),
        };
        Self {
            json: row.may_lose_its_event().then(|| record.json().to_vec()),
            ..Self::of(row, place, None)
        }
    }

    pub(crate) fn at(conn: &Connection, place: Place) -> Result<Option<Self>, Fault> {
        let rest = "WHERE job = ?1 AND sequence = ?2 AND target = ?3";
        Self::one(conn, rest, place.key())
    }

    /// The row of a delivery that the ledger knows.
    pub(crate) fn known(conn: &Connection, row: &ledger::DeliveryRow) -> Result<Self, Fault> {
        let rest = "WHERE job = ?1 AND sequence = ?2 AND number = ?3";
        let stored = Self::one(conn, rest, known_key(row))?;
        stored.ok_or_else(|| Fault::damaged(format!("deliveries {}: missing", row.id)))
    }

    /// Where the row of a delivery is that the ledger knows, if it is there.
    pub(crate) fn place_of(
        conn: &Connection,
        row: &ledger::DeliveryRow,
    ) -> Result<Option<Place>, Fault> {
        let sql = "SELECT job, sequence, target FROM deliveries
                   WHERE job = ?1 AND sequence = ?2 AND number = ?3";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(known_key(row))?;
        rows.next()?.map(Place::read).transpose()
    }

    /// The same for one that is settled: if the row is damaged it is made anew, since
    /// all that is to be written is known.
    pub(crate) fn to_settle(conn: &Connection, row: &ledger::DeliveryRow) -> Result<Self, Fault> {
        let damaged = match Self::known(conn, row) {
            Err(Fault::Damaged(damaged)) => damaged,
            stored => return stored,
        };
        let sql = "SELECT target, delivery FROM deliveries
                   WHERE job = ?1 AND sequence = ?2 AND number = ?3";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(known_key(row))?;
        let Some(found) = rows.next()? else {
            return Err(Fault::Damaged(damaged));
        };
        let [job, sequence, _] = known_key(row);
        let place = Place {
            job,
            sequence,
            target: found.get(0)?,
        };
        let old_id: Option<String> = found.get(1)?;
        tracing::error!(row = damaged, "damaged, and settled");
        Ok(Self {
            entries: AttemptRow::count(conn, place)?,
            ..Self::of(row, place, old_id.map(|_| row.id))
        })
    }

    /// The place of a job's settled delivery that was accepted first.
    pub(crate) fn oldest_settled(conn: &Connection, job: i64) -> Result<Option<Place>, Fault> {
        let mut oldest = conn.prepare_cached(
            "SELECT job, sequence, target FROM deliveries WHERE job = ?1 AND state <> 0
             ORDER BY sequence, target LIMIT 1",
        )?;
        let mut rows = oldest.query([job])?;
        rows.next()?.map(Place::read).transpose()
    }

    /// The number in its job's list of a delivery in this incarnation of a log, if it
    /// is still there.
    pub(crate) fn listed(
        conn: &Connection,
        job: &JobId,
        event: EventId,
        target: i64,
    ) -> Result<Option<i64>, Fault> {
        let mut listed = conn.prepare_cached(
            "SELECT d.number FROM jobs j JOIN deliveries d
               ON d.job = j.id AND d.sequence = ?3 AND d.target = ?4
             WHERE j.job_id = ?1 AND j.epoch = ?2",
        )?;
        let (epoch, sequence) = (event.epoch().to_string(), signed(event.sequence()));
        let key = params![job.as_str(), epoch, sequence, target];
        Ok(listed.query_row(key, |row| row.get(0)).optional()?)
    }

    /// How many deliveries a job has that can be looked at.
    pub(crate) fn count(conn: &Connection, job: i64) -> Result<u64, Fault> {
        let sql = "SELECT count(*) FROM deliveries WHERE job = ?1";
        Ok(unsigned(
            super::number(conn, sql, [job])?.unwrap_or_default(),
        ))
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        self.execute(conn, INSERT)
    }

    /// Writes it in its place, whatever is there.
    pub(crate) fn replace(&self, conn: &Connection) -> Result<(), Fault> {
        self.execute(conn, REPLACE)
    }

    pub(crate) fn update(&self, conn: &Connection) -> Result<(), Fault> {
        self.execute(conn, UPDATE)
    }

    fn execute(&self, conn: &Connection, sql: &str) -> Result<(), Fault> {
        let [number, at, duration, answer, error, snippet, next] =
            attempt::values(self.last.as_ref());
        conn.prepare_cached(sql)?.execute(params![
            self.place.job,
            self.place.sequence,
            self.place.target,
            self.number,
            self.old_id.map(|id| id.to_string()),
            self.endpoint,
            kind_code(self.kind),
            self.generation,
            state_code(self.state),
            millis(self.accepted_at),
            millis(self.due_at),
            self.first_failed_at.map(millis),
            self.attempts_made,
            self.entries,
            self.json,
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

    /// Takes over what can change of a pending delivery.
    pub(crate) fn set(&mut self, row: &ledger::DeliveryRow) {
        self.due_at = row.due_at;
        self.first_failed_at = row.first_failed_at;
        self.attempts_made = row.attempts_made;
    }

    /// Its id; `epoch` is its job's.
    pub(crate) fn id(&self, epoch: Epoch) -> DeliveryId {
        let target = u8::try_from(self.place.target).unwrap_or_default();
        let made = || DeliveryId::of(self.event_id(epoch), target);
        self.old_id.unwrap_or_else(made)
    }

    pub(crate) fn event_id(&self, epoch: Epoch) -> EventId {
        EventId::new(epoch, unsigned(self.place.sequence))
    }

    /// The delivery, which nobody has leased; its event's JSON is so long.
    pub(crate) fn pending(&self, epoch: Epoch, json_bytes: u32) -> ledger::DeliveryRow {
        ledger::DeliveryRow {
            number: unsigned(self.number),
            job: Some(unsigned(self.place.job)),
            endpoint: unsigned(self.endpoint),
            id: self.id(epoch),
            generation: self.generation,
            sequence: unsigned(self.place.sequence),
            kind: self.kind,
            json_bytes,
            accepted_at: self.accepted_at,
            due_at: self.due_at,
            first_failed_at: self.first_failed_at,
            attempts_made: self.attempts_made,
            // Not kept; it decides nothing once the last progress is some time ago.
            spacing: Duration::ZERO,
            lease: None,
        }
    }

    /// What it is to deliver. `epoch` is its job's.
    pub(crate) fn record(&self, conn: &Connection, epoch: Epoch) -> Result<EventRecord, Fault> {
        let id = self.event_id(epoch);
        if let Some(json) = &self.json {
            // Only progress has a copy, and its status is the same always.
            let status = JobStatus::Processing;
            return Ok(EventRecord::restore(id, self.kind, status, json));
        }
        let event = EventRow::find(conn, self.place.job, id.sequence())?;
        let lacks = || Fault::damaged(format!("deliveries {}: its event is missing", self.place));
        Ok(event.ok_or_else(lacks)?.record(epoch))
    }
}

/// At most two rows have the first two; the number tells which is meant.
fn known_key(row: &ledger::DeliveryRow) -> [i64; 3] {
    let job = row.job.map_or(0, signed);
    [job, signed(row.sequence), signed(row.number)]
}

const INSERT: &str = "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
     ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)";

const REPLACE: &str = "INSERT OR REPLACE INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, \
     ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)";

/// There is no index over these, so it costs nothing to write them all.
const UPDATE: &str = "UPDATE deliveries SET number = ?4, delivery = ?5, endpoint = ?6, kind = ?7, \
     generation = ?8, state = ?9, accepted_at = ?10, due_at = ?11, first_failed_at = ?12, \
     attempts_made = ?13, entries = ?14, json = ?15, attempt = ?16, at = ?17, duration_ns = ?18, \
     answer = ?19, error = ?20, snippet = ?21, next_attempt_at = ?22, crc = ?23 \
     WHERE job = ?1 AND sequence = ?2 AND target = ?3";

impl Record for DeliveryRow {
    const TABLE: &'static str = "deliveries";
    const COLUMNS: &'static str = "job, sequence, target, number, delivery, endpoint, kind, \
         generation, state, accepted_at, due_at, first_failed_at, attempts_made, entries, json, \
         attempt, at, duration_ns, answer, error, snippet, next_attempt_at, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let delivery = Self {
            place: Place::read(row)?,
            number: row.get(3)?,
            old_id: maybe_parsed(row, 4)?,
            endpoint: row.get(5)?,
            kind: kind_of(row.get(6)?)?,
            generation: small(row, 7)?,
            state: state_of(row.get(8)?)?,
            accepted_at: time(row, 9)?,
            due_at: time(row, 10)?,
            first_failed_at: maybe_time(row, 11)?,
            attempts_made: small(row, 12)?,
            entries: row.get(13)?,
            json: row.get(14)?,
            last: attempt::read(row, 15)?,
        };
        Ok((delivery, row.get(22)?))
    }

    fn sum(&self) -> i64 {
        let id = self.old_id.map(|id| id.to_string());
        let sum = self.place.sum(Sum::of(Self::TABLE));
        let sum = sum
            .int(self.number)
            .maybe_bytes(id.as_deref().map(str::as_bytes))
            .int(self.endpoint)
            .int(kind_code(self.kind))
            .int(self.generation.into())
            .int(state_code(self.state))
            .int(millis(self.accepted_at))
            .int(millis(self.due_at))
            .maybe_int(self.first_failed_at.map(millis))
            .int(self.attempts_made.into())
            .int(self.entries)
            .maybe_bytes(self.json.as_deref());
        attempt::add(sum, self.last.as_ref()).finish()
    }

    fn name(&self) -> String {
        self.place.to_string()
    }
}
