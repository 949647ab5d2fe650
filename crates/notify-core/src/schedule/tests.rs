//! The scheduler against examples and flat lists; the harness of its tests.

mod deleted;
mod passing;
mod places;
mod sick;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::delivery::Lease;
use crate::event::{EventLimits, EventRecord, JobEvent};
use crate::id::{Epoch, EventId, JobId};
use crate::{DeadReason, EndpointUrl, TransportError, WebhookResponse};

const LIMITS: Limits = Limits {
    in_flight_per_endpoint_max: 2,
    in_flight_per_host_max: 3,
    in_flight_max: 5,
    ready_per_endpoint_max: 4,
    sick_endpoints_max: 8,
    max_age: Duration::from_secs(3_600),
    ready_bytes_max: u64::MAX,
};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn policy() -> RetryPolicy {
    RetryPolicy::exponential(2, Duration::from_secs(1)).unwrap()
}

/// Delivery `n` to `endpoint`; endpoints share a host two by two.
fn leased(n: u128, endpoint: u128, kind: EventKind) -> Leased {
    let draft = JobEvent::processing(1)
        .draft(1, EventLimits::default())
        .unwrap();
    let id = EventId::new(Epoch::from_random(1), u64::try_from(n).unwrap() + 1);
    let url = format!("http://h{}.example/{endpoint}", endpoint / 2);
    let delivery = Delivery {
        id: DeliveryId::from_random(n),
        lane: LaneKey {
            job: JobId::parse("j").unwrap(),
            endpoint: EndpointId::from_random(endpoint),
            redelivery: None,
        },
        generation: 0,
        record: EventRecord::new(id, kind, &draft),
        endpoint: Arc::new(Endpoint::new(
            EndpointId::from_random(endpoint),
            EndpointUrl::parse(&url).unwrap(),
        )),
        accepted_at: at(0),
        due_at: at(0),
        attempts_made: 0,
    };
    Leased::new(delivery, Lease::new(n))
}

fn answered(status: u16) -> AttemptEnd {
    AttemptEnd::Sent {
        at: at(0),
        outcome: Ok(WebhookResponse {
            status,
            ..Default::default()
        }),
    }
}

#[track_caller]
fn check_outcome(attempts_made: u32, end: AttemptEnd, expected: Outcome) {
    let mut scheduler = Scheduler::new(LIMITS, RetryPolicy::new([Duration::ZERO]).unwrap(), 1);
    let ready = leased(1, 1, EventKind::Lifecycle);
    let delivery = Delivery {
        attempts_made,
        ..ready.delivery().clone()
    };
    scheduler.handle_ready(Leased::new(delivery, Lease::new(1)));
    let sent = scheduler.poll_attempt(at(100)).unwrap();
    scheduler.handle_attempt_finished(at(150), sent.id, end);
    let settle = scheduler.poll_settle().unwrap();
    assert_eq!(settle.outcome, expected);
    if let Some(attempt) = settle.attempt {
        assert_eq!(attempt.number, attempts_made + 1);
        assert_eq!(attempt.duration, Duration::from_millis(50));
    }
    assert_eq!((scheduler.in_flight(), scheduler.busy_endpoints()), (0, 0));
}

#[test]
fn a_clock_that_is_set_changes_no_wait_and_no_duration() {
    let policy = RetryPolicy::new([Duration::from_secs(1)]).unwrap();
    let mut scheduler = Scheduler::new(LIMITS, policy, 1);
    for n in [1, 2] {
        scheduler.handle_ready(leased(n, n, EventKind::Lifecycle));
    }
    let (from, to) = (at(86_400_000), at(5_000));
    let [first, second] = [(); 2].map(|()| scheduler.poll_attempt(from).unwrap());
    scheduler.handle_attempt_finished(from, first.id, answered(500));
    scheduler.handle_clock_set(ClockStep { from, to });
    scheduler.handle_attempt_finished(at(5_050), second.id, answered(500));
    for now in [to, at(5_050)] {
        let settle = scheduler.poll_settle().unwrap();
        let Outcome::Retry { after } = settle.outcome else {
            panic!("{settle:?}");
        };
        assert!((1_000..=1_200).contains(&after.as_millis()));
        assert_eq!(settle.attempt.unwrap().duration, now.since(to));
    }
}

