//! Deliveries that are not settled.

use std::time::Duration;

use notify_core::delivery::LaneKey;
use notify_core::job::EventKind;
use notify_core::ledger;
use notify_core::{DeliveryId, Epoch, EventId, EventRecord, JobId, JobStatus, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    EventRow, JobRow, Record, Sum, kind_code, kind_of, maybe_parsed, maybe_time, millis, parsed,
    signed, small, status_code, status_of, time, unsigned,
};
use crate::error::Fault;

/// A row of `deliveries`.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryRow {
    /// The job's number; 0 if the job was forgotten.
    pub(crate) job: i64,
    pub(crate) number: i64,
    pub(crate) delivery: DeliveryId,
    /// The endpoint's number.
    pub(crate) endpoint: i64,
    pub(crate) sequence: u64,
    pub(crate) kind: EventKind,
    pub(crate) status: JobStatus,
    /// More than 0 for a redelivery.
    pub(crate) generation: u32,
    pub(crate) accepted_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) first_failed_at: Option<Timestamp>,
    pub(crate) attempts_made: u32,
    /// How many rows of `attempts` it has.
    pub(crate) entries: i64,
    pub(crate) own: Own,
}

/// What a delivery owns a copy of, because its log may drop it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// Of a redelivery.
    pub(crate) job: Option<(JobId, Epoch)>,
    /// Of a redelivery and of progress.
    pub(crate) json: Option<Vec<u8>>,
}

impl DeliveryRow {
    pub(crate) fn find(conn: &Connection, job: i64, number: i64) -> Result<Option<Self>, Fault> {
        Self::one(conn, "WHERE job = ?1 AND number = ?2", [job, number])
    }

    /// The row of a delivery that is pending.
    pub(crate) fn known(conn: &Connection, row: &ledger::DeliveryRow) -> Result<Self, Fault> {
        let stored = Self::find(conn, row.job.map_or(0, signed), signed(row.number))?;
        stored.ok_or_else(|| Fault::damaged(format!("deliveries {}: missing", row.id)))
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        let epoch = self.own.job.as_ref().map(|(_, epoch)| epoch.to_string());
        conn.prepare_cached(
            "INSERT INTO deliveries (job, number, delivery, endpoint, sequence, kind, status,
               generation, accepted_at, due_at, first_failed_at, attempts_made, entries, job_id,
               epoch, json, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            self.job,
            self.number,
            self.delivery.to_string(),
            self.endpoint,
            signed(self.sequence),
            kind_code(self.kind),
            status_code(self.status),
            self.generation,
            millis(self.accepted_at),
            millis(self.due_at),
            self.first_failed_at.map(millis),
            self.attempts_made,
            self.entries,
            self.own.job.as_ref().map(|(id, _)| id.as_str()),
            epoch,
            self.own.json,
            self.sum()
        ])?;
        Ok(())
    }

    /// Writes what can change of a delivery.
    pub(crate) fn update(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "UPDATE deliveries SET due_at = ?3, first_failed_at = ?4, attempts_made = ?5,
               entries = ?6, crc = ?7 WHERE job = ?1 AND number = ?2",
        )?
        .execute(params![
            self.job,
            self.number,
            millis(self.due_at),
            self.first_failed_at.map(millis),
            self.attempts_made,
            self.entries,
            self.sum()
        ])?;
        Ok(())
    }

    /// What a store keeps of a new delivery: what may leave its job's log it owns.
    pub(crate) fn new(row: &ledger::DeliveryRow, lane: &LaneKey, record: &EventRecord) -> Self {
        let redelivered = lane.redelivery.is_some();
        Self {
            job: row.job.map_or(0, signed),
            number: signed(row.number),
            delivery: row.id,
            endpoint: signed(row.endpoint),
            sequence: row.sequence,
            kind: row.kind,
            status: record.status(),
            generation: row.generation,
            accepted_at: row.accepted_at,
            due_at: row.due_at,
            first_failed_at: row.first_failed_at,
            attempts_made: row.attempts_made,
            entries: 0,
            own: Own {
                job: redelivered.then(|| (lane.job.clone(), record.id().epoch())),
                json: row.may_lose_its_event().then(|| record.json().to_vec()),
            },
        }
    }

    /// Takes over what can change of a delivery.
    pub(crate) fn set(&mut self, row: &ledger::DeliveryRow) {
        self.due_at = row.due_at;
        self.first_failed_at = row.first_failed_at;
        self.attempts_made = row.attempts_made;
    }

    /// The delivery, which nobody has leased.
    pub(crate) fn pending(&self) -> ledger::DeliveryRow {
        ledger::DeliveryRow {
            number: unsigned(self.number),
            job: (self.job != 0).then_some(unsigned(self.job)),
            endpoint: unsigned(self.endpoint),
            id: self.delivery,
            generation: self.generation,
            sequence: self.sequence,
            kind: self.kind,
            accepted_at: self.accepted_at,
            due_at: self.due_at,
            first_failed_at: self.first_failed_at,
            attempts_made: self.attempts_made,
            // Not kept; it decides nothing once the last progress is some time ago.
            spacing: Duration::ZERO,
            lease: None,
        }
    }

    /// The job, by name, and the incarnation of its log.
    pub(crate) fn job(&self, conn: &Connection) -> Result<(JobId, Epoch), Fault> {
        if let Some(own) = &self.own.job {
            return Ok(own.clone());
        }
        let job = JobRow::numbered(conn, self.job)?;
        job.map(|job| (job.id, job.head.epoch))
            .ok_or_else(|| self.lacks("its job"))
    }

    /// What it is to deliver. `epoch` is its job's.
    pub(crate) fn record(
        &self,
        conn: &Connection,
        epoch: Option<Epoch>,
    ) -> Result<EventRecord, Fault> {
        let own = self.own.job.as_ref().map(|(_, epoch)| *epoch);
        let epoch = own.or(epoch).ok_or_else(|| self.lacks("its job"))?;
        let id = EventId::new(epoch, self.sequence);
        if let Some(json) = &self.own.json {
            return Ok(EventRecord::restore(id, self.kind, self.status, json));
        }
        let event = EventRow::find(conn, self.job, self.sequence)?;
        Ok(event.ok_or_else(|| self.lacks("its event"))?.record(epoch))
    }

    fn lacks(&self, what: &str) -> Fault {
        Fault::damaged(format!("deliveries {}: {what} is missing", self.delivery))
    }
}

