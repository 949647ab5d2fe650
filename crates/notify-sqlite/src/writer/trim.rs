//! Forgetting what is past its retention, and giving space back, in small steps.

use notify_core::Timestamp;
use notify_core::store::{Retention, StoreError};
use rusqlite::params;

use super::Writer;
use crate::error::Fault;
use crate::rows::{JobRow, Record, millis, number, signed};

impl Writer {
    pub(crate) fn trim(
        &mut self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let count = self.transact(|writer| {
            let jobs = writer.trim_jobs(now, retention, limit)?;
            let letters = writer.trim_dead(now, retention, limit)?;
            Ok((jobs + letters) as u64)
        })?;
        self.give_back()?;
        Ok(count)
    }

    fn trim_jobs(
        &mut self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> Result<usize, Fault> {
        let limit = signed(limit as u64);
        let rest = "WHERE ended_at IS NOT NULL ORDER BY ended_at, job_id LIMIT ?1";
        let ended = JobRow::all(&self.conn, rest, [limit])?;
        let is_over = |job: &&JobRow| {
            let ended_at = job.ended_at.unwrap_or(now);
            now.since(ended_at) >= retention.jobs
        };
        let mut count = 0;
        for job in ended.iter().take_while(is_over) {
            self.forget_job(job)?;
            count += 1;
        }
        Ok(count)
    }

    fn forget_job(&mut self, job: &JobRow) -> Result<(), Fault> {
        let named = {
            let mut statement = self.conn.prepare_cached(
                "SELECT delivery, endpoint FROM attempts WHERE job = ?1 AND state <> 0",
            )?;
            let settled =
                statement.query_map([job.number], |row| Ok((row.get(0)?, row.get(1)?)))?;
            settled.collect::<Result<Vec<(String, i64)>, _>>()?
        };
        for (delivery, endpoint) in &named {
            self.conn
                .prepare_cached("DELETE FROM delivery_ids WHERE delivery = ?1")?
                .execute([delivery])?;
            self.endpoints.release(&self.conn, *endpoint)?;
            if let Some(row) = self.endpoints.numbered(&self.conn, *endpoint)? {
                self.pacing.forget(&job.id, row.endpoint.id);
            }
        }
        for table in ["attempts", "events", "idempotency"] {
            self.conn
                .prepare_cached(&format!("DELETE FROM {table} WHERE job = ?1"))?
                .execute([job.number])?;
        }
        self.conn
            .prepare_cached("DELETE FROM jobs WHERE id = ?1")?
            .execute([job.number])?;
        if let Some((endpoint, _)) = job.webhook {
            self.endpoints.release(&self.conn, endpoint)?;
        }
        self.jobs.remove(&job.id);
        self.meta.jobs -= 1;
        Ok(())
    }

    fn trim_dead(
        &mut self,
        now: Timestamp,
        retention: Retention,
        limit: usize,
    ) -> Result<usize, Fault> {
        let outdated: Vec<(i64, i64)> = {
            let mut statement = self
                .conn
                .prepare_cached("SELECT id, died_at FROM dead_letters ORDER BY id LIMIT ?1")?;
            let oldest = statement
                .query_map([signed(limit as u64)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            oldest.collect::<Result<_, _>>()?
        };
        let kept = signed(u64::try_from(retention.dead_letters.as_millis()).unwrap_or(u64::MAX));
        // As `Timestamp::since`: what died in the future died just now.
        let is_over = |died_at: i64| millis(now).saturating_sub(died_at).max(0) >= kept;
        let mut count = 0;
        for (number, _) in outdated.into_iter().take_while(|row| is_over(row.1)) {
            self.drop_dead(number)?;
            count += 1;
        }
        Ok(count)
    }

    /// Shortens the database by a few pages if many are free.
    fn give_back(&mut self) -> Result<(), StoreError> {
        let free = number(&self.conn, "PRAGMA freelist_count", [])?.unwrap_or_default();
        let pages = number(&self.conn, "PRAGMA page_count", [])?.unwrap_or_default();
        if free < FREE_PAGES_KEPT || free < pages / 8 {
            return Ok(());
        }
        self.transact(|writer| {
            let sql = format!("PRAGMA incremental_vacuum({PAGES_A_STEP})");
            // Each row that this statement steps over frees a page.
            let mut statement = writer.conn.prepare(&sql)?;
            let mut rows = statement.query(params![])?;
            while rows.next()?.is_some() {}
            Ok(())
        })
    }
}

/// Free pages that are not worth giving back: 8 MiB.
const FREE_PAGES_KEPT: i64 = 2_048;
/// 2 MiB a step.
const PAGES_A_STEP: i64 = 512;