#[test]
fn the_end_of_an_attempt_decides() {
    let dead = |reason| Outcome::Dead { reason };
    check_outcome(0, answered(204), Outcome::Delivered);
    check_outcome(
        0,
        answered(500),
        Outcome::Retry {
            after: Duration::ZERO,
        },
    );
    check_outcome(1, answered(500), dead(DeadReason::Exhausted));
    check_outcome(9, answered(500), dead(DeadReason::Exhausted));
    check_outcome(0, answered(410), dead(DeadReason::Gone));
    check_outcome(
        0,
        AttemptEnd::SecretMissing,
        dead(DeadReason::SecretMissing),
    );
    check_outcome(0, AttemptEnd::Abandoned, Outcome::Released);
    let refused = TransportError::Refused(crate::transport::AddressRefused {
        rule: "forbidden ip",
    });
    let refused = AttemptEnd::Sent {
        at: at(0),
        outcome: Err(refused),
    };
    check_outcome(0, refused, dead(DeadReason::AddressRefused));
}

fn failed_here() -> AttemptEnd {
    AttemptEnd::Sent {
        at: at(0),
        outcome: Err(TransportError::Internal("no descriptor".to_owned())),
    }
}

#[test]
fn our_own_failure_counts_as_no_attempt_and_waits_twice_as_long_each_time() {
    // No retry is left, and none is used up.
    let policy = RetryPolicy::new([]).unwrap();
    let mut scheduler = Scheduler::new(LIMITS, policy, 1);
    let mut now = at(0);
    let mut end_with = |end: AttemptEnd, now: Timestamp| {
        scheduler.handle_ready(leased(1, 1, EventKind::Lifecycle));
        let sent = scheduler.poll_attempt(now).unwrap();
        scheduler.handle_attempt_finished(now, sent.id, end);
        let settle = scheduler.poll_settle().unwrap();
        (settle.outcome, settle.attempt, scheduler.own_failures())
    };
    for (count, secs) in (1..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let end = match count % 2 {
            0 => failed_here(),
            _ => AttemptEnd::OwnFailure,
        };
        let after = Duration::from_secs(secs);
        let expected = (Outcome::Postponed { after }, None, count);
        assert_eq!(end_with(end, now), expected);
        now = now.plus(after);
    }
    // Any other end begins anew.
    for end in [
        answered(204),
        AttemptEnd::Abandoned,
        AttemptEnd::SecretMissing,
    ] {
        end_with(end, now);
        let after = Duration::from_secs(1);
        assert_eq!(end_with(failed_here(), now).0, Outcome::Postponed { after });
    }
}

#[test]
fn a_retry_waits_as_long_as_it_was_asked_to() {
    let asked = crate::transport::RetryAfter::Delay(Duration::from_secs(7));
    let outcome = Ok(WebhookResponse {
        status: 429,
        retry_after: Some(asked),
        ..Default::default()
    });
    let end = AttemptEnd::Sent {
        at: at(100),
        outcome,
    };
    check_outcome(
        0,
        end,
        Outcome::Retry {
            after: Duration::from_secs(7),
        },
    );
}

#[test]
fn a_newer_event_drops_a_ready_progress_but_not_one_in_flight() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let lane = leased(1, 1, EventKind::Progress).delivery().lane.clone();
    scheduler.handle_ready(leased(1, 1, EventKind::Progress));
    scheduler.handle_newer(&lane, 3);
    assert_eq!(
        scheduler.poll_settle().unwrap().outcome,
        Outcome::Superseded
    );
    assert_eq!(scheduler.poll_attempt(at(1)), None);
    assert_eq!(scheduler.busy_endpoints(), 0);

    scheduler.handle_ready(leased(4, 1, EventKind::Progress));
    assert!(scheduler.poll_attempt(at(1)).is_some());
    scheduler.handle_newer(&lane, 9);
    assert_eq!(scheduler.poll_settle(), None);

    scheduler.handle_ready(leased(5, 1, EventKind::Lifecycle));
    scheduler.handle_newer(&lane, 9);
    assert_eq!(scheduler.poll_settle(), None);
}

