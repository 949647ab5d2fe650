//! Half of the places are for endpoints that have just shown that they serve.

use super::*;

const WIDE: Limits = Limits {
    in_flight_per_endpoint_max: 8,
    in_flight_per_host_max: 64,
    in_flight_max: 512,
    ready_per_endpoint_max: 64,
    ..LIMITS
};

/// A scheduler with deliveries of its own making.
struct Rig {
    scheduler: Scheduler,
    came: u128,
    in_flight: Vec<(DeliveryId, u128)>,
}

impl Rig {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(WIDE, policy(), 1),
            came: 0,
            in_flight: Vec::new(),
        }
    }

    fn offer(&mut self, endpoint: u128, count: usize) {
        for _ in 0..count {
            self.came += 1;
            let ready = leased(self.came, endpoint, EventKind::Lifecycle);
            self.scheduler.handle_ready(ready);
        }
    }

    /// Sends whatever may be sent.
    fn send(&mut self) {
        while let Some(sent) = self.scheduler.poll_attempt(at(1)) {
            let endpoint = (0..2_000).find(|&n| EndpointId::from_random(n) == sent.lane.endpoint);
            self.in_flight.push((sent.id, endpoint.unwrap()));
        }
    }

    fn in_flight_to(&self, endpoints: std::ops::Range<u128>) -> usize {
        let places = self.in_flight.iter();
        places.filter(|(_, to)| endpoints.contains(to)).count()
    }

    /// Ends all attempts to these.
    fn finish(&mut self, endpoints: std::ops::Range<u128>, status: u16) -> usize {
        let (ended, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|(_, to)| endpoints.contains(to));
        self.in_flight = left;
        for (id, _) in &ended {
            self.scheduler
                .handle_attempt_finished(at(2), *id, answered(status));
        }
        ended.len()
    }
}

#[test]
fn endpoints_that_hang_leave_half_of_the_places_to_those_that_serve() {
    let mut rig = Rig::new();
    // These serve, one after the other, and are idle then.
    for endpoint in 0..20 {
        rig.offer(endpoint, 1);
    }
    rig.send();
    assert_eq!(rig.finish(0..20, 200), 20);
    assert_eq!(rig.scheduler.busy_endpoints(), 0);
    // These are new, and never answer.
    for endpoint in 100..356 {
        rig.offer(endpoint, 8);
    }
    rig.send();
    assert_eq!(rig.in_flight.len(), 256);
    // Who serves goes on, one at a time, and is not held up.
    for _ in 0..50 {
        for endpoint in 0..20 {
            rig.offer(endpoint, 1);
        }
        rig.send();
        assert_eq!(rig.finish(0..20, 200), 20);
    }
    // One that is new as well waits with them, and has its turn.
    rig.offer(1_000, 1);
    rig.send();
    assert_eq!(rig.in_flight_to(1_000..1_001), 0);
    rig.finish(100..356, 404);
    rig.send();
    rig.finish(100..356, 404);
    rig.send();
    assert_eq!(rig.in_flight_to(1_000..1_001), 1);
}

#[test]
fn one_that_hangs_all_of_a_sudden_takes_what_it_was_seen_to_serve_and_no_more() {
    let mut rig = Rig::new();
    for endpoint in 0..100 {
        rig.offer(endpoint, 1);
    }
    rig.send();
    rig.finish(0..100, 200);
    // A hundred that have just served, all with much to send, of which none answers.
    for endpoint in 0..100 {
        rig.offer(endpoint, 60);
    }
    rig.send();
    assert_eq!(rig.in_flight.len(), 100 + 256);
}

#[test]
fn endpoints_that_serve_have_all_places() {
    let mut rig = Rig::new();
    for _ in 0..12 {
        for endpoint in 0..100 {
            rig.offer(endpoint, 8);
        }
        rig.send();
        rig.finish(0..50, 200);
        rig.send();
        rig.finish(50..100, 200);
        rig.send();
    }
    assert_eq!(rig.in_flight.len(), 512);
}
