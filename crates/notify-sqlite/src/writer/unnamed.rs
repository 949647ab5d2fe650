//! Forgetting endpoints that nothing names.
//!
//! Nobody counts who names one. Once an hour, if some were not named for as long as
//! [they are kept](Retention::endpoint_over), those that are named nevertheless are
//! found by a walk over jobs and deliveries, a step at a time between writes. The rest
//! is forgotten, but for those that something has come to name since it began.

use std::collections::{BTreeSet, HashSet};

use notify_core::Timestamp;
use notify_core::retention::Retention;
use notify_core::store::StoreError;
use rusqlite::params_from_iter;

use super::Writer;
use super::staged::NAMED_AGAIN;
use crate::error::Fault;
use crate::rows::{EndpointRow, Record};

/// The search for them.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    /// When it last began.
    began_at: Option<Timestamp>,
    /// Where it goes on, if it is not through.
    walk: Option<Walk>,
    /// Endpoints that nothing was found to name, by their number.
    candidates: HashSet<i64>,
}

/// Which row is the last that was looked at.
#[derive(Clone, Copy, Debug)]
enum Walk {
    Endpoints(i64),
    Jobs(i64),
    Deliveries([i64; 3]),
    /// All were looked at.
    Through,
}

impl Unnamed {
    /// Something has come to name these.
    pub(super) fn handle_named(&mut self, named: &BTreeSet<i64>) {
        for number in named {
            self.candidates.remove(number);
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| now >= at && now.since(at) < NAMED_AGAIN;
        !self.began_at.is_some_and(is_recent)
    }
}

impl Writer {
    /// Goes on for a while; whether there is more to do.
    pub(super) fn forget_unnamed(
        &mut self,
        now: Timestamp,
        retention: Retention,
    ) -> Result<bool, StoreError> {
        if self.unnamed.walk.is_none() {
            if !self.unnamed.is_due(now) {
                return Ok(false);
            }
            self.unnamed.began_at = Some(now);
            self.unnamed.candidates.clear();
            self.unnamed.walk = Some(Walk::Endpoints(0));
        }
        let mut steps = 0;
        while let Some(walk) = self.unnamed.walk {
            if steps == STEPS_MAX {
                return Ok(true);
            }
            steps += 1;
            if matches!(walk, Walk::Through) {
                let is_more = self.forget_candidates(now, retention)?;
                self.unnamed.walk = is_more.then_some(walk);
                continue;
            }
            self.unnamed.walk = match self.walk(walk, now, retention) {
                Ok(next) => next,
                // Whom that page names nobody knows, so nothing is forgotten.
                Err(Fault::Damaged(what)) => {
                    tracing::error!(what, "endpoints that nothing names are not looked for");
                    self.unnamed.candidates.clear();
                    None
                }
                Err(fault) => return Err(fault.into()),
            };
            let goes_on = matches!(self.unnamed.walk, Some(Walk::Endpoints(_)));
            if self.unnamed.candidates.is_empty() && !goes_on {
                self.unnamed.walk = None;
            }
        }
        Ok(false)
    }

    /// Forgets some of those that nothing names; whether there are more.
    fn forget_candidates(
        &mut self,
        now: Timestamp,
        retention: Retention,
    ) -> Result<bool, StoreError> {
        let candidates = self.unnamed.candidates.iter().copied();
        let some: Vec<i64> = candidates.take(FORGOTTEN_MAX).collect();
        self.transact(|writer, staged| {
            for &number in &some {
                let row = EndpointRow::numbered(&writer.conn, number);
                if let Ok(Some(row)) = row
                    && writer.is_over(&row, now, retention)
                {
                    row.delete(&writer.conn)?;
                    staged.endpoints_gone.push(row);
                }
            }
            Ok(())
        })?;
        for number in &some {
            self.unnamed.candidates.remove(number);
        }
        Ok(!self.unnamed.candidates.is_empty())
    }

