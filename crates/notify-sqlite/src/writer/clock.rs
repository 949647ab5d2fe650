//! What is pending when the clock turns out to be wrong: now, or when it was
//! written.

use std::collections::HashMap;
use std::time::Duration;

use notify_core::Timestamp;
use notify_core::clock::{ClockStep, DELAY_MAX, due_again, failed_again};
use notify_core::lane::{LaneRow, OVERTAKEN_AFTER};
use notify_core::store::StoreError;
use rusqlite::Connection;

use super::Writer;
use super::lanes::Changed;
use crate::error::Fault;
use crate::rows::{DeliveryRow, millis, time, unsigned};

impl Writer {
    /// Brings what is pending to the time of a clock that was set.
    pub(crate) fn clock_set(&mut self, step: ClockStep) -> Result<(), StoreError> {
        self.transact(|writer| {
            let changed = writer.lanes.change(|_, row| LaneRow {
                due_at: step.due(row.due_at),
                accepted_at: step.stamp(row.accepted_at),
                first_failed_at: row.first_failed_at.map(|at| step.stamp(at)),
                ..row
            });
            writer.write_times(&changed)?;
            writer.pacing.clock_set(step);
            Ok(())
        })
    }

    /// Sees to it, once, that nothing which an earlier life left behind waits
    /// longer than it was told to, or is given up for time that nobody saw pass:
    /// the clock may have been wrong then, or was set since.
    pub(super) fn take_up(&mut self, now: Timestamp) -> Result<(), Fault> {
        if self.taken_up {
            return Ok(());
        }
        let due = waiting_too_long(&self.conn, now)?;
        let attempted = left_alone(&self.conn, now)?;
        let changed = self.lanes.change(|place, row| LaneRow {
            due_at: due.get(&place).copied().unwrap_or(row.due_at),
            accepted_at: row.accepted_at.min(now),
            first_failed_at: row.first_failed_at.map(|first_failed_at| {
                let attempted_at = attempted.get(&place).copied().unwrap_or(now);
                failed_again(now, first_failed_at, attempted_at)
            }),
            ..row
        });
        // The rest is done anew by whoever takes this up again.
        let changed: Vec<_> = changed
            .into_iter()
            .filter(|(place, _)| due.contains_key(place))
            .collect();
        self.write_times(&changed)?;
        self.taken_up = true;
        Ok(())
    }

    /// Writes down what was changed in the index. A row that is damaged stops
    /// nobody here: it is named when it is to be sent.
    fn write_times(&self, changed: &[Changed]) -> Result<(), Fault> {
        for ((job, number), times) in changed {
            match DeliveryRow::find(&self.conn, *job, *number) {
                Ok(Some(mut row)) => {
                    row.due_at = times.due_at;
                    row.first_failed_at = times.first_failed_at;
                    row.update(&self.conn)?;
                }
                Ok(None) | Err(Fault::Damaged(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

/// When deliveries are due, by their place, that wait at `now` for longer than
/// the delay that they were given: by their last attempt, or when they came.
fn waiting_too_long(
    conn: &Connection,
    now: Timestamp,
) -> Result<HashMap<(i64, i64), Timestamp>, Fault> {
    let mut statement = conn.prepare(
        "SELECT job, number, due_at, delay FROM
           (SELECT d.job, d.number, d.due_at,
                   max(coalesce(a.next_attempt_at - a.at, d.due_at - d.accepted_at), 0) AS delay
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

/// When deliveries that have failed were attempted last, by their place, if that
/// is longer ago than anyone may wait behind them.
fn left_alone(conn: &Connection, now: Timestamp) -> Result<HashMap<(i64, i64), Timestamp>, Fault> {
    let mut statement = conn.prepare(
        "SELECT d.job, d.number, a.at FROM deliveries d JOIN attempts a
           ON a.job = d.job AND a.number = d.number AND a.entry = d.entries - 1
         WHERE d.first_failed_at IS NOT NULL AND a.at < ?1",
    )?;
    let mut rows = statement.query([millis(now.minus(OVERTAKEN_AFTER))])?;
    let mut attempted = HashMap::new();
    while let Some(row) = rows.next()? {
        attempted.insert((row.get(0)?, row.get(1)?), time(row, 2)?);
    }
    Ok(attempted)
}
