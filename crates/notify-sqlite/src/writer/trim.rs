//! Forgetting what is past its retention, and giving space back, in short steps.
//!
//! A step is one transaction, and all else that is to be written waits for it. So
//! it is bounded in rows, and in time ([`STEP_TIME`]): on a disk that has to look
//! for old pages, a row takes thousands of times as long as one in the cache.

use std::time::{Duration, Instant};

use notify_core::retention::Retention;
use notify_core::store::{StoreError, Trimmed};
use notify_core::{JobId, Timestamp};
use rusqlite::OptionalExtension;

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{JobRow, millis, number};

/// How far a step may go.
pub(super) struct Bounds {
    rows_max: usize,
    until: Instant,
}

impl Bounds {
    pub(super) fn reached(&self, rows: usize) -> bool {
        rows >= self.rows_max || Instant::now() >= self.until
    }
}

impl Writer {
    pub(crate) fn trim(
        &mut self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> Result<Trimmed, StoreError> {
        let (expired, is_more) = self.expire(now, retention.max_age)?;
        let mut trimmed = Trimmed {
            expired,
            more: is_more,
            ..Trimmed::default()
        };
        let bounds = Bounds {
            rows_max,
            until: Instant::now() + STEP_TIME,
        };
        trimmed.more |= self.walk_letters(&bounds)?;
        self.transact(|writer, staged| {
            if let Some(over) = retention.jobs_over(now) {
                writer.trim_jobs(millis(over), &bounds, &mut trimmed, staged)?;
            }
            writer.trim_letters(now, &retention, &bounds, &mut trimmed, staged)
        })?;
        if !trimmed.more {
            trimmed.more = self.forget_unnamed(now, retention)?;
        }
        if !trimmed.more {
            trimmed.more = self.give_back()?;
        }
        Ok(trimmed)
    }

    /// Forgets jobs that had ended at `latest`, the first to end first.
    fn trim_jobs(
        &mut self,
        latest: i64,
        bounds: &Bounds,
        trimmed: &mut Trimmed,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let mut rows = 0;
        let mut after = (i64::MIN, i64::MIN);
        while let Some(next) = self.next_ended(latest, after)? {
            if trimmed.forgotten > 0 && bounds.reached(rows) {
                trimmed.more = true;
                break;
            }
            after = next;
            match JobRow::numbered(&self.conn, next.1) {
                Ok(Some(job)) => {
                    rows += self.forget_job(job.number, &job.id, staged)?;
                    trimmed.forgotten += 1;
                }
                Ok(None) => {}
                // It is kept for an operator to look at, and keeps no other.
                Err(Fault::Damaged(what)) => tracing::warn!(what, "a job is not forgotten"),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// When the first job that ended after that one did so, and its number.
    fn next_ended(&self, latest: i64, after: (i64, i64)) -> Result<Option<(i64, i64)>, Fault> {
        let mut next = self.conn.prepare_cached(NEXT_ENDED)?;
        let place = next.query_row([latest, after.0, after.1], |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        Ok(place.optional()?)
    }

    /// Forgets a job with all that it has; how many rows that were.
    pub(super) fn forget_job(
        &self,
        number: i64,
        id: &JobId,
        staged: &mut Staged,
    ) -> Result<usize, Fault> {
        let mut rows = self.forget_deliveries(number)?;
        for sql in [
            "DELETE FROM events WHERE job = ?1",
            "DELETE FROM idempotency WHERE job = ?1",
            "DELETE FROM jobs WHERE id = ?1",
        ] {
            rows += self.conn.prepare_cached(sql)?.execute([number])?;
        }
        staged.jobs_gone.push(id.clone());
        staged.counts.jobs -= 1;
        Ok(rows)
    }

    /// Forgets dead letters whose time is over, the first to be given up first, and
    /// then those that have to make room.
    fn trim_letters(
        &mut self,
        now: Timestamp,
        retention: &Retention,
        bounds: &Bounds,
        trimmed: &mut Trimmed,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        let mut dropped = 0;
        if let Some(over) = retention.dead_letters_over(now) {
            while let Some(letter) = number(&self.conn, NEXT_DEAD, [millis(over)])? {
                if dropped > 0 && bounds.reached(dropped) {
                    trimmed.more = true;
                    return Ok(());
                }
                self.drop_letter(letter, staged)?;
                dropped += 1;
                trimmed.forgotten += 1;
            }
        }
        self.crowd_out(retention, bounds, dropped, trimmed, staged)
    }

    /// Shortens the database by a few pages if many are free; says whether still
    /// many are.
    fn give_back(&mut self) -> Result<bool, StoreError> {
        if !self.has_much_free()? {
            return Ok(false);
        }
        self.transact(|writer, _| {
            let sql = format!("PRAGMA incremental_vacuum({PAGES_A_STEP})");
            // Each row that this statement steps over frees a page.
            let mut statement = writer.conn.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        Ok(self.has_much_free()?)
    }

    fn has_much_free(&self) -> Result<bool, Fault> {
        let free = number(&self.conn, "PRAGMA freelist_count", [])?.unwrap_or_default();
        let pages = number(&self.conn, "PRAGMA page_count", [])?.unwrap_or_default();
        Ok(free >= FREE_PAGES_KEPT && free >= pages / 8)
    }
}

/// Asks the index alone.
const NEXT_ENDED: &str = "SELECT ended_at, id FROM jobs \
    WHERE ended_at <= ?1 AND (ended_at, id) > (?2, ?3) ORDER BY ended_at, id LIMIT 1";

const NEXT_DEAD: &str = "SELECT id FROM dead_letters \
    WHERE due_at IS NULL AND died_at <= ?1 ORDER BY died_at LIMIT 1";

/// A step begins nothing more after so long.
const STEP_TIME: Duration = Duration::from_millis(10);
/// Free pages that are not worth giving back: 8 MiB.
const FREE_PAGES_KEPT: i64 = 2_048;
/// 1 MiB a step.
const PAGES_A_STEP: i64 = 256;
