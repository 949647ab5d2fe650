//! Taking up what the database holds: at opening, and after a rollback.
//!
//! One scan of the unsettled deliveries, in order, rebuilds the lanes. Finished
//! jobs are not looked at, however many there are.

use std::time::Duration;

use notify_core::delivery::LaneKey;
use notify_core::lane::LaneRow;
use notify_core::{EndpointId, JobId, Timestamp};

use super::Writer;
use super::endpoints::Endpoints;
use super::lanes::{Lanes, Waiting};
use crate::error::Fault;
use crate::rows::{DeliveryRow, MetaRow, Record, parsed};

impl Writer {
    /// Reads what is kept in memory, except leases.
    pub(super) fn load(&mut self) -> Result<(), Fault> {
        self.meta = MetaRow::load(&self.conn)?;
        self.stored_meta = self.meta;
        self.jobs.clear();
        self.fresh.clear();
        self.endpoints = Endpoints::load(&self.conn)?;
        self.lanes = self.load_lanes()?;
        for held in self.leases.iter() {
            if let Some(waiting) = self.lanes.waiting_mut(&held.lane, held.number) {
                waiting.row.leased = true;
            }
        }
        self.lanes.stand_all();
        Ok(())
    }

    fn load_lanes(&self) -> Result<Lanes, Fault> {
        let mut lanes = Lanes::default();
        let columns: Vec<String> = DeliveryRow::COLUMNS
            .split(", ")
            .map(|column| format!("d.{column}"))
            .collect();
        let mut statement = self.conn.prepare(&format!(
            "SELECT {}, j.job_id, e.endpoint FROM deliveries d
             LEFT JOIN jobs j ON j.id = d.job LEFT JOIN endpoints e ON e.id = d.endpoint
             ORDER BY d.job, d.number",
            columns.join(", ")
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let delivery = DeliveryRow::checked(row)?;
            let lacks = |_| {
                let id = delivery.delivery;
                Fault::damaged(format!("deliveries {id}: its job or endpoint is missing"))
            };
            let job: JobId = match &delivery.own.job {
                Some((job, _)) => job.clone(),
                None => parsed(row, columns.len()).map_err(lacks)?,
            };
            let endpoint: EndpointId = parsed(row, columns.len() + 1).map_err(lacks)?;
            let key = LaneKey {
                job,
                endpoint,
                redelivery: (delivery.generation > 0).then_some(delivery.delivery),
            };
            // After a rollback the longest distance that was asked for is kept; it
            // is not written down.
            let waiting = Waiting::of(&delivery, self.pacing.spacing_max());
            lanes.push(&key, delivery.job, delivery.endpoint, waiting);
        }
        Ok(lanes)
    }

    /// Changes when a delivery is due.
    pub(super) fn set_due(
        &mut self,
        lane: &LaneKey,
        job: i64,
        number: i64,
        due_at: Timestamp,
    ) -> Result<(), Fault> {
        if let Some(waiting) = self.lanes.waiting_mut(lane, number) {
            waiting.row.due_at = due_at;
        }
        if let Some(delivery) = self.fresh.get_mut(&number) {
            delivery.due_at = due_at;
        }
        if let Some(mut row) = DeliveryRow::find(&self.conn, job, number)? {
            row.due_at = due_at;
            row.update(&self.conn)?;
        }
        Ok(())
    }
}

impl Waiting {
    pub(super) fn of(delivery: &DeliveryRow, spacing: Duration) -> Self {
        Self {
            number: delivery.number,
            delivery: delivery.delivery,
            generation: delivery.generation,
            entries: delivery.entries,
            row: LaneRow {
                sequence: delivery.sequence,
                kind: delivery.kind,
                accepted_at: delivery.accepted_at,
                due_at: delivery.due_at,
                first_failed_at: delivery.first_failed_at,
                spacing,
                leased: false,
            },
        }
    }
}
