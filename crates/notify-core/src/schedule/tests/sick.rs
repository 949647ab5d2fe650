//! Endpoints that fall sick, are tried, and are well again.

use super::*;
use crate::breaker::BreakerState;
use crate::endpoint::Health;

fn secs(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn id(endpoint: u128) -> EndpointId {
    EndpointId::from_random(endpoint)
}

fn ready(scheduler: &mut Scheduler, deliveries: std::ops::Range<u128>, endpoint: u128) {
    for n in deliveries {
        scheduler.handle_ready(leased(n, endpoint, EventKind::Lifecycle));
    }
}

fn send(scheduler: &mut Scheduler, now: Timestamp) -> DeliveryId {
    scheduler.poll_attempt(now).unwrap().id
}

fn outcomes(scheduler: &mut Scheduler) -> Vec<Outcome> {
    let settles = std::iter::from_fn(|| scheduler.poll_settle());
    settles.map(|settle| settle.outcome).collect()
}

fn notes(scheduler: &mut Scheduler) -> Vec<Health> {
    let notes = std::iter::from_fn(|| scheduler.poll_health());
    notes.map(|note| note.health).collect()
}

/// Endpoint 1 has failed five times in a row at second 100, with two more ready.
fn opened() -> Scheduler {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    for n in 0..4 {
        ready(&mut scheduler, n..n + 1, 1);
        let sent = send(&mut scheduler, secs(99));
        scheduler.handle_attempt_finished(secs(100), sent, answered(500));
    }
    ready(&mut scheduler, 4..7, 1);
    let sent = send(&mut scheduler, secs(99));
    assert_eq!(scheduler.health(secs(99), id(1)).in_flight, 1);
    outcomes(&mut scheduler);
    scheduler.handle_attempt_finished(secs(100), sent, answered(500));
    scheduler
}

#[test]
fn what_is_ready_for_one_that_falls_sick_is_given_back_and_not_charged() {
    let mut scheduler = opened();
    let settles: Vec<_> = std::iter::from_fn(|| scheduler.poll_settle()).collect();
    assert!(matches!(settles[0].outcome, Outcome::Retry { .. }));
    for settle in &settles[1..] {
        assert_eq!(
            (settle.outcome, &settle.attempt),
            (Outcome::Released, &None)
        );
    }
    assert_eq!(settles.len(), 3);
    assert_eq!(notes(&mut scheduler), [Health::Sick]);
    assert_eq!(scheduler.bytes(), 0);
    assert_eq!(scheduler.poll_attempt(secs(100)), None);
    assert_eq!((scheduler.ready(), scheduler.busy_endpoints()), (0, 0));
    let health = scheduler.health(secs(100), id(1));
    assert_eq!(health.breaker, BreakerState::Open);
    assert_eq!(health.consecutive_failures, 5);
    assert_eq!(scheduler.sick_endpoints(), 1);
}

#[test]
fn there_is_no_room_for_a_sick_one_until_its_probe_is_due_and_then_for_one() {
    let mut scheduler = opened();
    let waits = |scheduler: &mut Scheduler, now| {
        // However often something comes for it.
        scheduler.handle_left_waiting(id(1));
        let is_claimed = scheduler.poll_claim(now);
        (is_claimed, scheduler.room().left_for(id(1)))
    };
    assert_eq!(scheduler.poll_timeout(), Some(secs(130)));
    assert_eq!(waits(&mut scheduler, secs(101)), (false, 0));
    assert_eq!(waits(&mut scheduler, secs(129)), (false, 0));
    assert!(scheduler.room().has(id(2)) && scheduler.room_in_passing().has(id(2)));
    assert_eq!(waits(&mut scheduler, secs(130)), (true, 1));
    // In passing nothing comes before those that wait.
    assert!(!scheduler.room_in_passing().has(id(1)));
    assert_eq!(scheduler.poll_timeout(), None);
    // Nothing was due: whatever comes is looked for at once.
    assert_eq!(waits(&mut scheduler, secs(131)), (true, 1));
    // One that was asked for before it fell sick is given back, all but one.
    ready(&mut scheduler, 10..13, 1);
    assert_eq!(scheduler.ready(), 1);
    assert_eq!(waits(&mut scheduler, secs(131)), (false, 0));
    let sent = send(&mut scheduler, secs(131));
    assert_eq!(
        scheduler.health(secs(131), id(1)).breaker,
        BreakerState::HalfOpen
    );
    ready(&mut scheduler, 13..14, 1);
    assert_eq!(scheduler.poll_attempt(secs(131)), None);
    assert_eq!(waits(&mut scheduler, secs(131)), (false, 0));
    scheduler.handle_attempt_finished(secs(132), sent, answered(500));
    assert_eq!(scheduler.poll_timeout(), Some(secs(192)));
    assert_eq!(waits(&mut scheduler, secs(191)), (false, 0));
}

#[test]
fn a_probe_that_succeeds_opens_the_window_at_once() {
    let mut scheduler = opened();
    notes(&mut scheduler);
    assert!(scheduler.poll_claim(secs(130)));
    ready(&mut scheduler, 10..11, 1);
    let sent = send(&mut scheduler, secs(130));
    scheduler.handle_attempt_finished(secs(131), sent, answered(200));
    assert_eq!(notes(&mut scheduler), [Health::Well]);
    assert!(
        scheduler.poll_claim(secs(131)),
        "those that wait are fetched"
    );
    assert_eq!(scheduler.room().left_for(id(1)), 4);
    assert!(!scheduler.room_in_passing().has(id(1)), "they come first");
    let room = scheduler.room();
    scheduler.handle_claimed(&room, false);
    ready(&mut scheduler, 11..14, 1);
    send(&mut scheduler, secs(131));
    send(&mut scheduler, secs(131));
    let health = scheduler.health(secs(131), id(1));
    assert_eq!(
        (health.breaker, health.in_flight),
        (BreakerState::Closed, 2)
    );
    assert_eq!(health.last_success_at, Some(secs(131)));
}

#[test]
fn what_is_still_in_flight_when_a_probe_is_due_is_waited_for() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    for n in 0..4 {
        ready(&mut scheduler, n..n + 1, 1);
        let sent = send(&mut scheduler, secs(99));
        scheduler.handle_attempt_finished(secs(100), sent, answered(500));
    }
    ready(&mut scheduler, 4..6, 1);
    let [slow, last] = [(); 2].map(|()| send(&mut scheduler, secs(99)));
    scheduler.handle_attempt_finished(secs(100), last, answered(500));
    scheduler.poll_claim(secs(130));
    assert_eq!(scheduler.room().left_for(id(1)), 0);
    // What it says decides nothing, but makes way.
    scheduler.handle_attempt_finished(secs(140), slow, answered(200));
    assert!(scheduler.poll_claim(secs(140)));
    assert_eq!(scheduler.room().left_for(id(1)), 1);
}

