//! Deletions: what a step takes, and what goes with the last one.
//!
//! What names a deleted endpoint by its number and is settled stays where it is, shows no
//! more, and goes with its job: a number is never given to another endpoint.

use std::collections::HashSet;

use notify_core::delivery::LaneKey;
use notify_core::ledger::{Changes, DeliveryChange, Rows};
use notify_core::store::{Deletion, Doomed};
use notify_core::{EndpointId, JobId};

use super::Writer;
use super::staged::Staged;
use crate::error::Fault;
use crate::rows::{DeadRow, DeliveryRow, Place, parsed, signed};

impl Writer {
    /// Fetches the whole lanes of a step.
    pub(super) fn fetch_doomed(&self, what: Doomed, rows: &mut Rows) -> Result<(), Fault> {
        let (lanes, are_all) = match &what {
            Doomed::Job { id, .. } => {
                let (keys, are_all) = self.lanes_of(id)?;
                let (lanes, fit) = self.pending.whole_lanes(keys, Deletion::STEP_MAX);
                // What was set aside is in no lane, and keeps nothing.
                let is_over = are_all || lanes.is_empty();
                (lanes, fit && is_over)
            }
            Doomed::Endpoint(id) => self.pending.whole_lanes_at(*id, Deletion::STEP_MAX),
        };
        rows.put_doomed(what, lanes, are_all);
        Ok(())
    }

    /// Lanes in which something of a job is pending, each once, and whether there are no
    /// more: those of its list, and those of redeliveries of any job that had its id.
    fn lanes_of(&self, id: &JobId) -> Result<(Vec<LaneKey>, bool), Fault> {
        let mut keys = Vec::new();
        let mut seen: HashSet<EndpointId> = HashSet::new();
        let (mut waiting, mut redelivered) = (0, 0);
        let mut statement = self.conn.prepare_cached(WAITING)?;
        let mut found = statement.query([id.as_str()])?;
        while let Some(row) = found.next()? {
            waiting += 1;
            let endpoint = parsed(row, 0)?;
            if seen.insert(endpoint) {
                keys.push(LaneKey {
                    job: id.clone(),
                    endpoint,
                    redelivery: None,
                });
            }
        }
        let mut statement = self.conn.prepare_cached(REDELIVERED)?;
        let mut found = statement.query([id.as_str()])?;
        while let Some(row) = found.next()? {
            redelivered += 1;
            keys.push(LaneKey {
                job: id.clone(),
                endpoint: parsed(row, 1)?,
                redelivery: Some(parsed(row, 0)?),
            });
        }
        Ok((keys, waiting < LIMIT && redelivered < LIMIT))
    }

    /// Forgets jobs and endpoints that the ledger has deleted.
    pub(super) fn forget_deleted(
        &mut self,
        changes: &Changes,
        staged: &mut Staged,
    ) -> Result<(), Fault> {
        for job in &changes.jobs_gone {
            self.forget_job(signed(job.number), &job.id, staged)?;
            let aside = "DELETE FROM dead_letters WHERE job_id = ?1 AND due_at IS NOT NULL";
            let mut delete = self.conn.prepare_cached(aside)?;
            delete.execute([job.id.as_str()])?;
        }
        for gone in &changes.endpoints_gone {
            let id = gone.endpoint.id;
            if let Some(row) = self.known.endpoint(&self.conn, id)?.cloned() {
                row.delete(&self.conn)?;
                staged.endpoints_gone.push(row);
            }
            let aside = "DELETE FROM dead_letters WHERE endpoint = ?1 AND due_at IS NOT NULL";
            let mut delete = self.conn.prepare_cached(aside)?;
            delete.execute([id.to_string()])?;
        }
        Ok(())
    }

    /// Forgets a delivery that was pending, damaged or not.
    pub(super) fn forget_pending(&self, change: &DeliveryChange) -> Result<(), Fault> {
        let row = &change.row;
        let place = if row.generation == 0 {
            DeliveryRow::place_of(&self.conn, row)?
        } else {
            DeadRow::delete_redelivered(&self.conn, row.id)?;
            Place::of(&self.conn, row.id)?.filter(|_| row.job.is_some())
        };
        place.map_or(Ok(()), |place| self.forget_settled(place))
    }
}

/// As many rows as a step can take, and one more.
const LIMIT: usize = Deletion::STEP_MAX + 1;

const WAITING: &str = "SELECT e.endpoint FROM deliveries d JOIN endpoints e ON e.id = d.endpoint \
    WHERE d.job = (SELECT id FROM jobs WHERE job_id = ?1) AND d.state = 0 AND d.generation = 0 \
    LIMIT 129";

const REDELIVERED: &str = "SELECT delivery, endpoint FROM dead_letters \
    INDEXED BY dead_letters_by_job WHERE job_id = ?1 AND due_at IS NOT NULL LIMIT 129";

const _: () = assert!(LIMIT == 129, "as the queries say");
