//! What is pending for each endpoint, and what is forgotten with one.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::rows::LaneRows;
use super::{Pending, subtract};
use crate::delivery::LaneKey;
use crate::id::{EndpointId, JobId};
use crate::ledger::Changes;
use crate::map::IdMap;

/// How many deliveries to each endpoint are pending, and in which lanes.
#[derive(Debug, Default)]
pub(super) struct AtEndpoints {
    counts: IdMap<EndpointId, u64>,
    lanes: IdMap<EndpointId, HashSet<Arc<LaneKey>>>,
}

impl AtEndpoints {
    pub(super) fn add(&mut self, id: EndpointId) {
        *self.counts.entry(id).or_default() += 1;
    }

    pub(super) fn remove(&mut self, id: EndpointId) {
        subtract(&mut self.counts, id);
    }

    /// A lane has its first delivery. The key, to be shared.
    pub(super) fn begin(&mut self, key: &LaneKey) -> Arc<LaneKey> {
        let key = Arc::new(key.clone());
        let lanes = self.lanes.entry(key.endpoint).or_default();
        lanes.insert(Arc::clone(&key));
        key
    }

    /// A lane is empty.
    pub(super) fn end(&mut self, key: &LaneKey) {
        if let Some(lanes) = self.lanes.get_mut(&key.endpoint) {
            lanes.remove(key);
            if lanes.is_empty() {
                self.lanes.remove(&key.endpoint);
            }
        }
    }
}

impl Pending {
    /// How many deliveries to an endpoint are pending.
    pub fn of_endpoint(&self, id: EndpointId) -> u64 {
        let counts = &self.at_endpoints.counts;
        counts.get(&id).copied().unwrap_or_default()
    }

    /// The lanes among `keys` with all that is pending in them, until those are
    /// `rows_max` deliveries; and whether those were all.
    pub fn whole_lanes(
        &self,
        keys: impl IntoIterator<Item = LaneKey>,
        rows_max: usize,
    ) -> (Vec<(LaneKey, LaneRows)>, bool) {
        let (mut lanes, mut rows) = (Vec::new(), 0);
        for key in keys {
            let Some(lane) = self.lanes.get(&key) else {
                continue;
            };
            if rows >= rows_max {
                return (lanes, false);
            }
            rows += lane.rows.len();
            let whole = LaneRows {
                first: lane.rows.iter().copied().collect(),
                stands: lane.stands.map(|(at, _)| at),
                progress_sent_at: self.sent.at(&key),
                ..LaneRows::default()
            };
            lanes.push((key, whole));
        }
        (lanes, true)
    }

    /// As [`whole_lanes`](Self::whole_lanes), of those at an endpoint.
    pub fn whole_lanes_at(
        &self,
        id: EndpointId,
        rows_max: usize,
    ) -> (Vec<(LaneKey, LaneRows)>, bool) {
        let lanes = self.at_endpoints.lanes.get(&id).into_iter().flatten();
        self.whole_lanes(lanes.map(|key| LaneKey::clone(key)), rows_max)
    }

    /// Nothing is known of jobs and endpoints that were deleted.
    pub(super) fn forget_deleted(&mut self, changes: &Changes) {
        for endpoint in &changes.endpoints_gone {
            let id = endpoint.endpoint.id;
            self.set_enabled(id, true);
            self.sent.at.retain(|lane, _| lane.endpoint != id);
        }
        for job in &changes.jobs_gone {
            let id: &JobId = &job.id;
            self.sent.at.retain(|lane, _| lane.job != *id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeliveryId;
    use crate::job::EventKind;
    use crate::ledger::DeliveryRow;
    use crate::time::Timestamp;

    fn key(job: u64, endpoint: u128) -> LaneKey {
        LaneKey {
            job: JobId::parse(&format!("job-{job}")).unwrap(),
            endpoint: EndpointId::from_random(endpoint),
            redelivery: None,
        }
    }

    fn row(number: u64) -> DeliveryRow {
        DeliveryRow {
            number,
            job: Some(number),
            endpoint: 1,
            id: DeliveryId::from_random(number.into()),
            generation: 0,
            sequence: 1,
            kind: EventKind::Lifecycle,
            json_bytes: 0,
            accepted_at: Timestamp::EPOCH,
            due_at: Timestamp::EPOCH,
            first_failed_at: None,
            attempts_made: 0,
            spacing: std::time::Duration::ZERO,
            lease: None,
        }
    }

    #[test]
    fn the_lanes_of_an_endpoint_come_whole_and_not_too_many_at_once() {
        let mut pending = Pending::default();
        for number in 0..60 {
            // Ten lanes of five at one endpoint, one of ten at another.
            let (job, endpoint) = if number < 50 {
                (number % 10, 1)
            } else {
                (0, 2)
            };
            pending.restore(&key(job, endpoint), row(number));
        }
        let at = EndpointId::from_random(1);
        let (lanes, are_all) = pending.whole_lanes_at(at, 11);
        let rows = lanes
            .iter()
            .map(|(_, rows)| (rows.first.len(), rows.hidden));
        assert_eq!(rows.collect::<Vec<_>>(), [(5, 0); 3]);
        assert!(!are_all);
        let (lanes, are_all) = pending.whole_lanes_at(at, 50);
        assert_eq!((lanes.len(), are_all), (10, true));
        assert!(lanes.iter().all(|(key, _)| key.endpoint == at));
        // An empty lane is none.
        for (key, rows) in lanes {
            for row in rows.first {
                pending.set_aside(Timestamp::EPOCH, &key, row.number);
            }
        }
        assert!(pending.whole_lanes_at(at, 50).0.is_empty());
        assert_eq!((pending.of_endpoint(at), pending.total()), (0, 10));
        assert!(pending.at_endpoints.lanes.len() == 1);
    }
}