#[test]
fn a_probe_that_fails_uses_up_no_last_attempt() {
    let last = |scheduler: &mut Scheduler, status, n| {
        let ready = leased(n, 1, EventKind::Lifecycle);
        let delivery = Delivery {
            attempts_made: 2,
            ..ready.delivery().clone()
        };
        scheduler.handle_ready(Leased::new(delivery, Lease::new(n)));
        let sent = send(scheduler, secs(130));
        scheduler.handle_attempt_finished(secs(130), sent, answered(status));
        let settle = std::iter::from_fn(|| scheduler.poll_settle())
            .last()
            .unwrap();
        (settle.outcome, settle.attempt.is_some())
    };
    let mut scheduler = opened();
    scheduler.poll_claim(secs(130));
    let (outcome, is_charged) = last(&mut scheduler, 500, 20);
    let Outcome::Postponed { after } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(!is_charged && (2_000..=2_400).contains(&after.as_millis()));
    // Not for ever.
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let used_up = leased(30, 1, EventKind::Lifecycle).delivery().clone();
    let mut endpoint = Endpoint::clone(&used_up.endpoint);
    endpoint.sick_since = Some(secs(6_399));
    let delivery = Delivery {
        attempts_made: 2,
        endpoint: Arc::new(endpoint),
        ..used_up
    };
    scheduler.handle_ready(Leased::new(delivery, Lease::new(30)));
    let sent = send(&mut scheduler, secs(10_000));
    scheduler.handle_attempt_finished(secs(10_000), sent, answered(500));
    let reason = DeadReason::Exhausted;
    assert_eq!(outcomes(&mut scheduler), [Outcome::Dead { reason }]);
    // Whatever the receiver says to this one message is charged.
    let mut scheduler = opened();
    scheduler.poll_claim(secs(130));
    let reason = DeadReason::Exhausted;
    assert_eq!(
        last(&mut scheduler, 404, 20),
        (Outcome::Dead { reason }, true)
    );
    // An earlier one is charged too.
    let mut scheduler = opened();
    scheduler.poll_claim(secs(130));
    ready(&mut scheduler, 20..21, 1);
    let sent = send(&mut scheduler, secs(130));
    scheduler.handle_attempt_finished(secs(130), sent, answered(500));
    let settle = std::iter::from_fn(|| scheduler.poll_settle())
        .last()
        .unwrap();
    assert_eq!(settle.attempt.unwrap().number, 1);
}

