//! Carrying over dead letters, and redeliveries, which become some.

use notify_core::delivery::Attempt;
use rusqlite::params;

use super::endpoints::ENDPOINT_ID;
use super::{Carrying, version_1};
use crate::error::Fault;
use crate::rows::{AttemptRow, DeadRow, Place, Record, history_text, number, signed};

impl Carrying<'_> {
    pub(super) fn letters(&self) -> Result<(), Fault> {
        let columns = format!(
            "id, delivery, job_id, epoch, sequence, 0, kind, status, json, {ENDPOINT_ID}, url,
             generation, reason, died_at, attempts, NULL, NULL, NULL, NULL, 0, 0"
        );
        self.each(version_1::LETTERS, &columns, |mut letter: DeadRow| {
            letter.target = self.target_of(&letter)?;
            letter.bytes = letter.of.bytes(&letter.history().unwrap_or_default());
            letter.insert(self.conn)?;
            Ok(("id = ?1", vec![letter.number]))
        })
    }

    /// Which of those that the event was told to a dead letter is of: the one of its
    /// delivery, or one more if that is listed no more.
    fn target_of(&self, letter: &DeadRow) -> Result<i64, Fault> {
        let listed = "SELECT target FROM delivery_ids WHERE delivery = ?1";
        if let Some(target) = number(self.conn, listed, [letter.of.id.to_string()])? {
            return Ok(target);
        }
        let event = letter.of.record.id();
        let others = "SELECT max(
               coalesce((SELECT max(d.target) + 1 FROM deliveries d JOIN jobs j ON j.id = d.job
                         WHERE j.job_id = ?3 AND j.epoch = ?1 AND d.sequence = ?2), 0),
               coalesce((SELECT max(target) + 1 FROM dead_letters
                         WHERE job_id = ?3 AND epoch = ?1 AND sequence = ?2), 0))";
        let key = params![
            event.epoch().to_string(),
            signed(event.sequence()),
            letter.of.job.as_str()
        ];
        Ok(number(self.conn, others, key)?.unwrap_or_default())
    }

    /// Redeliveries whose job was forgotten.
    pub(super) fn orphans(&self) -> Result<(), Fault> {
        let mut orphans = self
            .conn
            .prepare("SELECT number FROM old_deliveries WHERE job = 0")?;
        let orphans = orphans.query_map([], |row| row.get(0))?;
        for orphan in orphans {
            self.redelivery_of(0, orphan?, None)?;
        }
        Ok(())
    }

    /// A redelivery of a job that is known.
    pub(super) fn redelivery(&self, place: Place, number: i64) -> Result<(), Fault> {
        self.listed(place, number)?;
        self.redelivery_of(place.job, number, Some(place.target))
    }

    /// Why it was given up is not known any more, nor when: as if its attempts were
    /// exhausted when it came to be redelivered.
    fn redelivery_of(&self, job: i64, number: i64, target: Option<i64>) -> Result<(), Fault> {
        let old = version_1::DELIVERIES;
        let old_columns = old.columns.split(", ").map(|column| format!("d.{column}"));
        let old_columns: Vec<String> = old_columns.collect();
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT d.number, d.delivery, d.job_id, d.epoch, d.sequence, 0, d.kind, d.status,
               d.json, coalesce(e.endpoint, ''), coalesce(e.url, ''), d.generation, 0,
               d.accepted_at, '[]', d.accepted_at, d.due_at, d.first_failed_at, d.attempts_made,
               0, 0, {} FROM old_deliveries d LEFT JOIN old_united u ON u.gone = d.endpoint
             LEFT JOIN endpoints e ON e.id = coalesce(u.kept, d.endpoint)
             WHERE d.job = ?1 AND d.number = ?2",
            old_columns.join(", ")
        ))?;
        let mut rows = statement.query([job, number])?;
        if let Some(row) = rows.next()? {
            let carried = self.carry::<DeadRow>(old, row);
            let carried = carried.and_then(|(mut letter, is_sound)| {
                letter.target = match target {
                    Some(target) => target,
                    None => self.target_of(&letter)?,
                };
                let history = self.history(job, number)?;
                letter.bytes = letter.of.bytes(&history);
                letter.attempts = history_text(&history);
                letter.insert(self.conn)?;
                Ok((("id = ?1", vec![letter.number]), is_sound))
            });
            self.keep_if_sound(DeadRow::TABLE, carried)?;
        }
        Ok(())
    }

    /// The attempts of a redelivery that can be read.
    fn history(&self, job: i64, number: i64) -> Result<Vec<Attempt>, Fault> {
        let old = version_1::ATTEMPTS;
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT job, sequence, 0, entry, attempt, at, duration_ns, status, error, snippet,
               next_attempt_at, 0, {} FROM old_attempts
             WHERE job = ?1 AND number = ?2 AND attempt IS NOT NULL ORDER BY entry",
            old.columns
        ))?;
        let mut rows = statement.query([job, number])?;
        let mut history = Vec::new();
        while let Some(row) = rows.next()? {
            match self.carry::<AttemptRow>(old, row) {
                Ok((entry, true)) => history.push(entry.attempt),
                Ok((entry, false)) => tracing::error!(row = entry.name(), "damaged, and left out"),
                Err(fault) if super::is_of_the_row(&fault) => {
                    tracing::error!(%fault, "damaged, and left out");
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(history)
    }
}
