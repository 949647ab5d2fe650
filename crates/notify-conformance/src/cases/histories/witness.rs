//! What must hold of any history, judged by outcomes alone: the model can't be
//! wrong in a way that nobody notices.

use std::collections::{HashMap, HashSet};

use notify_core::delivery::Leased;
use notify_core::{DeliveryId, EndpointUrl, Epoch, EventRecord, Timestamp};

#[derive(Default)]
pub(super) struct Witness {
    /// The last event of each job's log, and whether it was the end.
    heads: HashMap<Epoch, (u64, bool)>,
    /// The newest event that was leased in each lane.
    leased: HashMap<(Epoch, EndpointUrl), u64>,
    held: HashSet<DeliveryId>,
    held_lanes: HashSet<(Epoch, EndpointUrl)>,
}

impl Witness {
    /// Sequences are dense, and nothing follows a terminal event.
    pub(super) fn accepted(&mut self, record: &EventRecord) {
        let head = self.heads.entry(record.id().epoch()).or_default();
        assert_eq!(
            (record.sequence(), head.1),
            (head.0 + 1, false),
            "{record:?}"
        );
        *head = (record.sequence(), record.status().is_terminal());
    }

    /// Nothing is leased twice, early, or out of its lane's order.
    pub(super) fn leased(&mut self, now: Timestamp, leased: &Leased) {
        let delivery = leased.delivery();
        assert!(delivery.due_at <= now, "{delivery:?} at {now:?}");
        assert!(
            self.held.insert(delivery.id),
            "{delivery:?} is leased twice"
        );
        if delivery.lane.redelivery.is_some() {
            return;
        }
        let lane = (delivery.record.id().epoch(), delivery.endpoint.url.clone());
        let newest = self.leased.entry(lane.clone()).or_default();
        assert!(
            *newest <= delivery.record.sequence(),
            "{delivery:?} after {newest}"
        );
        *newest = delivery.record.sequence();
        assert!(
            self.held_lanes.insert(lane),
            "{delivery:?} is leased out of turn"
        );
    }

    pub(super) fn ended(&mut self, leased: &Leased) {
        let delivery = leased.delivery();
        self.held.remove(&delivery.id);
        if delivery.lane.redelivery.is_none() {
            let lane = (delivery.record.id().epoch(), delivery.endpoint.url.clone());
            self.held_lanes.remove(&lane);
        }
    }
}