impl Record for DeliveryRow {
    const TABLE: &'static str = "deliveries";
    const COLUMNS: &'static str = "job, number, delivery, endpoint, sequence, kind, status, \
         generation, accepted_at, due_at, first_failed_at, attempts_made, entries, job_id, epoch, \
         json, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let job: Option<JobId> = maybe_parsed(row, 13)?;
        let delivery = Self {
            job: row.get(0)?,
            number: row.get(1)?,
            delivery: parsed(row, 2)?,
            endpoint: row.get(3)?,
            sequence: unsigned(row.get(4)?),
            kind: kind_of(row.get(5)?)?,
            status: status_of(row.get(6)?)?,
            generation: small(row, 7)?,
            accepted_at: time(row, 8)?,
            due_at: time(row, 9)?,
            first_failed_at: maybe_time(row, 10)?,
            attempts_made: small(row, 11)?,
            entries: row.get(12)?,
            own: Own {
                job: job.zip(maybe_parsed(row, 14)?),
                json: row.get(15)?,
            },
        };
        Ok((delivery, row.get(16)?))
    }

    fn sum(&self) -> i64 {
        let job = self.own.job.as_ref().map(|(id, _)| id.as_str().as_bytes());
        let epoch = self.own.job.as_ref().map(|(_, epoch)| epoch.to_string());
        Sum::of(Self::TABLE)
            .int(self.job)
            .int(self.number)
            .bytes(self.delivery.to_string().as_bytes())
            .int(self.endpoint)
            .int(signed(self.sequence))
            .int(kind_code(self.kind))
            .int(status_code(self.status))
            .int(self.generation.into())
            .int(millis(self.accepted_at))
            .int(millis(self.due_at))
            .maybe_int(self.first_failed_at.map(millis))
            .int(self.attempts_made.into())
            .int(self.entries)
            .maybe_bytes(job)
            .maybe_bytes(epoch.as_deref().map(str::as_bytes))
            .maybe_bytes(self.own.json.as_deref())
            .finish()
    }

    fn name(&self) -> String {
        self.delivery.to_string()
    }
}
