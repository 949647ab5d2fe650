//! Writing deliveries: new ones, their attempts, their ends.

use notify_core::Timestamp;
use notify_core::delivery::{Attempt, LaneKey, Undelivered};
use notify_core::ledger::{Changes, DeliveryChange, End};

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{AttemptRow, DeadRow, DeliveryRow, Place, signed};

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
        let put = if change.end == Some(End::Forgotten) {
            self.forget_pending(change)
        } else if change.row.generation > 0 {
            self.put_redelivery(now, change, changes, staged)
        } else {
            self.put_first(now, change, changes, staged)
        };
        match put {
            Err(Fault::Damaged(row)) => {
                staged.set_aside(&change.lane, change.row.number, &row);
                Ok(())
            }
            put => put,
        }
    }

    /// Writes a delivery that was not given up yet. All that is to be read is read
    /// first.
    fn put_first(
        &mut self,
        now: Timestamp,
        change: &DeliveryChange,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let row = &change.row;
        let mut stored = match (&change.before, &change.record, row.job) {
            (Some(before), ..) => {
                let is_same = row.is_same_but_for_the_lease(before);
                if change.end.is_none() && is_same && change.attempts.is_empty() {
                    return Ok(());
                }
                if change.end.is_some() {
                    DeliveryRow::to_settle(&self.conn, row)?
                } else {
                    DeliveryRow::known(&self.conn, row)?
                }
            }
            (None, Some(record), Some(job)) => {
                staged.name(signed(row.endpoint));
                DeliveryRow::new(row, job, record)
            }
            (None, ..) => return Ok(()),
        };
        let letter = match change.end {
            Some(End::Dead { letter, reason }) => {
                let of = self.undelivered(change, changes)?;
                let mut history = AttemptRow::readable(&self.conn, stored.place)?;
                history.extend(change.attempts.iter().cloned());
                let (number, target) = (signed(letter), stored.place.target);
                Some(DeadRow::new(number, of, target, reason, now, &history))
            }
            _ => None,
        };
        stored.set(row);
        match change.end {
            None => {
                stored.entries = self.enter(stored.place, stored.entries, &change.attempts)?;
            }
            Some(end) => self.settle(&mut stored, end, &change.attempts)?,
        }
        if let Some(letter) = letter {
            self.keep_letter(&letter, staged)?;
        }
        if change.before.is_some() {
            stored.update(&self.conn)
        } else {
            stored.insert(&self.conn)
        }
    }

    /// Makes `stored` the row of a delivery that these attempts have brought to its
    /// `end`: the last of them stands in it.
    pub(super) fn settle(
        &self,
        stored: &mut DeliveryRow,
        end: End,
        attempts: &[Attempt],
    ) -> Result<(), Fault> {
        let (last, earlier) = attempts.split_last().unzip();
        let earlier = earlier.unwrap_or_default();
        stored.entries = self.enter(stored.place, stored.entries, earlier)?;
        stored.last = last.cloned();
        if let Some(state) = end.state() {
            stored.state = state;
        }
        stored.json = None;
        Ok(())
    }

    /// What a dead letter owns of a delivery.
    pub(super) fn undelivered(
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

    /// Writes attempts after which a delivery goes on; how many rows it has then.
    fn enter(&self, place: Place, mut entries: i64, attempts: &[Attempt]) -> Result<i64, Fault> {
        for attempt in attempts {
            let entry = AttemptRow {
                place,
                entry: entries,
                attempt: attempt.clone(),
            };
            entry.insert(&self.conn)?;
            entries += 1;
        }
        Ok(entries)
    }

    /// Forgets one settled delivery.
    pub(super) fn forget_settled(&self, place: Place) -> Result<(), Fault> {
        AttemptRow::delete(&self.conn, place)?;
        for sql in [
            "DELETE FROM delivery_ids WHERE delivery = (SELECT delivery FROM deliveries
               WHERE job = ?1 AND sequence = ?2 AND target = ?3)",
            "DELETE FROM deliveries WHERE job = ?1 AND sequence = ?2 AND target = ?3",
        ] {
            self.conn.prepare_cached(sql)?.execute(place.key())?;
        }
        Ok(())
    }

    /// Forgets every delivery of a job; how many rows that were.
    pub(super) fn forget_deliveries(&self, job: i64) -> Result<usize, Fault> {
        let mut rows = 0;
        for sql in [
            "DELETE FROM delivery_ids WHERE delivery IN
               (SELECT delivery FROM deliveries WHERE job = ?1)",
            "DELETE FROM attempts WHERE job = ?1",
            "DELETE FROM deliveries WHERE job = ?1",
        ] {
            rows += self.conn.prepare_cached(sql)?.execute([job])?;
        }
        Ok(rows)
    }
}
