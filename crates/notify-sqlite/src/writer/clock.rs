//! What is pending when the clock turns out to be wrong: now, or when it was
//! written.

use std::collections::HashMap;
use std::time::Duration;

use notify_core::Timestamp;
use notify_core::clock::{ClockStep, DELAY_MAX, due_again, failed_again};
use notify_core::ledger::DeliveryRow;
use notify_core::store::StoreError;
use rusqlite::Connection;

use super::{Writer, healthy};
use crate::error::Fault;
use crate::rows::{self, millis, signed, time, unsigned};

/// Where a delivery's row is: its job's number and its own.
type Place = (i64, i64);

impl Writer {
    /// Brings what is pending to the time of a clock that was set.
    pub(crate) fn clock_set(&mut self, step: ClockStep) -> Result<(), StoreError> {
        let mut is_done = false;
        let written = self.transact(|writer, _| {
            is_done = true;
            for row in writer.pending.clock_set(step) {
                writer.write_times(place(&row), |stored| stored.set(&row))?;
            }
            Ok(())
        });
        match written {
            Err(error) if is_done && healthy(&self.poison).is_ok() => {
                // What waits here waits for the right time, and whoever opens the
                // store next finds nobody waiting for too long.
                tracing::warn!(%error, "the times of what waits are not written down");
                Ok(())
            }
            written => written,
        }
    }

    /// Sees to it, once, that nothing which an earlier life left behind waits
    /// longer than it was told to, or is given up for time that nobody saw pass:
    /// the clock may have been wrong then, or was set since.
    pub(super) fn take_up(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.taken_up {
            return Ok(());
        }
        let (due, attempted) = self.transact(|writer, _| {
            let due = waiting_too_long(&writer.conn, now)?;
            // The rest is done anew by whoever takes this up again.
            for (&place, &due_at) in &due {
                writer.write_times(place, |stored| stored.due_at = due_at)?;
            }
            Ok((due, last_attempts(&writer.conn)?))
        })?;
        self.pending.change(|row| DeliveryRow {
            due_at: due.get(&place(&row)).copied().unwrap_or(row.due_at),
            accepted_at: row.accepted_at.min(now),
            first_failed_at: row.first_failed_at.map(|first_failed_at| {
                let attempted_at = attempted.get(&place(&row)).copied().unwrap_or(now);
                failed_again(now, first_failed_at, attempted_at)
            }),
            ..row
        });
        self.taken_up = true;
        self.show();
        Ok(())
    }

    /// Writes down when a delivery is due. A row that is damaged stops nobody here:
    /// it is named when it is to be sent.
    fn write_times(
        &self,
        (job, number): Place,
        set: impl FnOnce(&mut rows::DeliveryRow),
    ) -> Result<(), Fault> {
        match rows::DeliveryRow::find(&self.conn, job, number) {
            Ok(Some(mut stored)) => {
                set(&mut stored);
                stored.update(&self.conn)
            }
            Ok(None) | Err(Fault::Damaged(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

fn place(row: &DeliveryRow) -> Place {
    (row.job.map_or(0, signed), signed(row.number))
}

/// When deliveries are due, by their place, that wait at `now` for longer than
/// the delay that they were given: after their last attempt, or when they came.
fn waiting_too_long(conn: &Connection, now: Timestamp) -> Result<HashMap<Place, Timestamp>, Fault> {
    let mut statement = conn.prepare(
        "SELECT job, number, due_at, delay FROM
           (SELECT d.job, d.number, d.due_at,
                   max(coalesce(a.next_attempt_at - a.at - a.duration_ns / 1000000,
                                d.due_at - d.accepted_at), 0) AS delay
            FROM deliveries d LEFT JOIN attempts a
              ON a.job = d.job AND a.number = d.number AND a.entry = d.entries - 1
            WHERE d.due_at > ?1)
         WHERE due_at - ?1 > min(delay, ?2)",
    )?;
    let delay_max = i64::try_from(DELAY_MAX.as_millis()).unwrap_or(i64::MAX);
    let mut rows = statement.query([millis(now), delay_max])?;
    let mut due = HashMap::new();
    while let Some(row) = rows.next()? {
        let delay = Duration::from_millis(unsigned(row.get(3)?));
        let due_at = due_again(now, time(row, 2)?, delay);
        due.insert((row.get(0)?, row.get(1)?), due_at);
    }
    Ok(due)
}

/// When deliveries that have failed were attempted last, by their place.
fn last_attempts(conn: &Connection) -> Result<HashMap<Place, Timestamp>, Fault> {
    let mut statement = conn.prepare(
        "SELECT d.job, d.number, a.at FROM deliveries d JOIN attempts a
           ON a.job = d.job AND a.number = d.number AND a.entry = d.entries - 1
         WHERE d.first_failed_at IS NOT NULL AND a.at IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    let mut attempted = HashMap::new();
    while let Some(row) = rows.next()? {
        attempted.insert((row.get(0)?, row.get(1)?), time(row, 2)?);
    }
    Ok(attempted)
}
