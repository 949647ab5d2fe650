//! What is pending when the clock turns out to be wrong: now, or when it was
//! written.

use std::time::Duration;

use notify_core::Timestamp;
use notify_core::clock::{ClockStep, due_again, failed_again};
use notify_core::delivery::Attempt;
use notify_core::ledger::DeliveryRow;
use notify_core::store::StoreError;

use super::{Writer, healthy};
use crate::error::Fault;
use crate::rows::{self, DeadRow, EndpointRow, Waits};

/// A pending delivery's last attempt, as far as a wrong clock is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastAttempt {
    at: Timestamp,
    /// How long the delivery had to wait after it.
    delay: Duration,
}

impl LastAttempt {
    pub(super) fn of(attempt: &Attempt) -> Self {
        let ended_at = attempt.at.plus(attempt.duration);
        let next = attempt.next_attempt_at.unwrap_or(ended_at);
        Self {
            at: attempt.at,
            delay: next.since(ended_at),
        }
    }
}

impl Writer {
    /// Brings what is pending to the time of a clock that was set.
    pub(crate) fn clock_set(&mut self, step: ClockStep) -> Result<(), StoreError> {
        let mut is_done = false;
        let written = self.transact(|writer, _| {
            is_done = true;
            for row in writer.pending.clock_set(step) {
                writer.write_times(&row)?;
            }
            writer.carry_endpoints(|at| step.stamp(at))
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
        let last_attempts = std::mem::take(&mut self.last_attempts);
        let again = |row: DeliveryRow| {
            let last = last_attempts.get(&row.id);
            let given = || row.due_at.since(row.accepted_at);
            let delay = last.map_or_else(given, |last| last.delay);
            DeliveryRow {
                due_at: due_again(now, row.due_at, delay),
                accepted_at: row.accepted_at.min(now),
                first_failed_at: row.first_failed_at.map(|first_failed_at| {
                    let attempted_at = last.map_or(now, |last| last.at);
                    failed_again(now, first_failed_at, attempted_at)
                }),
                ..row
            }
        };
        let written = self.transact(|writer, _| {
            for row in writer.pending.rows() {
                // The rest is done anew by whoever takes this up again.
                let due_at = again(*row).due_at;
                if due_at != row.due_at {
                    writer.write_times(&DeliveryRow { due_at, ..*row })?;
                }
            }
            // Nothing happened in what is the future.
            writer.carry_endpoints(|at| at.min(now))
        });
        if written.is_ok() {
            self.pending.change(again);
            self.taken_up = true;
            self.show();
        } else {
            self.last_attempts = last_attempts;
        }
        written
    }

    /// Brings what is said of endpoints' health to another clock. What is known of them
    /// is read again when it is needed.
    fn carry_endpoints(&mut self, carry: impl Fn(Timestamp) -> Timestamp) -> Result<(), Fault> {
        for row in EndpointRow::noted(&self.conn)? {
            let Some(carried) = row.endpoint.with_times(&carry) else {
                continue;
            };
            self.known.forget_endpoint(&row);
            self.pending.set_sick(carried.id, carried.sick_since);
            let endpoint = carried.into();
            EndpointRow { endpoint, ..row }.update(&self.conn)?;
        }
        Ok(())
    }

    /// Writes down when a delivery is due. A row that is damaged stops nobody here:
    /// it is named when it is to be sent.
    fn write_times(&self, row: &DeliveryRow) -> Result<(), Fault> {
        let written = if row.generation > 0 {
            DeadRow::redelivered(&self.conn, row.id).and_then(|letter| match letter {
                None => Ok(()),
                Some(mut letter) => {
                    letter.waits = Some(Waits::of(row));
                    letter.update(&self.conn)
                }
            })
        } else {
            rows::DeliveryRow::known(&self.conn, row).and_then(|mut stored| {
                stored.set(row);
                stored.update(&self.conn)
            })
        };
        match written {
            Err(Fault::Damaged(_)) => Ok(()),
            written => written,
        }
    }
}
