//! Taking up what the database holds, at opening.
//!
//! One scan of the unsettled deliveries, in order, rebuilds the lanes. Finished
//! jobs are not looked at, however many there are.

use notify_core::delivery::LaneKey;
use notify_core::{EndpointId, JobId};
use rusqlite::Row;

use super::Writer;
use crate::error::Fault;
use crate::rows::{DeliveryRow, MetaRow, Record, parsed, unsigned};

impl Writer {
    /// Reads what is kept in memory.
    pub(super) fn load(&mut self) -> Result<(), Fault> {
        self.meta = MetaRow::load(&self.conn)?;
        self.supply.number = unsigned(self.meta.next_number);
        self.load_lanes()?;
        let mut disabled = self
            .conn
            .prepare("SELECT endpoint FROM endpoints WHERE enabled = 0")?;
        let mut rows = disabled.query([])?;
        while let Some(row) = rows.next()? {
            // One that can't be read is not sent to either.
            if let Ok(id) = parsed(row, 0) {
                self.pending.set_enabled(id, false);
            }
        }
        self.pending.stand_all();
        Ok(())
    }

    fn load_lanes(&mut self) -> Result<(), Fault> {
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
            match waiting(row, columns.len()) {
                Ok((lane, delivery)) => self.pending.restore(&lane, delivery.pending()),
                Err(Fault::Damaged(row)) => {
                    tracing::error!(row, "damaged; a delivery is set aside");
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

/// A delivery and its lane; its job's and its endpoint's ids stand at `more`.
fn waiting(row: &Row<'_>, more: usize) -> Result<(LaneKey, DeliveryRow), Fault> {
    let delivery = DeliveryRow::checked(row)?;
    let lacks = |_| {
        let id = delivery.delivery;
        Fault::damaged(format!("deliveries {id}: its job or endpoint is missing"))
    };
    let job: JobId = match &delivery.own.job {
        Some((job, _)) => job.clone(),
        None => parsed(row, more).map_err(lacks)?,
    };
    let endpoint: EndpointId = parsed(row, more + 1).map_err(lacks)?;
    let lane = LaneKey {
        job,
        endpoint,
        redelivery: (delivery.generation > 0).then_some(delivery.delivery),
    };
    Ok((lane, delivery))
}