    /// A step of the walk, from the row after this; where it goes on.
    fn walk(
        &mut self,
        walk: Walk,
        now: Timestamp,
        retention: Retention,
    ) -> Result<Option<Walk>, Fault> {
        match walk {
            Walk::Endpoints(after) => self.walk_endpoints(after, now, retention),
            Walk::Jobs(after) => {
                let (seen, last) = self.strike_out(JOBS, [after])?;
                let [last] = last.unwrap_or([after]);
                let is_through = seen < STEP;
                Ok(Some(if is_through {
                    Walk::Deliveries([0; 3])
                } else {
                    Walk::Jobs(last)
                }))
            }
            Walk::Through => Ok(None),
            Walk::Deliveries(after) => {
                let (seen, last) = self.strike_out(DELIVERIES, after)?;
                let last = last.filter(|_| seen >= STEP);
                Ok(Some(last.map_or(Walk::Through, Walk::Deliveries)))
            }
        }
    }

    fn walk_endpoints(
        &mut self,
        after: i64,
        now: Timestamp,
        retention: Retention,
    ) -> Result<Option<Walk>, Fault> {
        let sql = EndpointRow::select("WHERE id > ?1 ORDER BY id LIMIT ?2");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([after, STEP as i64])?;
        let (mut seen, mut last) = (0, after);
        let mut over = Vec::new();
        while let Some(row) = rows.next()? {
            (seen, last) = (seen + 1, row.get(0)?);
            // One that is damaged is kept for an operator to look at.
            if let Ok(row) = EndpointRow::checked(row)
                && self.is_over(&row, now, retention)
            {
                over.push(row.number);
            }
        }
        self.unnamed.candidates.extend(over);
        let is_through = seen < STEP || self.unnamed.candidates.len() >= CANDIDATES_MAX;
        Ok(Some(if is_through {
            Walk::Jobs(0)
        } else {
            Walk::Endpoints(last)
        }))
    }

    /// Whether an endpoint was last named so long ago that it is forgotten if nothing
    /// names it.
    fn is_over(&self, row: &EndpointRow, now: Timestamp, retention: Retention) -> bool {
        let over = retention.endpoint_over(now, &row.endpoint);
        // That it is named is noted only so often.
        let is_over = over.is_some_and(|over| row.named_at.plus(NAMED_AGAIN) <= over);
        is_over && self.pending.of_endpoint(row.endpoint.id) == 0
    }

    /// Strikes out the candidates that rows name: how many rows those were, and the
    /// key of the last. `sql` finds the key's columns and the endpoint's number.
    fn strike_out<const KEY: usize>(
        &mut self,
        sql: &str,
        after: [i64; KEY],
    ) -> Result<(usize, Option<[i64; KEY]>), Fault> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(after))?;
        let (mut seen, mut last) = (0, None);
        while let Some(row) = rows.next()? {
            seen += 1;
            let mut key = [0; KEY];
            for (column, value) in key.iter_mut().enumerate() {
                *value = row.get(column)?;
            }
            last = Some(key);
            let endpoint: Option<i64> = row.get(KEY)?;
            if let Some(endpoint) = endpoint {
                self.unnamed.candidates.remove(&endpoint);
            }
        }
        Ok((seen, last))
    }
}

const JOBS: &str = "SELECT id, endpoint FROM jobs WHERE id > ?1 ORDER BY id LIMIT 1000";

const DELIVERIES: &str = "SELECT job, sequence, target, endpoint FROM deliveries \
    WHERE (job, sequence, target) > (?1, ?2, ?3) ORDER BY job, sequence, target LIMIT 1000";

/// Rows that a step looks at.
const STEP: usize = 1_000;
/// Steps that are made at once, a few milliseconds' worth.
const STEPS_MAX: usize = 4;
/// The most that are forgotten in a transaction.
const FORGOTTEN_MAX: usize = 100;
/// The most that are looked for at a time; the others have their turn in an hour.
const CANDIDATES_MAX: usize = 100_000;
