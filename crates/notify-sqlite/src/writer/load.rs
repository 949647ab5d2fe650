//! Taking up what the database holds, at opening.
//!
//! The pending deliveries of jobs that have not ended, in order, and those that are
//! being redelivered, rebuild the lanes. Finished jobs are not looked at, however many
//! there are; after a crash they are counted.

use notify_core::delivery::LaneKey;
use notify_core::{EndpointId, Epoch, JobId, ledger};
use rusqlite::Row;

use super::Writer;
use super::clock::LastAttempt;
use crate::error::Fault;
use crate::rows::{
    AttemptRow, Counts, DeadRow, DeliveryRow, MetaRow, Place, Record, maybe_time, parsed, small,
    unsigned,
};

impl Writer {
    /// Reads what is kept in memory.
    pub(super) fn load(&mut self) -> Result<(), Fault> {
        self.meta = MetaRow::load(&self.conn)?;
        self.supply.number = unsigned(self.meta.next_number);
        self.counts = if self.meta.exact {
            self.meta.counts
        } else {
            Counts::counted(&self.conn)?
        };
        self.load_lanes()?;
        self.load_redeliveries()?;
        let mut sick = self.conn.prepare(SICK)?;
        let mut rows = sick.query([])?;
        while let Some(row) = rows.next()? {
            // One that can't be read is not sent to either.
            if let Ok(id) = parsed(row, 0) {
                self.pending.set_enabled(id, row.get(1)?);
                self.pending.set_sick(id, maybe_time(row, 2)?);
            }
        }
        self.pending.stand_all();
        Ok(())
    }

    fn load_lanes(&mut self) -> Result<(), Fault> {
        let more = columns_of::<DeliveryRow>("d").len();
        let mut statement = self.conn.prepare(&waiting_query())?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let waiting = waiting(row, more);
            let Some((lane, delivery, place)) = unless_damaged(waiting)? else {
                continue;
            };
            self.pending.restore(&lane, delivery);
            if delivery.attempts_made > 0
                && let Some(last) = unless_damaged(AttemptRow::last(&self.conn, place))?.flatten()
            {
                let last = LastAttempt::of(&last.attempt);
                self.last_attempts.insert(delivery.id, last);
            }
        }
        Ok(())
    }

    fn load_redeliveries(&mut self) -> Result<(), Fault> {
        let more = columns_of::<DeadRow>("l").len();
        let mut statement = self.conn.prepare(&redelivered_query())?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let redelivered = redelivered(row, more);
            let Some((lane, delivery, letter)) = unless_damaged(redelivered)? else {
                continue;
            };
            self.pending.restore(&lane, delivery);
            if let Some(last) = letter.history().unwrap_or_default().last() {
                self.last_attempts
                    .insert(delivery.id, LastAttempt::of(last));
            }
        }
        Ok(())
    }
}

/// What opening asks for, whatever has come before.
#[cfg(test)]
pub(crate) fn opening_queries() -> [String; 3] {
    [waiting_query(), redelivered_query(), SICK.to_owned()]
}

/// One that is disabled is sick too.
const SICK: &str =
    "SELECT endpoint, enabled, sick_since FROM endpoints WHERE sick_since IS NOT NULL";

fn waiting_query() -> String {
    let columns = columns_of::<DeliveryRow>("d").join(", ");
    format!(
        "SELECT {columns}, j.job_id, j.epoch, e.endpoint,
           coalesce(length(d.json), (SELECT length(json) FROM events
             WHERE job = d.job AND sequence = d.sequence), 0)
         FROM jobs j INDEXED BY jobs_open
         CROSS JOIN deliveries d ON d.job = j.id AND d.state = 0 AND d.generation = 0
         LEFT JOIN endpoints e ON e.id = d.endpoint
         WHERE j.ended_at IS NULL ORDER BY j.id, d.sequence, d.target"
    )
}

fn redelivered_query() -> String {
    let columns = columns_of::<DeadRow>("l").join(", ");
    format!(
        "SELECT {columns}, j.id, e.id FROM dead_letters l INDEXED BY dead_letters_redelivered
         LEFT JOIN jobs j ON j.job_id = l.job_id AND j.epoch = l.epoch
         LEFT JOIN endpoints e ON e.endpoint = l.endpoint
         WHERE l.due_at IS NOT NULL ORDER BY l.id"
    )
}

fn columns_of<R: Record>(table: &str) -> Vec<String> {
    let columns = R::COLUMNS.split(", ");
    columns.map(|column| format!("{table}.{column}")).collect()
}

fn unless_damaged<T>(read: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Fault::Damaged(row)) => {
            tracing::error!(row, "damaged; a delivery is set aside");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// A delivery and its lane; its job's id and epoch, its endpoint's id and how long its
/// event's JSON is stand at `more`.
fn waiting(row: &Row<'_>, more: usize) -> Result<(LaneKey, ledger::DeliveryRow, Place), Fault> {
    let delivery = DeliveryRow::checked(row)?;
    let lacks = |_| {
        let place = delivery.place;
        Fault::damaged(format!(
            "deliveries {place}: its job or endpoint is missing"
        ))
    };
    let job: JobId = parsed(row, more).map_err(lacks)?;
    let epoch: Epoch = parsed(row, more + 1).map_err(lacks)?;
    let endpoint: EndpointId = parsed(row, more + 2).map_err(lacks)?;
    let lane = LaneKey {
        job,
        endpoint,
        redelivery: None,
    };
    let json_bytes = small(row, more + 3)?;
    Ok((lane, delivery.pending(epoch, json_bytes), delivery.place))
}

/// A redelivery and its lane; the numbers of its job, if there still is one, and of
/// its endpoint stand at `more`.
fn redelivered(
    row: &Row<'_>,
    more: usize,
) -> Result<(LaneKey, ledger::DeliveryRow, DeadRow), Fault> {
    let letter = DeadRow::checked(row)?;
    let lacks = |what: &str| Fault::damaged(format!("dead_letters {}: no {what}", letter.of.id));
    let job: Option<i64> = row.get(more)?;
    let number: Option<i64> = row.get(more + 1)?;
    let lane = LaneKey {
        job: letter.of.job.clone(),
        endpoint: letter.of.endpoint.ok_or_else(|| lacks("endpoint"))?,
        redelivery: Some(letter.of.id),
    };
    let waits = letter.waits.ok_or_else(|| lacks("due time"))?;
    let delivery = ledger::DeliveryRow {
        // Lanes of their own need numbers that are theirs alone, and no more.
        number: unsigned(letter.number),
        job: job.map(unsigned),
        endpoint: unsigned(number.ok_or_else(|| lacks("such endpoint"))?),
        id: letter.of.id,
        generation: letter.of.generation,
        sequence: letter.of.record.sequence(),
        kind: letter.of.record.kind(),
        json_bytes: letter.of.record.json_bytes(),
        accepted_at: waits.accepted_at,
        due_at: waits.due_at,
        first_failed_at: waits.first_failed_at,
        attempts_made: waits.attempts_made,
        spacing: std::time::Duration::ZERO,
        lease: None,
    };
    Ok((lane, delivery, letter))
}
