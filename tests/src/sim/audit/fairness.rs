//! Who goes first at an endpoint that has more to send than room.

use notify_core::delivery::Delivery;
use notify_core::job::EventKind;

use super::{Audit, Invariant, Row};

impl Audit {
    /// A delivery is sent: whoever waited longer at the same endpoint has been passed
    /// once, and may be at most `most` times, which is how many deliveries of an
    /// endpoint may be ready.
    ///
    /// Why so many: what fell due before him is rightly ahead of him. What comes after
    /// he has fallen due can only be ready before him if it was leased as it came, by a
    /// write; that fills up to `most` places. A claim that his falling due calls for is
    /// made before the next write. Either it takes him, or it has no room for his
    /// endpoint, and from then on nothing is leased there as it comes until a claim has
    /// taken him. The first write after a fault or a start, and one under another
    /// clock, may do the same once more; so he counts as waiting from then on.
    ///
    /// Progress is left out: when it is due depends on what was sent before.
    pub(in crate::sim) fn goes_first(&mut self, delivery: &Delivery, most: u32) {
        let Some(row) = self.rows.get(&delivery.id) else {
            return;
        };
        let now = row.sent_at;
        let (due_at, endpoint) = (row.due_at, row.lane.endpoint);
        if row.kind == EventKind::Progress {
            return;
        }
        let floor = self.disturbed_at.max(self.changed_at);
        let mut longest = None;
        for (key, lane) in &self.lanes {
            if key.endpoint != endpoint || *key == delivery.lane {
                continue;
            }
            let Some(id) = lane.waiting.first() else {
                continue;
            };
            let Some(head) = self.rows.get_mut(id) else {
                continue;
            };
            let waits_since = head.waits_since(lane.head_since).max(floor);
            let waits = head.lease.is_none() && head.kind != EventKind::Progress;
            if waits && waits_since < now && due_at > waits_since {
                self.figures.passed += 1;
                head.passed += 1;
                longest = longest.max(Some((head.passed, *id)));
            }
        }
        if let Some((passed, id)) = longest {
            self.check(passed <= most, Invariant::Fair, || {
                format!("{id} has waited longest, and {passed} others went first")
            });
        }
    }
}

impl Row {
    fn waits_since(&self, head_since: u64) -> u64 {
        self.due_at.max(head_since)
    }
}