#[test]
fn a_black_hole_takes_no_more_than_its_window() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    for n in 0..4 {
        scheduler.handle_ready(leased(n, 0, EventKind::Lifecycle));
    }
    scheduler.handle_ready(leased(9, 4, EventKind::Lifecycle));
    let mut sent = Vec::new();
    while let Some(delivery) = scheduler.poll_attempt(at(1)) {
        sent.push(delivery.lane.endpoint);
    }
    let (hole, other) = (EndpointId::from_random(0), EndpointId::from_random(4));
    assert_eq!(sent, [hole, other, hole]);
}

#[derive(Clone, Debug)]
enum Step {
    Ready { endpoint: u128, progress: bool },
    Send,
    Finish { which: usize, status: u16 },
    Newer { endpoint: u128 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u128..6, any::<bool>())
            .prop_map(|(endpoint, progress)| Step::Ready { endpoint, progress }),
        Just(Step::Send),
        (
            0usize..8,
            prop_oneof![4 => Just(200u16), 2 => Just(404), 1 => Just(410)]
        )
            .prop_map(|(which, status)| Step::Finish { which, status }),
        (0u128..6).prop_map(|endpoint| Step::Newer { endpoint }),
    ]
}

/// The naive model: flat lists of what waits and what is in flight.
#[derive(Default)]
struct Model {
    waiting: Vec<(u128, u128, bool)>,
    in_flight: Vec<(u128, u128)>,
    /// Of those, what nothing vouches for.
    in_doubt: Vec<u128>,
    /// How many were in flight to an endpoint, at most, when one succeeded.
    served: HashMap<u128, usize>,
    settled: usize,
    taken_in: usize,
}

impl Model {
    fn count(&self, wanted: impl Fn(u128) -> bool) -> usize {
        let places = self.in_flight.iter();
        places.filter(|&&(_, endpoint)| wanted(endpoint)).count()
    }

    fn is_vouched(&self, endpoint: u128) -> bool {
        let served = self.served.get(&endpoint).copied();
        self.count(|other| other == endpoint) < served.unwrap_or(0)
    }

    /// Half of the five places are only for what is vouched for.
    fn may_send(&self, endpoint: u128) -> bool {
        self.count(|other| other == endpoint) < 2
            && self.count(|other| other / 2 == endpoint / 2) < 3
            && self.in_flight.len() < 5
            && (self.is_vouched(endpoint) || self.in_doubt.len() < 3)
    }

    fn send(&mut self, delivery: u128, endpoint: u128) {
        if !self.is_vouched(endpoint) {
            self.in_doubt.push(delivery);
        }
        self.in_flight.push((delivery, endpoint));
    }

    fn finish(&mut self, which: usize, status: u16) -> u128 {
        let (delivery, endpoint) = self.in_flight[which];
        let in_flight = self.count(|other| other == endpoint);
        let served = self.served.entry(endpoint).or_default();
        *served = if status == 200 {
            in_flight.max(*served)
        } else {
            0
        };
        // Of an idle one it is remembered only that it serves.
        if in_flight == 1 && !self.waiting.iter().any(|&(_, other, _)| other == endpoint) {
            let served = self.served.get_mut(&endpoint).unwrap();
            *served = (*served).min(1);
        }
        self.in_flight.remove(which);
        self.in_doubt.retain(|&other| other != delivery);
        self.settled += 1;
        delivery
    }
}

