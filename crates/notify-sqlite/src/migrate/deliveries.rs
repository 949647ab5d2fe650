//! Carrying over deliveries: what waited had a row of its own, what was settled was to
//! be read from its last attempt.

use rusqlite::params;

use super::endpoints::ENDPOINT;
use super::{Carrying, Key, version_1};
use crate::error::Fault;
use crate::rows::{AttemptRow, DeliveryRow, Place, Record};

impl Carrying<'_> {
    pub(super) fn deliveries(&self) -> Result<(), Fault> {
        let mut jobs = self.conn.prepare("SELECT id FROM jobs ORDER BY id")?;
        let jobs = jobs.query_map([], |row| row.get(0))?;
        for job in jobs {
            self.deliveries_of(job?)?;
        }
        // In the order in which they are kept, so that they are appended.
        self.conn.execute_batch(
            "INSERT INTO delivery_ids SELECT i.delivery, d.job, d.sequence, d.target
             FROM old_delivery_ids i CROSS JOIN deliveries d ON d.job = i.job
               AND d.number = i.number AND d.delivery = i.delivery
             ORDER BY i.delivery",
        )?;
        self.orphans()
    }

    fn deliveries_of(&self, job: i64) -> Result<(), Fault> {
        let mut of_job = self.conn.prepare_cached(
            "SELECT sequence, number, 1, generation, 0 FROM old_deliveries WHERE job = ?1
             UNION ALL SELECT sequence, number, 0, 0, entry FROM old_attempts
               WHERE job = ?1 AND state <> 0
             ORDER BY 1, 2, 3 DESC",
        )?;
        let mut rows = of_job.query([job])?;
        let mut last: Option<(Place, i64)> = None;
        while let Some(row) = rows.next()? {
            let (sequence, number): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (waits, generation): (bool, i64) = (row.get(2)?, row.get(3)?);
            let target = match last {
                Some((_, other)) if other == number => continue,
                Some((place, _)) if place.sequence == sequence => place.target + 1,
                _ => 0,
            };
            let place = Place {
                job,
                sequence,
                target,
            };
            last = Some((place, number));
            if waits && generation > 0 {
                self.redelivery(place, number)?;
            } else if waits {
                self.waiting(place, number)?;
            } else {
                self.settled(place, number)?;
                self.attempts(place, number, row.get(4)?)?;
            }
        }
        Ok(())
    }

    fn waiting(&self, place: Place, number: i64) -> Result<(), Fault> {
        let columns = format!(
            "job, sequence, ?3, number, delivery, {ENDPOINT}, kind, generation, 0, \
             accepted_at, due_at, first_failed_at, attempts_made, entries, json, NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, 0"
        );
        self.delivery(version_1::DELIVERIES, &columns, "1", place, number)?;
        self.attempts(place, number, i64::MAX)
    }

    /// In its job's list a redelivery only says that it waits.
    pub(super) fn listed(&self, place: Place, number: i64) -> Result<(), Fault> {
        let columns = format!(
            "job, sequence, ?3, number, delivery, {ENDPOINT}, kind, generation, 0, \
             accepted_at, due_at, first_failed_at, attempts_made, 0, NULL, NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, 0"
        );
        self.delivery(version_1::DELIVERIES, &columns, "1", place, number)
    }

    fn settled(&self, place: Place, number: i64) -> Result<(), Fault> {
        // Only progress leaves the log. When it was accepted nobody asks any more.
        let columns = format!(
            "job, sequence, ?3, number, delivery, {ENDPOINT},
             coalesce((SELECT kind FROM events e
               WHERE e.job = old_attempts.job AND e.sequence = old_attempts.sequence), 0),
             generation, state, coalesce(at, 0), coalesce(at, 0), NULL, coalesce(attempt, 0),
             entry, NULL, attempt, at, duration_ns, status, error, snippet, next_attempt_at, 0"
        );
        self.delivery(version_1::ATTEMPTS, &columns, "state <> 0", place, number)
    }

    /// Carries over the delivery that an old row tells of.
    fn delivery(
        &self,
        old: version_1::OldTable,
        columns: &str,
        which: &str,
        place: Place,
        number: i64,
    ) -> Result<(), Fault> {
        let (table, old_columns) = (old.name, old.columns);
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT {columns}, {old_columns} FROM old_{table}
             WHERE job = ?1 AND number = ?2 AND {which} LIMIT 1"
        ))?;
        let mut rows = statement.query([place.job, number, place.target])?;
        if let Some(row) = rows.next()? {
            let carried = self.carry::<DeliveryRow>(old, row);
            let carried = carried.and_then(|(delivery, is_sound)| {
                delivery.insert(self.conn)?;
                Ok((key(delivery.place), is_sound))
            });
            self.keep_if_sound(DeliveryRow::TABLE, carried)?;
        }
        Ok(())
    }

    /// Carries over the attempts of a delivery before this entry.
    fn attempts(&self, place: Place, number: i64, before: i64) -> Result<(), Fault> {
        if before == 0 {
            return Ok(());
        }
        let mut statement = self.conn.prepare_cached(&format!(
            "SELECT ?1, ?3, ?4, entry, attempt, at, duration_ns, status, error, snippet,
               next_attempt_at, 0, {} FROM old_attempts
             WHERE job = ?1 AND number = ?2 AND entry < ?5 ORDER BY entry",
            version_1::ATTEMPTS.columns
        ))?;
        let Place {
            job,
            sequence,
            target,
        } = place;
        let mut rows = statement.query(params![job, number, sequence, target, before])?;
        while let Some(row) = rows.next()? {
            let carried = self.carry::<AttemptRow>(version_1::ATTEMPTS, row);
            let carried = carried.and_then(|(attempt, is_sound)| {
                attempt.insert(self.conn)?;
                let (_, mut values) = key(place);
                values.push(attempt.entry);
                let key = "job = ?1 AND sequence = ?2 AND target = ?3 AND entry = ?4";
                Ok(((key, values), is_sound))
            });
            self.keep_if_sound(AttemptRow::TABLE, carried)?;
        }
        Ok(())
    }
}

fn key(place: Place) -> Key {
    let key = "job = ?1 AND sequence = ?2 AND target = ?3";
    (key, place.key().to_vec())
}
