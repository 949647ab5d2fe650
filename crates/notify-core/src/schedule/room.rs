//! How much room there is for deliveries that a store may lease.

use super::{EndpointState, Scheduler, len};
use crate::id::EndpointId;
use crate::store::Room;

impl Scheduler {
    /// How many more deliveries each endpoint can take: for a claim. One that is sick
    /// takes its probe, if that is due.
    pub fn room(&self) -> Room {
        let mut room = self.room_of_the_well();
        for id in self.healths.due() {
            if self.may_probe(id) {
                room.left.insert(id, 1);
            }
        }
        room
    }

    fn room_of_the_well(&self) -> Room {
        let each = self.limits.ready_per_endpoint_max;
        let busy = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| !endpoint.ready.is_empty());
        let left = busy.map(|(&id, endpoint)| {
            let is_sick = endpoint.has_health && self.healths.is_sick(id);
            let each = if is_sick { 0 } else { each };
            (id, each.saturating_sub(len(&endpoint.ready)))
        });
        Room {
            each,
            left: left.collect(),
            shut: self.healths.sick(),
            bytes: self.limits.ready_bytes_max.saturating_sub(self.bytes),
        }
    }

    /// Whether the probe of one that is sick is due, and there is nothing of it here.
    pub(super) fn may_probe(&self, id: EndpointId) -> bool {
        let is_bare =
            |endpoint: &EndpointState| endpoint.ready.is_empty() && endpoint.in_flight == 0;
        self.healths.is_due(id) && self.endpoints.get(&id).is_none_or(is_bare)
    }

    /// How many new heads each endpoint can take as they come: none where others
    /// have waited for longer.
    pub fn room_in_passing(&self) -> Room {
        if self.all_behind {
            return Room::default();
        }
        let mut room = self.room_of_the_well();
        let behind = self.endpoints.iter();
        let behind = behind.filter(|(_, endpoint)| endpoint.is_behind);
        room.left.extend(behind.map(|(&id, _)| (id, 0)));
        room
    }
}