proptest! {
    #[test]
    fn the_scheduler_agrees_with_flat_lists(steps in proptest::collection::vec(any_step(), 0..200), seed: u64) {
        let mut scheduler = Scheduler::new(LIMITS, policy(), seed);
        let mut model = Model::default();
        for (n, step) in (1u128..).zip(steps) {
            match step {
                Step::Ready { endpoint, progress } => {
                    if !scheduler.room().has(EndpointId::from_random(endpoint)) {
                        continue;
                    }
                    let kind = if progress { EventKind::Progress } else { EventKind::Lifecycle };
                    scheduler.handle_ready(leased(n, endpoint, kind));
                    model.waiting.push((n, endpoint, progress));
                    model.taken_in += 1;
                }
                Step::Send => match scheduler.poll_attempt(at(1)) {
                    Some(delivery) => {
                        // Whatever is sent is its endpoint's oldest, and may be sent.
                        let position = model.waiting.iter()
                            .position(|&(_, endpoint, _)| EndpointId::from_random(endpoint) == delivery.lane.endpoint)
                            .unwrap();
                        let (oldest, endpoint, _) = model.waiting.remove(position);
                        prop_assert_eq!(delivery.id, DeliveryId::from_random(oldest));
                        prop_assert!(model.may_send(endpoint));
                        model.send(oldest, endpoint);
                    }
                    // Nothing is sent only if nothing may be.
                    None => prop_assert!(!model.waiting.iter().any(|&(_, endpoint, _)| model.may_send(endpoint))),
                },
                Step::Finish { which, status } => {
                    if which >= model.in_flight.len() {
                        continue;
                    }
                    let delivery = model.finish(which, status);
                    scheduler.handle_attempt_finished(at(2), DeliveryId::from_random(delivery), answered(status));
                }
                Step::Newer { endpoint } => {
                    let lane = leased(0, endpoint, EventKind::Progress).delivery().lane.clone();
                    scheduler.handle_newer(&lane, u64::MAX);
                    let overruled = model.waiting.iter().position(|&(_, other, progress)| other == endpoint && progress);
                    if let Some(position) = overruled {
                        model.waiting.remove(position);
                        model.settled += 1;
                    }
                }
            }
            prop_assert_eq!(scheduler.in_flight(), model.in_flight.len());
            prop_assert_eq!(scheduler.ready(), model.waiting.len());
        }
        // Everything drains, and every delivery is settled exactly once.
        loop {
            while let Some(delivery) = scheduler.poll_attempt(at(3)) {
                scheduler.handle_attempt_finished(at(3), delivery.id, answered(200));
                model.settled += 1;
            }
            let Some((delivery, _)) = model.in_flight.pop() else { break };
            scheduler.handle_attempt_finished(at(3), DeliveryId::from_random(delivery), answered(200));
            model.settled += 1;
        }
        let settled = std::iter::from_fn(|| scheduler.poll_settle()).count();
        prop_assert_eq!(settled, model.taken_in);
        prop_assert_eq!(settled, model.settled);
        prop_assert_eq!((scheduler.ready(), scheduler.busy_endpoints()), (0, 0));
        prop_assert!(scheduler.hosts.is_empty() && scheduler.turns.is_empty());
    }

    #[test]
    fn endpoints_that_can_send_take_turns(counts in proptest::collection::vec(1usize..4, 2..6)) {
        let limits = Limits { in_flight_per_endpoint_max: 9, in_flight_per_host_max: 99, in_flight_max: 99, ready_per_endpoint_max: 9, ..LIMITS };
        let mut scheduler = Scheduler::new(limits, policy(), 1);
        let mut n = 0;
        for (endpoint, &count) in (0u128..).zip(&counts) {
            for _ in 0..count {
                n += 1;
                scheduler.handle_ready(leased(n, endpoint, EventKind::Lifecycle));
            }
        }
        // The model: round after round, each endpoint that has any left sends one.
        let rounds = (0..3).flat_map(|round| {
            let counts = &counts;
            (0u128..).zip(counts).filter(move |&(_, &count)| count > round).map(|(endpoint, _)| endpoint)
        });
        for endpoint in rounds {
            let sent = scheduler.poll_attempt(at(1)).unwrap();
            prop_assert_eq!(sent.lane.endpoint, EndpointId::from_random(endpoint));
        }
    }
}
