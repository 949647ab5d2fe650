//! Who goes first where there is more due than room.

use proptest::prelude::*;

use super::*;

/// One that is leased in passing where there is room for it, else left behind: how
/// a store answers.
fn offer(scheduler: &mut Scheduler, room: &mut Room, n: u128, endpoint: u128) -> bool {
    let id = EndpointId::from_random(endpoint);
    let head = leased(n, endpoint, EventKind::Lifecycle);
    let is_leased = room.take(id, head.delivery().record.json_bytes());
    if is_leased {
        scheduler.handle_ready(head);
    } else {
        scheduler.handle_left_waiting(id);
    }
    is_leased
}

#[test]
fn a_full_endpoint_asks_for_more_once_half_of_it_has_gone() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let endpoint = EndpointId::from_random(1);
    let mut room = scheduler.room();
    for n in 0..4 {
        assert!(offer(&mut scheduler, &mut room, n, 1));
    }
    assert!(!scheduler.room().has(endpoint));
    assert!(scheduler.room().has(EndpointId::from_random(2)));
    // Nothing was left behind yet, so nothing is to be fetched.
    assert!(scheduler.poll_attempt(at(1)).is_some());
    assert!(!scheduler.poll_claim(at(1)));
    assert!(!offer(&mut scheduler, &mut room, 4, 1));
    assert!(!scheduler.poll_claim(at(1)), "three of four are ready");
    assert!(scheduler.poll_attempt(at(1)).is_some());
    assert!(scheduler.poll_claim(at(1)));
    assert_eq!(scheduler.room().left_for(endpoint), 2);
    assert!(!scheduler.poll_claim(at(1)), "it is asked for once");
}

#[test]
fn what_is_left_behind_when_there_is_room_again_is_asked_for_at_once() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    scheduler.handle_ready(leased(0, 1, EventKind::Lifecycle));
    // The store is told of three places, and before it answers one more is free.
    let mut room = scheduler.room();
    assert_eq!(room.left_for(EndpointId::from_random(1)), 3);
    assert!(scheduler.poll_attempt(at(1)).is_some());
    for n in 1..4 {
        assert!(offer(&mut scheduler, &mut room, n, 1));
    }
    assert!(scheduler.poll_attempt(at(1)).is_some());
    scheduler.handle_left_waiting(EndpointId::from_random(1));
    assert!(scheduler.poll_claim(at(1)));
    // Of an endpoint that has become idle meanwhile nothing is remembered.
    scheduler.handle_left_waiting(EndpointId::from_random(2));
    assert!(scheduler.poll_claim(at(1)));
}