#[test]
fn a_receiver_that_asks_for_time_is_left_alone_as_a_whole() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    ready(&mut scheduler, 0..3, 1);
    let sent = send(&mut scheduler, secs(100));
    let asked = crate::transport::RetryAfter::Delay(Duration::from_secs(7));
    let outcome = Ok(WebhookResponse {
        status: 429,
        retry_after: Some(asked),
        ..Default::default()
    });
    let end = AttemptEnd::Sent { at: at(0), outcome };
    scheduler.handle_attempt_finished(secs(100), sent, end);
    let after = Duration::from_secs(7);
    let expected = [
        Outcome::Retry { after },
        Outcome::Released,
        Outcome::Released,
    ];
    assert_eq!(outcomes(&mut scheduler), expected);
    assert_eq!(
        scheduler.health(secs(100), id(1)).breaker,
        BreakerState::Paced
    );
    assert_eq!(scheduler.poll_timeout(), Some(secs(107)));
}

#[test]
fn one_that_was_sick_in_an_earlier_life_begins_with_its_probe() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let sick = |n| {
        let ready = leased(n, 1, EventKind::Lifecycle);
        let mut endpoint = Endpoint::clone(&ready.delivery().endpoint);
        endpoint.sick_since = Some(secs(1));
        let delivery = Delivery {
            endpoint: Arc::new(endpoint),
            ..ready.delivery().clone()
        };
        Leased::new(delivery, Lease::new(n))
    };
    for n in 0..3 {
        scheduler.handle_ready(sick(n));
    }
    assert_eq!(outcomes(&mut scheduler), [Outcome::Released; 2]);
    let sent = send(&mut scheduler, secs(100));
    scheduler.handle_attempt_finished(secs(100), sent, answered(200));
    assert_eq!(notes(&mut scheduler), [Health::Well]);
    // What was leased before that was written still calls it sick.
    scheduler.handle_ready(sick(3));
    scheduler.handle_ready(sick(4));
    assert_eq!(scheduler.ready(), 2);
    let endpoint = Endpoint::clone(&leased(1, 1, EventKind::Lifecycle).delivery().endpoint);
    scheduler.handle_endpoint_changed(&Arc::new(endpoint));
    let sent = send(&mut scheduler, secs(101));
    scheduler.handle_attempt_finished(secs(101), sent, answered(200));
    assert!(!scheduler.healths.is_known(id(1)));
}

