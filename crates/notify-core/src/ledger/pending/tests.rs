//! What is pending against naive lists.

use proptest::prelude::*;

use super::*;
use crate::id::{DeliveryId, JobId};
use crate::job::EventKind;

const NOW: Timestamp = Timestamp::from_secs(100);

fn key(job: u64, endpoint: u64) -> LaneKey {
    LaneKey {
        job: JobId::parse(&format!("job-{job}")).unwrap(),
        endpoint: EndpointId::from_random(endpoint.into()),
        redelivery: None,
    }
}

fn row(number: u64, due_secs: u64) -> DeliveryRow {
    DeliveryRow {
        number,
        job: Some(number),
        endpoint: 1,
        id: DeliveryId::from_random(number.into()),
        generation: 0,
        sequence: 1,
        kind: EventKind::Lifecycle,
        json_bytes: 0,
        accepted_at: NOW,
        due_at: Timestamp::from_secs(due_secs),
        first_failed_at: None,
        attempts_made: 0,
        spacing: Duration::ZERO,
        lease: None,
    }
}

proptest! {
    /// Each lane has one delivery: `(endpoint, due)`.
    #[test]
    fn those_that_have_waited_longest_come_first_as_far_as_there_is_room(
        lanes in proptest::collection::vec((0..4_u64, 90..110_u64), 0..40),
        rooms in proptest::collection::vec(0..6_u32, 4),
        disabled in 0..6_u64,
        limit in 0..30_usize,
    ) {
        let mut pending = Pending::default();
        for (number, &(endpoint, due)) in (1..).zip(&lanes) {
            pending.restore(&key(number, endpoint), row(number, due));
        }
        pending.stand_all();
        pending.set_enabled(key(0, disabled).endpoint, false);
        let mut room = Room::default();
        for (endpoint, &left) in (0..).zip(&rooms) {
            room.left.insert(key(0, endpoint).endpoint, left);
        }
        let mut all: Vec<(u64, u64, u64)> = (1..)
            .zip(&lanes)
            .map(|(number, &(endpoint, due))| (due, number, endpoint))
            .filter(|&(due, _, endpoint)| due <= 100 && endpoint != disabled)
            .collect();
        all.sort_unstable();
        let mut taken = HashMap::new();
        let mut expected = Vec::new();
        let mut with_room = 0;
        for (_, number, endpoint) in all {
            let left = room.left_for(key(0, endpoint).endpoint);
            let taken: &mut u32 = taken.entry(endpoint).or_default();
            *taken += 1;
            if with_room <= limit && left > 0 && *taken <= left + 1 {
                with_room += usize::from(*taken <= left);
                expected.push(key(number, endpoint));
            }
        }
        let due = pending.due(NOW, &room, limit);
        let due: Vec<LaneKey> = due.iter().map(|key| LaneKey::clone(key)).collect();
        prop_assert_eq!(due, expected);
        let later = lanes.iter().map(|&(_, due)| due).filter(|&due| due > 100).min();
        prop_assert_eq!(pending.next_due(NOW), later.map(Timestamp::from_secs));
        let oldest = lanes.iter().map(|&(_, due)| due).min();
        prop_assert_eq!(pending.oldest_due(), oldest.map(Timestamp::from_secs));
    }
}

#[test]
fn a_lane_goes_on_without_what_was_set_aside() {
    let mut pending = Pending::default();
    let lane = key(1, 1);
    pending.restore(&lane, row(1, 500));
    pending.restore(&lane, row(2, 500));
    pending.stand_all();
    pending.set_aside(NOW, &lane, 1);
    assert_eq!(pending.lane(&lane).stands, Some(NOW));
    assert_eq!(pending.lane(&lane).first[0].number, 2);
    pending.set_aside(NOW, &lane, 2);
    assert_eq!((pending.total(), pending.oldest_due()), (0, None));
}