/// Room for two deliveries, and a little more.
#[test]
fn what_is_ready_or_in_flight_is_bounded_in_bytes() {
    let one = leased(0, 1, EventKind::Lifecycle).delivery().bytes();
    let limits = Limits {
        ready_bytes_max: 2 * one + 1,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(limits, policy(), 1);
    let mut room = scheduler.room();
    // What is begun is used up.
    let taken = (0..4).map(|n| offer(&mut scheduler, &mut room, n, n));
    assert_eq!(taken.collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!((scheduler.bytes(), scheduler.room().bytes), (3 * one, 0));
    // What was left waiting is asked for once an eighth is free; being in flight does
    // not free anything.
    let sent = [(); 3].map(|()| scheduler.poll_attempt(at(1)).unwrap());
    assert!(!scheduler.poll_claim(at(1)));
    scheduler.handle_attempt_finished(at(2), sent[0].id, answered(200));
    assert!(!scheduler.poll_claim(at(1)), "one byte is free");
    scheduler.handle_attempt_finished(at(2), sent[1].id, answered(200));
    assert!(scheduler.poll_claim(at(1)));
    assert_eq!(scheduler.room().bytes, one + 1);
}

#[test]
fn what_gives_way_or_is_given_back_frees_its_bytes() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let progress = leased(1, 1, EventKind::Progress);
    let lane = progress.delivery().lane.clone();
    let mut disabled = Endpoint::clone(&leased(2, 2, EventKind::Lifecycle).delivery().endpoint);
    disabled.enabled = false;
    scheduler.handle_ready(progress);
    scheduler.handle_ready(leased(2, 2, EventKind::Lifecycle));
    scheduler.handle_newer(&lane, 99);
    scheduler.handle_endpoint_changed(&Arc::new(disabled));
    assert_eq!(scheduler.bytes(), 0);
}

#[test]
fn any_event_can_be_sent_though_it_is_larger_than_the_bound() {
    let limits = Limits {
        ready_bytes_max: 1,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(limits, policy(), 1);
    for n in 0..3 {
        let mut room = scheduler.room();
        assert!(offer(&mut scheduler, &mut room, n, n));
        assert!(!offer(&mut scheduler, &mut room, 9, 9));
        let sent = scheduler.poll_attempt(at(1)).unwrap();
        assert!(!scheduler.poll_claim(at(1)));
        scheduler.handle_attempt_finished(at(1), sent.id, answered(200));
        assert!(scheduler.poll_claim(at(1)));
        let room = scheduler.room();
        scheduler.handle_claimed(&room, false);
    }
}

#[test]
fn nothing_passes_those_who_were_left_waiting() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let [behind, other] = [1, 2].map(EndpointId::from_random);
    let mut room = scheduler.room_in_passing();
    for n in 0..5 {
        offer(&mut scheduler, &mut room, n, 1);
    }
    // There is room for a claim, and none in passing.
    assert!(scheduler.poll_attempt(at(1)).is_some());
    assert_eq!(scheduler.room().left_for(behind), 1);
    assert!(!scheduler.room_in_passing().has(behind));
    assert!(scheduler.room_in_passing().has(other));
    // A claim that had no room for it finds nothing out.
    let without = Room {
        each: 4,
        left: [(behind, 0)].into_iter().collect(),
        ..Room::default()
    };
    scheduler.handle_claimed(&without, false);
    assert!(!scheduler.room_in_passing().has(behind));
    // One that had, and left nothing, does.
    let with = scheduler.room();
    scheduler.handle_claimed(&with, false);
    assert!(scheduler.room_in_passing().has(behind));
}

#[test]
fn where_a_claim_had_no_room_is_looked_again() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    for n in 0..4 {
        scheduler.handle_ready(leased(n, 1, EventKind::Lifecycle));
    }
    // Who is due meanwhile is not told of: the endpoint has no room.
    let without = scheduler.room();
    scheduler.handle_claimed(&without, false);
    assert!(!scheduler.poll_claim(at(1)));
    let send = |scheduler: &mut Scheduler| {
        let sent = scheduler.poll_attempt(at(1)).unwrap();
        scheduler.handle_attempt_finished(at(1), sent.id, answered(200));
    };
    send(&mut scheduler);
    assert!(!scheduler.room_in_passing().has(EndpointId::from_random(1)));
    assert!(!scheduler.poll_claim(at(1)));
    send(&mut scheduler);
    assert!(scheduler.poll_claim(at(1)));
    // All of it may have gone while the store was asked.
    (0..2).for_each(|_| send(&mut scheduler));
    scheduler.handle_claimed(&without, false);
    assert!(scheduler.poll_claim(at(1)));
    let with = scheduler.room();
    scheduler.handle_claimed(&with, false);
    assert!(!scheduler.poll_claim(at(1)));
    assert_eq!(scheduler.busy_endpoints(), 0);
}

#[test]
fn behind_a_claim_that_was_cut_nothing_is_leased_in_passing() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let anyone = EndpointId::from_random(7);
    let room = scheduler.room();
    scheduler.handle_claimed(&room, true);
    assert!(!scheduler.room_in_passing().has(anyone));
    assert!(scheduler.poll_claim(at(1)), "there may be more");
    scheduler.handle_claimed(&room, false);
    assert!(scheduler.room_in_passing().has(anyone));
    assert!(!scheduler.poll_claim(at(1)));
}

#[test]
fn what_is_ready_follows_its_endpoint() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    for n in 0..3 {
        scheduler.handle_ready(leased(n, 1, EventKind::Lifecycle));
    }
    let sent = scheduler.poll_attempt(at(1)).unwrap();
    let mut endpoint = Endpoint::clone(&sent.endpoint);
    let secret = crate::signing::Secret::parse("another").unwrap();
    endpoint.keyring = Some(crate::signing::Keyring::new(secret));
    scheduler.handle_endpoint_changed(&Arc::new(endpoint.clone()));
    let sent = scheduler.poll_attempt(at(1)).unwrap();
    assert_eq!(*sent.endpoint, endpoint);
    assert!(
        scheduler.poll_claim(at(1)),
        "it may have been disabled before"
    );
    // Disabled: what is ready is given back, what is in flight is not.
    endpoint.enabled = false;
    scheduler.handle_endpoint_changed(&Arc::new(endpoint));
    assert_eq!(scheduler.poll_settle().unwrap().outcome, Outcome::Released);
    assert_eq!(scheduler.poll_settle(), None);
    assert_eq!((scheduler.ready(), scheduler.in_flight()), (0, 2));
    assert!(!scheduler.poll_claim(at(1)));
}

/// What happens between a store and a scheduler.
#[derive(Clone, Debug)]
enum Turn {
    Write { heads: Vec<u128> },
    Claim { limit: usize, sends: usize },
    Send { sends: usize },
    Finish,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        proptest::collection::vec(0u128..3, 1..7).prop_map(|heads| Turn::Write { heads }),
        (1usize..6, 0usize..6).prop_map(|(limit, sends)| Turn::Claim { limit, sends }),
        (1usize..4).prop_map(|sends| Turn::Send { sends }),
        Just(Turn::Finish),
    ]
}