#[test]
fn one_that_was_disabled_begins_with_its_probe_when_it_is_enabled() {
    let mut scheduler = opened();
    let mut endpoint = Endpoint::clone(&leased(1, 1, EventKind::Lifecycle).delivery().endpoint);
    endpoint.disable(secs(101));
    scheduler.handle_endpoint_changed(&Arc::new(endpoint.clone()));
    assert_eq!(
        (scheduler.sick_endpoints(), scheduler.poll_timeout()),
        (0, None)
    );
    endpoint.enabled = true;
    let endpoint = Arc::new(endpoint);
    scheduler.handle_endpoint_changed(&endpoint);
    assert!(scheduler.poll_claim(secs(102)));
    for n in 20..23 {
        let mut ready = leased(n, 1, EventKind::Lifecycle);
        ready.set_endpoint(Arc::clone(&endpoint));
        scheduler.handle_ready(ready);
    }
    assert_eq!(scheduler.ready(), 1);
    assert_eq!(scheduler.sick_endpoints(), 1);
}

#[test]
fn our_own_failures_and_refused_addresses_make_nobody_sick() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let refused = TransportError::Refused(crate::transport::AddressRefused { rule: "x" });
    for n in 0..30 {
        ready(&mut scheduler, n..n + 1, 1);
        let sent = send(&mut scheduler, secs(1));
        let end = match n % 3 {
            0 => failed_here(),
            1 => AttemptEnd::OwnFailure,
            _ => AttemptEnd::Sent {
                at: at(0),
                outcome: Err(refused.clone()),
            },
        };
        scheduler.handle_attempt_finished(secs(1), sent, end);
    }
    assert_eq!(scheduler.sick_endpoints(), 0);
    assert!(!scheduler.healths.is_known(id(1)));
}

#[test]
fn what_fails_for_a_reason_of_our_own_for_too_long_is_given_up() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let mut fail = |now| {
        ready(&mut scheduler, 1..2, 1);
        let sent = send(&mut scheduler, now);
        scheduler.handle_attempt_finished(now, sent, failed_here());
        outcomes(&mut scheduler)[0]
    };
    assert!(matches!(fail(secs(10)), Outcome::Postponed { .. }));
    assert!(matches!(fail(secs(3_610)), Outcome::Postponed { .. }));
    let reason = DeadReason::Internal;
    assert_eq!(fail(secs(3_611)), Outcome::Dead { reason });
}

#[test]
fn that_one_falls_sick_is_noted_once_a_second_at_most() {
    let mut scheduler = opened();
    assert_eq!(notes(&mut scheduler), [Health::Sick]);
    let probe = |scheduler: &mut Scheduler, n, now: Timestamp, secs| {
        scheduler.poll_claim(now);
        ready(scheduler, n..n + 1, 1);
        let sent = send(scheduler, now);
        let asked = crate::transport::RetryAfter::Delay(Duration::from_secs(secs));
        let outcome = Ok(WebhookResponse {
            status: if secs > 0 { 429 } else { 200 },
            retry_after: Some(asked),
            ..Default::default()
        });
        let end = AttemptEnd::Sent { at: at(0), outcome };
        scheduler.handle_attempt_finished(now, sent, end);
        notes(scheduler)
    };
    assert_eq!(probe(&mut scheduler, 20, secs(130), 0), [Health::Well]);
    assert_eq!(probe(&mut scheduler, 21, secs(130), 1), []);
    assert_eq!(scheduler.sick_endpoints(), 1);
    // It says so again with each probe that does not help, as time may have been set.
    assert_eq!(probe(&mut scheduler, 22, secs(131), 1), [Health::Sick]);
    assert_eq!(probe(&mut scheduler, 23, secs(132), 1), [Health::Sick]);
}

