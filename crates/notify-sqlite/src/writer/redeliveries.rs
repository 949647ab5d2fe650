//! Writing redeliveries. One is its dead letter's row, with a due time: it owns all
//! that it takes. Its job's list, if the job still is known, says so too.

use notify_core::Timestamp;
use notify_core::delivery::{Attempt, DeliveryState};
use notify_core::ledger::{self, Changes, DeliveryChange, End};
use rusqlite::params;

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{AttemptRow, DeadRow, DeliveryRow, Place, Waits, history_text, number, signed};

/// Whether this makes a redelivery of a dead letter.
pub(super) fn is_redelivered(change: &DeliveryChange) -> bool {
    change.row.generation > 0 && change.before.is_none() && change.end.is_none()
}

impl Writer {
    /// A dead letter comes to be redelivered: it is pending in its job's list, where
    /// the attempts of its earlier generation go.
    pub(super) fn redeliver(
        &mut self,
        change: &DeliveryChange,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let row = &change.row;
        let missing = || Fault::damaged(format!("dead_letters {}: missing", row.id));
        let mut letter = DeadRow::dead(&self.conn, row.id)?.ok_or_else(missing)?;
        self.note_letter(&letter, false, staged);
        letter.of.endpoint = Some(change.lane.endpoint);
        letter.of.generation = row.generation;
        letter.attempts = history_text(&[]);
        letter.waits = Some(Waits::of(row));
        letter.update(&self.conn)?;
        staged.counts.dead_letters -= 1;
        staged.name(signed(row.endpoint));
        self.list(row, letter.target, None)
    }

    /// Writes a redelivery that is pending, or has come to its end.
    pub(super) fn put_redelivery(
        &mut self,
        now: Timestamp,
        change: &DeliveryChange,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let row = &change.row;
        let Some(end) = change.end else {
            let before = change.before.as_ref();
            let is_same = before.is_some_and(|before| row.is_same_but_for_the_lease(before));
            if is_same && change.attempts.is_empty() {
                return Ok(());
            }
            let mut letter = self.letter_of(row)?;
            let mut history = letter.history()?;
            history.extend(change.attempts.iter().cloned());
            letter.attempts = history_text(&history);
            letter.waits = Some(Waits::of(row));
            return letter.update(&self.conn);
        };
        let letter = match self.letter_of(row) {
            Ok(letter) => Some(letter),
            // What was delivered needs it no more.
            Err(Fault::Damaged(damaged)) if !matches!(end, End::Dead { .. }) => {
                tracing::error!(row = damaged, "damaged, and settled");
                None
            }
            Err(fault) => return Err(fault),
        };
        let (_, target) = row.id.place();
        let target = letter
            .as_ref()
            .map_or(target.into(), |letter| letter.target);
        let mut history = match &letter {
            Some(letter) => letter.history()?,
            None => Vec::new(),
        };
        history.extend(change.attempts.iter().cloned());
        if let End::Dead { letter, reason } = end {
            let of = self.undelivered(change, changes)?;
            let dead = DeadRow::new(signed(letter), of, target, reason, now, &history);
            DeadRow::delete_redelivered(&self.conn, row.id)?;
            self.keep_letter(&dead, staged)?;
        } else {
            DeadRow::delete_redelivered(&self.conn, row.id)?;
        }
        self.list(row, target, Some((end, &history)))
    }

    /// The row of a redelivery that is pending.
    pub(super) fn letter_of(&self, row: &ledger::DeliveryRow) -> Result<DeadRow, Fault> {
        let missing = || Fault::damaged(format!("dead_letters {}: missing", row.id));
        DeadRow::redelivered(&self.conn, row.id)?.ok_or_else(missing)
    }

    /// Says in the job's list how a redelivery stands, if its job is known: it is
    /// pending, or these attempts have brought it to its end.
    fn list(
        &self,
        row: &ledger::DeliveryRow,
        target: i64,
        ended: Option<(End, &[Attempt])>,
    ) -> Result<(), Fault> {
        let Some(job) = row.job.map(signed) else {
            return Ok(());
        };
        let place = Place::of(&self.conn, row.id)?.unwrap_or(Place {
            job,
            sequence: signed(row.sequence),
            target,
        });
        let (event, _) = row.id.place();
        let epoch = event.epoch().to_string();
        let says_it = "SELECT 1 FROM jobs WHERE epoch = ?1";
        let old_id = match number(&self.conn, says_it, [epoch])? {
            Some(_) => None,
            None => Some(row.id),
        };
        let mut listed = DeliveryRow::of(row, place, old_id);
        // Since the last restart it may go by another number.
        let known =
            "SELECT number FROM deliveries WHERE job = ?1 AND sequence = ?2 AND target = ?3";
        if let Some(number) = number(&self.conn, known, place.key())? {
            listed.number = number;
        }
        AttemptRow::delete(&self.conn, place)?;
        match ended {
            None => listed.state = DeliveryState::Pending,
            Some((end, attempts)) => self.settle(&mut listed, end, attempts)?,
        }
        if let Some(id) = old_id {
            let sql = "INSERT OR REPLACE INTO delivery_ids VALUES (?1, ?2, ?3, ?4)";
            let key = params![id.to_string(), place.job, place.sequence, place.target];
            self.conn.prepare_cached(sql)?.execute(key)?;
        }
        listed.replace(&self.conn)
    }
}
