//! Fetching the rows that the ledger wants to see.

use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::LaneKey;
use notify_core::ledger::{EndpointRow, Found, JobRow, KeyRow, LetterRow, Rows, Wants};
use notify_core::store::{Room, Sweep};
use notify_core::{EndpointId, EndpointUrl, IdempotencyKey, JobId, Timestamp};
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::Writer;
use crate::error::Fault;
use crate::rows::{self, DeadRow, Record, dead_condition, number, signed, unsigned};

impl Writer {
    pub(super) fn fetch(&mut self, wants: Wants, rows: &mut Rows) -> Result<(), Fault> {
        if let Some(what) = wants.doomed {
            self.fetch_doomed(what, rows)?;
        }
        for id in wants.jobs {
            let found = self.find_job(&id)?;
            rows.put_job(id, found);
        }
        for id in wants.progress {
            if let Some(sequences) = self.known.progress(&self.conn, &id)? {
                rows.put_progress(id, sequences.clone());
            }
        }
        for (job, key) in wants.keys {
            let found = self.find_key(&job, &key)?;
            rows.put_key(job, key, found);
        }
        for id in wants.endpoints {
            let found = self.find_endpoint(id)?;
            rows.put_endpoint(id, found);
        }
        for url in wants.urls {
            let found = self.find_endpoint_at(&url)?;
            rows.put_endpoint_at(url, found);
        }
        for key in wants.lanes {
            let lane = self.pending.lane(&key);
            rows.put_lane(key, lane);
        }
        for sweep in wants.letters {
            let (letters, newest) = self.find_letters(&sweep)?;
            rows.put_letters(sweep, letters, newest);
        }
        Ok(())
    }

    /// Fetches a lane that is due, with its job and its endpoint.
    pub(super) fn fetch_lane(&mut self, key: &LaneKey, rows: &mut Rows) -> Result<(), Fault> {
        if rows.wants_job(&key.job) {
            let found = self.find_job(&key.job)?;
            rows.put_job(key.job.clone(), found);
        }
        if rows.wants_endpoint(key.endpoint) {
            let found = self.find_endpoint(key.endpoint)?;
            rows.put_endpoint(key.endpoint, found);
        }
        rows.put_lane(key.clone(), self.pending.lane(key));
        Ok(())
    }

    /// Lanes that are due, at endpoints that can be read. What is for another waits,
    /// or it would be in the way of each claim.
    pub(super) fn due(
        &mut self,
        now: Timestamp,
        room: &Room,
        limit: usize,
    ) -> Result<Vec<Arc<LaneKey>>, Fault> {
        'again: loop {
            let lanes = self.pending.due(now, room, limit);
            for lane in &lanes {
                let id = lane.endpoint;
                if !matches!(self.find_endpoint(id)?, Found::Row(_)) {
                    tracing::error!(endpoint = %id, "can't be read; what is for it waits");
                    self.pending.set_enabled(id, false);
                    continue 'again;
                }
            }
            return Ok(lanes);
        }
    }

    /// Lanes whose heads have been due for too long at endpoints that can be read.
    pub(super) fn expired(
        &mut self,
        now: Timestamp,
        max_age: Duration,
        limit: usize,
    ) -> Result<Vec<Arc<LaneKey>>, Fault> {
        'again: loop {
            let lanes = self.pending.expired(now, max_age, limit);
            for lane in &lanes {
                let id = lane.endpoint;
                if !matches!(self.find_endpoint(id)?, Found::Row(_)) {
                    tracing::error!(endpoint = %id, "can't be read; what is for it waits");
                    self.pending.set_sick(id, None);
                    continue 'again;
                }
            }
            return Ok(lanes);
        }
    }

    fn find_job(&mut self, id: &JobId) -> Result<Found<JobRow>, Fault> {
        let pending = &self.pending;
        let row = self.known.job(&self.conn, id).map(|row| {
            row.map(|row| JobRow {
                pending: pending.of_job(row.number),
                ..row.clone()
            })
        });
        Fault::found(row)
    }

    fn find_key(&self, job: &JobId, key: &IdempotencyKey) -> Result<Found<KeyRow>, Fault> {
        let Some(job) = self.known.number_of(job) else {
            // The job itself is new, or refused.
            return Ok(Found::Nothing);
        };
        let row = rows::KeyRow::find(&self.conn, signed(job), key);
        Fault::found(row.map(|row| {
            row.map(|row| KeyRow {
                fingerprint: row.fingerprint,
                sequence: unsigned(row.sequence),
            })
        }))
    }

    fn find_endpoint(&mut self, id: EndpointId) -> Result<Found<EndpointRow>, Fault> {
        let row = self.known.endpoint(&self.conn, id);
        let pending = &self.pending;
        Fault::found(row.map(|row| row.map(|row| row.row(pending.of_endpoint(id)))))
    }

    fn find_endpoint_at(&mut self, url: &EndpointUrl) -> Result<Found<EndpointRow>, Fault> {
        let row = self.known.endpoint_at(&self.conn, url);
        let pending = &self.pending;
        let of = |row: &rows::EndpointRow| row.row(pending.of_endpoint(row.endpoint.id));
        Fault::found(row.map(|row| row.map(of)))
    }

    /// A step of dead letters, and the number of the newest of all. One that is
    /// damaged is left out, and stays for an operator.
    fn find_letters(&self, sweep: &Sweep) -> Result<(Vec<LetterRow>, u64), Fault> {
        let (after, until) = sweep.numbers();
        let (condition, mut values) = dead_condition(sweep.filter());
        values.push(Value::Integer(signed(after)));
        values.push(Value::Integer(until.map_or(i64::MAX, signed)));
        let rest = format!("WHERE {condition} AND id > ? AND id <= ? ORDER BY id");
        let mut statement = self.conn.prepare_cached(&DeadRow::select(&rest))?;
        let mut rows = statement.query(params_from_iter(values))?;
        let mut letters = Vec::new();
        while letters.len() < Sweep::STEP_MAX
            && let Some(row) = rows.next()?
        {
            if let Found::Row(dead) = Fault::found(DeadRow::checked(row).map(Some))? {
                let listed = self.listed(&dead)?;
                letters.push(dead.row(listed));
            }
        }
        let newest = number(
            &self.conn,
            "SELECT coalesce(max(id), 0) FROM dead_letters WHERE due_at IS NULL",
            [],
        )?;
        Ok((letters, unsigned(newest.unwrap_or_default())))
    }

    /// The number in its job's list of what was given up, if it is still there.
    fn listed(&self, dead: &DeadRow) -> Result<Option<u64>, Fault> {
        let event = dead.of.record.id();
        let number = rows::DeliveryRow::listed(&self.conn, &dead.of.job, event, dead.target)?;
        Ok(number.map(unsigned))
    }
}