#[test]
fn what_is_remembered_of_those_that_fail_is_bounded() {
    let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
    let mut n = 0;
    for endpoint in 0..100 {
        for _ in 0..5 {
            n += 1;
            ready(&mut scheduler, n..n + 1, endpoint);
            let sent = send(&mut scheduler, secs(1));
            scheduler.handle_attempt_finished(secs(1), sent, answered(500));
        }
    }
    assert_eq!(scheduler.sick_endpoints(), 8);
    // Those that nobody has anything to send to make room.
    scheduler.poll_claim(secs(31));
    assert_eq!(scheduler.room().left.len(), 8);
    for n in 1_000..1_000 + 2_048 {
        ready(&mut scheduler, n..n + 1, 50);
        let sent = send(&mut scheduler, secs(31));
        scheduler.handle_attempt_finished(secs(31), sent, answered(500));
        if scheduler.healths.is_sick(id(50)) {
            return;
        }
    }
    panic!("there is never room for another");
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Claim,
    Send,
    Finish { which: usize, status: u16 },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1u64..50).prop_map(Step::Pass),
        1 => Just(Step::Claim),
        3 => Just(Step::Send),
        3 => (0usize..8, prop_oneof![1 => Just(200u16), 5 => Just(500)])
            .prop_map(|(which, status)| Step::Finish { which, status }),
    ]
}

proptest! {
    /// A store with plenty for three endpoints: whatever fails when, a sick one has one
    /// attempt in flight beyond what was when it fell sick, never before its time, and
    /// nobody is forgotten.
    #[test]
    fn nothing_but_probes_goes_to_the_sick_and_nobody_is_left_behind(
        steps in proptest::collection::vec(any_step(), 0..200),
    ) {
        let mut scheduler = Scheduler::new(LIMITS, policy(), 1);
        let (mut now, mut came) = (1_000, 0);
        let mut in_flight: Vec<(DeliveryId, EndpointId)> = Vec::new();
        let claim = |scheduler: &mut Scheduler, now, came: &mut u128| {
            if !scheduler.poll_claim(secs(now)) {
                return;
            }
            let room = scheduler.room();
            scheduler.handle_claimed(&room, false);
            for endpoint in [0, 2, 4] {
                for _ in 0..room.left_for(id(endpoint)) {
                    *came += 1;
                    scheduler.handle_ready(leased(*came, endpoint, EventKind::Lifecycle));
                }
                if room.has(id(endpoint)) {
                    scheduler.handle_left_waiting(id(endpoint));
                }
            }
        };
        for endpoint in [0, 2, 4] {
            scheduler.handle_left_waiting(id(endpoint));
        }
        for step in steps {
            match step {
                Step::Pass(secs) => now += secs,
                Step::Claim => claim(&mut scheduler, now, &mut came),
                Step::Send => {
                    let was = [0, 2, 4].map(|n| scheduler.health(secs(now), id(n)));
                    if let Some(sent) = scheduler.poll_attempt(secs(now)) {
                        let to = sent.lane.endpoint;
                        let n = [0, 2, 4].iter().position(|&n| id(n) == to).unwrap();
                        let before = was[n];
                        prop_assert!(matches!(before.breaker, BreakerState::Closed | BreakerState::HalfOpen));
                        if before.breaker == BreakerState::HalfOpen {
                            prop_assert_eq!(before.in_flight, 0);
                        }
                        in_flight.push((sent.id, to));
                    }
                }
                Step::Finish { which, status } if which < in_flight.len() => {
                    let (sent, _) = in_flight.remove(which);
                    scheduler.handle_attempt_finished(secs(now), sent, answered(status));
                }
                Step::Finish { .. } => {}
            }
        }
        // All are well again: each has its probe, and then all of its window.
        for _ in 0..50 {
            for (sent, _) in std::mem::take(&mut in_flight) {
                scheduler.handle_attempt_finished(secs(now), sent, answered(200));
            }
            claim(&mut scheduler, now, &mut came);
            while let Some(sent) = scheduler.poll_attempt(secs(now)) {
                in_flight.push((sent.id, sent.lane.endpoint));
            }
            now += 60;
        }
        prop_assert_eq!(scheduler.sick_endpoints(), 0);
        for endpoint in [0, 2, 4] {
            prop_assert!(in_flight.iter().any(|(_, to)| *to == id(endpoint)), "{} is forgotten", endpoint);
        }
    }
}
