//! What was deleted while it was ready or in flight.

use super::*;
use crate::store::{Answer, Deletion, Doomed, Refusal};

const THROUGH: Result<Answer, Refusal> = Ok(Answer::Deleted { rest: None });

/// One in flight and two ready at each of two endpoints, all of one job.
fn busy() -> Scheduler {
    let limits = Limits {
        in_flight_per_endpoint_max: 1,
        ..LIMITS
    };
    let mut scheduler = Scheduler::new(limits, policy(), 1);
    for endpoint in [1, 2] {
        for n in 0..3 {
            scheduler.handle_ready(leased(10 * endpoint + n, endpoint, EventKind::Lifecycle));
        }
        assert!(scheduler.poll_attempt(at(0)).is_some());
    }
    assert_eq!((scheduler.in_flight(), scheduler.ready()), (2, 4));
    scheduler
}

/// Ends what is in flight, and sends whatever is left; how much that is.
fn sends_on(scheduler: &mut Scheduler) -> usize {
    for delivery in [10, 20].map(DeliveryId::from_random) {
        scheduler.handle_attempt_finished(at(1), delivery, answered(204));
    }
    let mut sent = 0;
    while let Some(next) = scheduler.poll_attempt(at(2)) {
        sent += 1;
        scheduler.handle_attempt_finished(at(3), next.id, answered(204));
    }
    assert_eq!((scheduler.bytes(), scheduler.busy_endpoints()), (0, 0));
    sent
}

#[test]
fn nothing_more_is_sent_of_a_deleted_job() {
    let mut scheduler = busy();
    let id = JobId::parse("j").unwrap();
    scheduler.handle_deleted(&Doomed::Job { id, force: true }, &THROUGH);
    assert_eq!((scheduler.in_flight(), scheduler.ready()), (2, 0));
    assert_eq!(sends_on(&mut scheduler), 0);
    // What was dropped is settled by nobody.
    let settles = std::iter::from_fn(|| scheduler.poll_settle());
    assert_eq!(settles.count(), 2);
}

#[test]
fn nothing_more_is_sent_to_a_deleted_endpoint_and_the_others_go_on() {
    let mut scheduler = busy();
    let what = Doomed::Endpoint(EndpointId::from_random(1));
    scheduler.handle_deleted(&what, &THROUGH);
    assert_eq!(sends_on(&mut scheduler), 2);
    // Its answer was lost, and the deletion asked again.
    let mut scheduler = busy();
    scheduler.handle_deleted(&what, &Err(Refusal::NoEndpoint));
    assert_eq!(sends_on(&mut scheduler), 2);
}

#[test]
fn a_deletion_that_is_refused_or_goes_on_drops_nothing() {
    let mut scheduler = busy();
    let id = JobId::parse("j").unwrap();
    let what = Doomed::Job { id, force: false };
    let rest = Some(Deletion::of(what.clone()));
    for answer in [Err(Refusal::JobRunning), Ok(Answer::Deleted { rest })] {
        scheduler.handle_deleted(&what, &answer);
    }
    assert_eq!(sends_on(&mut scheduler), 4);
}
