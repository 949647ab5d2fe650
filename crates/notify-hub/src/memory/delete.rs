//! Deletions: what a step takes, and what goes with the last one.

use notify_core::JobId;
use notify_core::delivery::LaneKey;
use notify_core::ledger::{EndpointRow, JobRow, Rows};
use notify_core::store::{Deletion, Doomed};

use super::tables::Tables;

impl Tables {
    /// Fetches the whole lanes of a step.
    pub(super) fn fill_doomed(&self, what: Doomed, rows: &mut Rows) {
        let (lanes, are_all) = match &what {
            Doomed::Job { id, .. } => {
                let lanes = self.lanes_of(id);
                self.pending.whole_lanes(lanes, Deletion::STEP_MAX)
            }
            Doomed::Endpoint(id) => self.pending.whole_lanes_at(*id, Deletion::STEP_MAX),
        };
        rows.put_doomed(what, lanes, are_all);
    }

    /// The lanes in which something of a job is pending, each once: those of its list,
    /// and those of redeliveries that have outlived a job of that id.
    fn lanes_of(&self, id: &JobId) -> impl Iterator<Item = LaneKey> {
        let listed = self.jobs.get(id).into_iter();
        let listed = listed.flat_map(|job| job.deliveries.values().copied());
        let orphans = self.orphans.get(id).into_iter().flatten().copied();
        let ids = listed.chain(orphans);
        let pending = ids.filter_map(|id| self.deliveries.get(&id));
        let pending = pending.filter(|delivery| delivery.record.is_some());
        let mut seen = std::collections::HashSet::new();
        pending
            .map(|delivery| delivery.lane.clone())
            .filter(move |lane| seen.insert(lane.clone()))
    }

    /// Forgets jobs and endpoints that the ledger has deleted. Those that told one of
    /// the endpoints tell nobody.
    pub(super) fn forget_deleted(&mut self, jobs: Vec<JobRow>, endpoints: Vec<EndpointRow>) {
        for job in jobs {
            if let Some(ended_at) = job.ended_at {
                self.ended.remove(&(ended_at, job.number));
            }
            self.forget_job(job.number);
        }
        for endpoint in endpoints {
            self.forget_endpoint(endpoint.endpoint.id);
        }
    }
}