/// The naive store: heads of lanes in the order in which they came.
#[derive(Default)]
struct Queue {
    came: u128,
    waiting: Vec<(u128, u128)>,
    sent: Vec<(u128, u128)>,
    in_flight: Vec<u128>,
}

impl Queue {
    fn write(&mut self, scheduler: &mut Scheduler, mut room: Room, heads: &[u128]) {
        let mut left = Vec::new();
        for &endpoint in heads {
            self.came += 1;
            let id = EndpointId::from_random(endpoint);
            if room.take(id, 100) {
                scheduler.handle_ready(leased(self.came, endpoint, EventKind::Lifecycle));
            } else {
                self.waiting.push((self.came, endpoint));
                left.push(id);
            }
        }
        for id in left {
            scheduler.handle_left_waiting(id);
        }
    }

    /// Of endpoints without any room nothing is said.
    fn claim(&mut self, scheduler: &mut Scheduler, asked: &Room, limit: usize) {
        let mut room = asked.clone();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        self.waiting.retain(|&(n, endpoint)| {
            let id = EndpointId::from_random(endpoint);
            if taken.len() < limit && room.take(id, 100) {
                taken.push((n, endpoint));
                return false;
            }
            if taken.len() < limit && asked.has(id) {
                left.push(id);
            }
            true
        });
        scheduler.handle_claimed(asked, taken.len() == limit);
        for (n, endpoint) in taken {
            scheduler.handle_ready(leased(n, endpoint, EventKind::Lifecycle));
        }
        for id in left {
            scheduler.handle_left_waiting(id);
        }
    }

    fn send(&mut self, scheduler: &mut Scheduler, most: usize) {
        for _ in 0..most {
            let Some(sent) = scheduler.poll_attempt(at(1)) else {
                break;
            };
            let n = u128::from(sent.record.sequence() - 1);
            let endpoint = (0..3).find(|&n| EndpointId::from_random(n) == sent.lane.endpoint);
            self.sent.push((n, endpoint.unwrap()));
            self.in_flight.push(n);
        }
    }

    fn finish(&mut self, scheduler: &mut Scheduler) {
        if !self.in_flight.is_empty() {
            let id = DeliveryId::from_random(self.in_flight.remove(0));
            scheduler.handle_attempt_finished(at(2), id, answered(200));
        }
    }

    fn ready_at(&self, scheduler: &Scheduler, endpoint: u128) -> u32 {
        let state = scheduler.endpoints.get(&EndpointId::from_random(endpoint));
        state.map_or(0, |state| len(&state.ready))
    }
}

proptest! {
    #[test]
    fn in_passing_nobody_passes_those_who_wait(steps in proptest::collection::vec(any_turn(), 0..300)) {
        let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
        let mut store = Queue::default();
        for turn in steps {
            match turn {
                Turn::Write { heads } => {
                    let room = scheduler.room_in_passing();
                    store.write(&mut scheduler, room, &heads);
                }
                Turn::Claim { limit, sends } => {
                    scheduler.poll_claim(at(1));
                    let room = scheduler.room();
                    // Some go out while the store is asked, which makes room that it
                    // does not know of.
                    for _ in 0..sends {
                        store.send(&mut scheduler, 1);
                        store.finish(&mut scheduler);
                    }
                    store.claim(&mut scheduler, &room, limit);
                }
                Turn::Send { sends } => store.send(&mut scheduler, sends),
                Turn::Finish => store.finish(&mut scheduler),
            }
            for endpoint in 0..3 {
                let ready = store.ready_at(&scheduler, endpoint);
                prop_assert!(ready <= LIMITS.ready_per_endpoint_max);
            }
        }
        // As long as anyone waits, the scheduler asks for him once there is room.
        while !store.waiting.is_empty() {
            store.send(&mut scheduler, 99);
            store.finish(&mut scheduler);
            if scheduler.poll_claim(at(1)) {
                let room = scheduler.room();
                store.claim(&mut scheduler, &room, 2);
            } else {
                prop_assert!(scheduler.in_flight() > 0, "{:?} wait, and nobody asks", store.waiting);
            }
        }
        // Whoever came first to an endpoint was sent first.
        store.send(&mut scheduler, 99);
        while scheduler.in_flight() > 0 {
            store.finish(&mut scheduler);
            store.send(&mut scheduler, 99);
        }
        for endpoint in 0..3 {
            let sent = store.sent.iter().filter(|(_, to)| *to == endpoint);
            prop_assert!(sent.is_sorted(), "{:?}", store.sent);
        }
    }
}
