//! Dead letters: keeping, redelivering, dropping them.

use std::time::Duration;

use notify_core::Timestamp;
use notify_core::delivery::{Attempt, DeadReason, Delivery, LaneKey};
use notify_core::store::{DeadFilter, StoreError};
use rusqlite::{OptionalExtension, params_from_iter};

use super::Writer;
use super::append::New;
use crate::error::Fault;
use crate::rows::{AttemptRow, DeadRow, Record, dead_condition};

impl Writer {
    pub(super) fn keep_dead(
        &mut self,
        now: Timestamp,
        delivery: Delivery,
        reason: DeadReason,
        history: &[Attempt],
    ) -> Result<(), Fault> {
        let number = self.next_number();
        self.meta.dead_letters += 1;
        DeadRow::new(number, delivery, reason, now, history).insert(&self.conn)
    }

    pub(super) fn drop_dead(&mut self, number: i64) -> Result<(), Fault> {
        self.meta.dead_letters -= 1;
        DeadRow::delete(&self.conn, number)
    }

    pub(crate) fn redeliver(
        &mut self,
        now: Timestamp,
        filter: &DeadFilter,
    ) -> Result<u64, StoreError> {
        self.transact(|writer| {
            let matching = writer.matching_dead(filter)?;
            for &number in &matching {
                writer.redeliver_one(now, number)?;
            }
            Ok(matching.len() as u64)
        })
    }

    pub(crate) fn drop_dead_letters(&mut self, filter: &DeadFilter) -> Result<u64, StoreError> {
        self.transact(|writer| {
            let matching = writer.matching_dead(filter)?;
            for &number in &matching {
                writer.drop_dead(number)?;
            }
            Ok(matching.len() as u64)
        })
    }

    /// The numbers of matching dead letters, oldest first.
    fn matching_dead(&self, filter: &DeadFilter) -> Result<Vec<i64>, Fault> {
        let (condition, values) = dead_condition(filter);
        let sql = format!("SELECT id FROM dead_letters WHERE {condition} ORDER BY id");
        let mut statement = self.conn.prepare(&sql)?;
        let numbers = statement.query_map(params_from_iter(values), |row| row.get(0))?;
        numbers.map(|number| Ok(number?)).collect()
    }

    /// Makes a dead letter pending again, in a lane of its own.
    fn redeliver_one(&mut self, now: Timestamp, number: i64) -> Result<(), Fault> {
        let Some(dead) = DeadRow::one(&self.conn, "WHERE id = ?1", [number])? else {
            return Ok(());
        };
        self.drop_dead(number)?;
        let delivery = dead.delivery;
        let id = delivery.id.to_string();
        let known: Option<(i64, i64)> = self
            .conn
            .prepare_cached("SELECT job, number FROM delivery_ids WHERE delivery = ?1")?
            .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        // It keeps its place in its job's list, if it still has one.
        let is_new = known.is_none();
        let (job, number) = match known {
            None => {
                let job = self.jobs.find(&self.conn, &delivery.lane.job)?;
                let epoch = delivery.record.id().epoch();
                let same = job.filter(|job| job.row.head.epoch == epoch);
                (same.map_or(0, |job| job.row.number), self.next_number())
            }
            Some((job, number)) => {
                let entries = AttemptRow::of(&self.conn, job, number)?;
                if let Some(entry) = entries.first() {
                    self.forget_delivery(job, number, &id, entry.endpoint)?;
                }
                (job, number)
            }
        };
        let url = &delivery.url;
        let (endpoint, endpoint_id) = self.restore_endpoint(delivery.lane.endpoint, url)?;
        let lane = LaneKey {
            job: delivery.lane.job,
            endpoint: endpoint_id,
            redelivery: Some(delivery.id),
        };
        let new = New {
            id: delivery.id,
            job,
            number,
            lane: &lane,
            endpoint,
            url: delivery.url,
            generation: delivery.generation.saturating_add(1),
            is_new,
            record: &delivery.record,
            spacing: Duration::ZERO,
        };
        self.add_delivery(now, new)?;
        self.lanes.stand(&lane, Some(now));
        Ok(())
    }
}
