//! Writing deliveries: new ones, their attempts, their ends.

use std::collections::HashMap;

use notify_core::Timestamp;
use notify_core::delivery::{Attempt, DeliveryState, LaneKey, Undelivered};
use notify_core::ledger::{Changes, DeliveryChange, DeliveryRow, End};
use rusqlite::{params, params_from_iter};

use super::Writer;
use super::apply::ONE;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{self, AttemptRow, DeadRow, Record, signed};

/// What was read for a delivery that is to be written.
enum Read {
    Nothing,
    /// Its row, which is to be changed.
    Stored(Box<rows::DeliveryRow>),
    /// What it becomes.
    Letter(Box<DeadRow>),
}

impl Writer {
    /// A delivery whose rows are damaged is set aside, before anything of it is
    /// written.
    pub(super) fn put_delivery(
        &mut self,
        now: Timestamp,
        change: &DeliveryChange,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        match self.read_for(now, change, changes) {
            Ok(read) => self.write_delivery(change, read, staged),
            Err(Fault::Damaged(row)) => {
                staged.set_aside(&change.lane, change.row.number, &row);
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// What has to be read before a delivery can be written.
    fn read_for(
        &mut self,
        now: Timestamp,
        change: &DeliveryChange,
        changes: &Changes,
    ) -> Result<Read, Fault> {
        let row = &change.row;
        match (&change.before, change.end) {
            (Some(before), None) => {
                if row.is_same_but_for_the_lease(before) && change.attempts.is_empty() {
                    return Ok(Read::Nothing);
                }
                let stored = rows::DeliveryRow::known(&self.conn, row)?;
                Ok(Read::Stored(Box::new(stored)))
            }
            (before, Some(End::Dead { letter, reason })) => {
                let of = self.undelivered(change, changes)?;
                let mut history = Vec::new();
                if before.is_some() {
                    let (job, number) = place(row);
                    let entries = AttemptRow::readable(&self.conn, job, number)?;
                    history.extend(entries.into_iter().filter_map(|entry| entry.attempt));
                }
                history.extend(change.attempts.iter().cloned());
                let letter = DeadRow::new(signed(letter), of, reason, now, &history);
                Ok(Read::Letter(Box::new(letter)))
            }
            (_, Some(End::Delivered | End::Superseded)) | (None, None) => Ok(Read::Nothing),
        }
    }

    fn write_delivery(
        &self,
        change: &DeliveryChange,
        read: Read,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let row = &change.row;
        if change.before.is_none() {
            self.take_place(row, staged)?;
        }
        match read {
            Read::Nothing => {}
            Read::Letter(letter) => self.keep_letter(&letter, staged)?,
            Read::Stored(mut stored) => {
                let (entries, state) = (stored.entries, DeliveryState::Pending);
                stored.entries = self.enter(row, entries, &change.attempts, state)?;
                stored.set(row);
                stored.update(&self.conn)?;
            }
        }
        match (change.end, &change.record) {
            (Some(end), _) => self.end_delivery(change, end, staged),
            (None, Some(record)) => {
                rows::DeliveryRow::new(row, &change.lane, record).insert(&self.conn)
            }
            (None, None) => Ok(()),
        }
    }

    fn end_delivery(
        &self,
        change: &DeliveryChange,
        end: End,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let row = &change.row;
        let (job, number) = place(row);
        let mut entries = 0;
        if change.before.is_some() {
            let (_, taken) = rows::DeliveryRow::take(&self.conn, ONE, [job, number])?;
            entries = match taken.first() {
                Some(stored) => stored.entries,
                // It was damaged; what is to be written is all known.
                None => AttemptRow::count(&self.conn, job, number)?,
            };
        }
        if row.job.is_some() {
            self.enter(row, entries, &change.attempts, end.state())?;
            return Ok(());
        }
        // A redelivery that outlived its job: nobody can ask for it.
        AttemptRow::take(&self.conn, ONE, [job, number])?;
        self.leave_place(&row.id.to_string(), signed(row.endpoint), staged)
    }

    /// What a dead letter owns of a delivery.
    fn undelivered(
        &mut self,
        change: &DeliveryChange,
        changes: &Changes,
    ) -> Result<Undelivered, Fault> {
        let DeliveryChange { lane, row, .. } = change;
        let record = match &change.record {
            Some(record) => record.clone(),
            None => self.record_of(lane, row)?,
        };
        Ok(Undelivered {
            id: row.id,
            job: lane.job.clone(),
            record,
            endpoint: Some(lane.endpoint),
            url: self.url_of(lane, changes)?,
            generation: row.generation,
        })
    }

    fn url_of(&mut self, lane: &LaneKey, changes: &Changes) -> Result<String, Fault> {
        let id = lane.endpoint;
        if let Some(known) = self.known.endpoint(&self.conn, id)? {
            return Ok(known.endpoint.url.as_str().to_owned());
        }
        let mut new = changes.endpoints.iter().map(|new| &new.row.endpoint);
        let new = new.find(|endpoint| endpoint.id == id);
        let new = new.ok_or_else(|| Fault::damaged(format!("endpoints {id}: missing")))?;
        Ok(new.url.as_str().to_owned())
    }

    /// A delivery comes to be found by its id. If it was there before, it takes the
    /// place of its earlier generation.
    fn take_place(&self, row: &DeliveryRow, staged: &mut Staged) -> Result<(), Fault> {
        let (job, number) = place(row);
        if row.generation > 0 {
            self.forget_settled(ONE, &[job, number], staged)?;
        }
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO delivery_ids (delivery, job, number) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![row.id.to_string(), job, number])?;
        staged.name(signed(row.endpoint), 1);
        Ok(())
    }

    fn leave_place(&self, delivery: &str, endpoint: i64, staged: &mut Staged) -> Result<(), Fault> {
        self.conn
            .prepare_cached("DELETE FROM delivery_ids WHERE delivery = ?1")?
            .execute([delivery])?;
        staged.name(endpoint, -1);
        Ok(())
    }

    /// Writes attempts, and where they leave the delivery; how many rows it has then.
    fn enter(
        &self,
        row: &DeliveryRow,
        mut entries: i64,
        attempts: &[Attempt],
        state: DeliveryState,
    ) -> Result<i64, Fault> {
        let (job, number) = place(row);
        let mut enter = |state, attempt| {
            let entry = AttemptRow {
                job,
                number,
                entry: entries,
                delivery: row.id,
                endpoint: signed(row.endpoint),
                sequence: row.sequence,
                generation: row.generation,
                state,
                attempt,
            };
            entries += 1;
            entry.insert(&self.conn)
        };
        match attempts.split_last() {
            Some((last, earlier)) => {
                for attempt in earlier {
                    enter(DeliveryState::Pending, Some(attempt.clone()))?;
                }
                enter(state, Some(last.clone()))?;
            }
            None if state == DeliveryState::Pending => {}
            None => enter(state, None)?,
        }
        Ok(entries)
    }

    /// Forgets settled deliveries with their attempts; how many rows that were.
    pub(super) fn forget_settled(
        &self,
        which: &str,
        key: &[i64],
        staged: &mut Staged,
    ) -> Result<usize, Fault> {
        let (rows, entries) = AttemptRow::take(&self.conn, which, params_from_iter(key))?;
        let deliveries: HashMap<i64, (String, i64)> = entries
            .into_iter()
            .map(|entry| (entry.number, (entry.delivery.to_string(), entry.endpoint)))
            .collect();
        for (delivery, endpoint) in deliveries.values() {
            self.leave_place(delivery, *endpoint, staged)?;
        }
        Ok(rows)
    }

    /// Forgets deliveries of a job that were set aside; how many rows that were. Those
    /// with attempts are forgotten with these.
    pub(super) fn forget_set_aside(&self, job: i64, staged: &mut Staged) -> Result<usize, Fault> {
        let (rows, deliveries) = rows::DeliveryRow::take(&self.conn, "WHERE job = ?1", [job])?;
        for row in deliveries {
            let attempts = AttemptRow::count(&self.conn, job, row.number)?;
            if attempts == 0 {
                self.leave_place(&row.delivery.to_string(), row.endpoint, staged)?;
            }
        }
        Ok(rows)
    }
}

/// Where its rows are: its job's number, 0 if the job was forgotten, and its own.
fn place(row: &DeliveryRow) -> (i64, i64) {
    (row.job.map_or(0, signed), signed(row.number))
}
