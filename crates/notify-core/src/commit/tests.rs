//! The committer against examples; the harness of its tests.

mod deleting;
mod failing;
mod random;

use super::*;
use crate::delivery::{DeadReason, Delivery, LaneKey, Lease, Leased};
use crate::endpoint::{Endpoint, EndpointUrl};
use crate::event::{EventLimits, EventRecord, JobEvent};
use crate::id::{DeliveryId, EndpointId, Epoch, EventId, JobId};
use crate::job::EventKind;
use crate::retry::RetryPolicy;
use crate::schedule::{AttemptEnd, Limits};
use crate::store::{DeadFilter, EndpointChange, Sweep};
use crate::time::Timestamp;
use crate::transport::WebhookResponse;

const LIMITS: CommitLimits = CommitLimits {
    batch_operations_max: 3,
    claim_deliveries_max: 4,
    trim_rows_max: 10,
};

/// By the scheduler's clock.
const NOW: Timestamp = Timestamp::from_secs(1_712_534_400);

const RETENTION: Retention = Retention {
    jobs: Duration::from_secs(86_400),
    dead_letters: Duration::from_secs(86_400),
    ..Retention::DEFAULT
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A committer and its scheduler; the first claim and trim are through.
fn begun() -> (Committer<u64>, Scheduler) {
    let (mut committer, mut scheduler) = new();
    let work = committer.poll_work(ms(0), NOW, &mut scheduler);
    assert!(matches!(work, Work::Claim { .. }), "{work:?}");
    committer.handle_claimed(Written::default(), &mut scheduler);
    check_trims(&mut committer, &mut scheduler, ms(0));
    (committer, scheduler)
}

fn new() -> (Committer<u64>, Scheduler) {
    let policy = RetryPolicy::new([ms(100)]).unwrap();
    let scheduler = Scheduler::new(Limits::default(), policy, 1);
    (Committer::new(LIMITS, RETENTION), scheduler)
}

/// An operation whose number can be told.
fn operation(number: u128) -> Operation {
    Operation::ChangeEndpoint {
        endpoint: EndpointId::from_random(number),
        change: EndpointChange::Enabled(true),
    }
}

fn number_of(operation: &Operation) -> EndpointId {
    match operation {
        Operation::ChangeEndpoint { endpoint, .. } => *endpoint,
        other => panic!("{other:?}"),
    }
}

fn endpoint(number: u128) -> Arc<Endpoint> {
    let url = EndpointUrl::parse("https://a.example/").unwrap();
    Arc::new(Endpoint::new(EndpointId::from_random(number), url))
}

/// All that it was given is carried out.
fn carried_out(batch: &Batch) -> Written {
    let answer = |operation| Ok(Answer::Endpoint(endpoint_of(operation)));
    Written {
        settles: batch.settles.iter().map(|_| Ok(())).collect(),
        answers: batch.operations.iter().map(answer).collect(),
        ..Written::default()
    }
}

fn endpoint_of(operation: &Operation) -> Arc<Endpoint> {
    let mut endpoint = Endpoint::clone(&endpoint(0));
    endpoint.id = number_of(operation);
    Arc::new(endpoint)
}

fn leased(number: u128) -> Leased {
    let draft = JobEvent::processing(1)
        .draft(1, EventLimits::default())
        .unwrap();
    let id = EventId::new(Epoch::from_random(number), 1);
    let endpoint = endpoint(0);
    let delivery = Delivery {
        id: DeliveryId::from_random(number),
        lane: LaneKey {
            job: JobId::from_random(number),
            endpoint: endpoint.id,
            redelivery: None,
        },
        generation: 0,
        record: EventRecord::new(id, EventKind::Lifecycle, &draft),
        endpoint,
        accepted_at: Timestamp::EPOCH,
        due_at: Timestamp::EPOCH,
        attempts_made: 0,
    };
    Leased::new(delivery, Lease::new(number))
}

/// Has the scheduler send one and settle it.
fn settle_one(scheduler: &mut Scheduler, number: u128) {
    scheduler.handle_ready(leased(number));
    let sent = scheduler.poll_attempt(Timestamp::EPOCH).unwrap();
    let end = AttemptEnd::Sent {
        at: Timestamp::EPOCH,
        outcome: Ok(WebhookResponse {
            status: 204,
            ..WebhookResponse::default()
        }),
    };
    scheduler.handle_attempt_finished(Timestamp::EPOCH, sent.id, end);
}

#[track_caller]
fn check_writes(
    committer: &mut Committer<u64>,
    scheduler: &mut Scheduler,
    at: Duration,
) -> Arc<Batch> {
    match committer.poll_work(at, NOW, scheduler) {
        Work::Write(batch) => batch,
        other => panic!("{other:?} instead of a write"),
    }
}

#[track_caller]
fn check_claims(committer: &mut Committer<u64>, scheduler: &mut Scheduler, at: Duration) {
    let work = committer.poll_work(at, NOW, scheduler);
    let Work::Claim { limit, .. } = work else {
        panic!("{work:?} instead of a claim");
    };
    assert_eq!(limit, LIMITS.claim_deliveries_max);
    committer.handle_claimed(Written::default(), scheduler);
}

#[track_caller]
fn check_trims(committer: &mut Committer<u64>, scheduler: &mut Scheduler, at: Duration) {
    let work = committer.poll_work(at, NOW, scheduler);
    let Work::Trim { rows_max, .. } = work else {
        panic!("{work:?} instead of a step of trimming");
    };
    assert_eq!(rows_max, LIMITS.trim_rows_max);
    committer.handle_trimmed(at, Trimmed::default());
}

#[track_caller]
fn check_waits(
    committer: &mut Committer<u64>,
    scheduler: &mut Scheduler,
    at: Duration,
    until: Duration,
) {
    match committer.poll_work(at, NOW, scheduler) {
        Work::Wait(time) => assert_eq!(time, until),
        other => panic!("{other:?} instead of waiting"),
    }
}

/// Who was told, and whether something went wrong.
fn told(committer: &mut Committer<u64>) -> Vec<(u64, Option<CommitError>)> {
    let done = std::iter::from_fn(|| committer.poll_done());
    done.map(|done| (done.ticket, done.outcome.err())).collect()
}

#[test]
fn what_has_queued_up_is_the_next_batch_settles_first_and_answered_in_order() {
    let (mut committer, mut scheduler) = begun();
    for n in 0..5 {
        committer.handle_operation(ms(1), operation(n.into()), n);
    }
    settle_one(&mut scheduler, 7);
    let batch = check_writes(&mut committer, &mut scheduler, ms(1));
    let numbers = batch.operations.iter().map(number_of);
    assert!(numbers.eq((0..3).map(EndpointId::from_random)));
    assert_eq!(batch.settles.len(), 1);
    assert_eq!(told(&mut committer), []);
    committer.handle_written(ms(2), carried_out(&batch), &mut scheduler);
    assert_eq!(told(&mut committer), [(0, None), (1, None), (2, None)]);
    let batch = check_writes(&mut committer, &mut scheduler, ms(2));
    assert_eq!((batch.settles.len(), batch.operations.len()), (0, 2));
    let refusal = Refusal::TooMany;
    let answers = vec![Err(refusal.clone()), Ok(Answer::Endpoint(endpoint(4)))];
    let written = Written {
        answers,
        ..Written::default()
    };
    committer.handle_written(ms(3), written, &mut scheduler);
    let refused = Some(CommitError::Refused(refusal));
    assert_eq!(told(&mut committer), [(3, refused), (4, None)]);
}

#[test]
fn claiming_writing_and_trimming_take_turns() {
    let (mut committer, mut scheduler) = begun();
    // More than one batch waits, much is due, and there is much to forget.
    for n in 0..12 {
        committer.handle_operation(ms(1_000), operation(n.into()), n);
    }
    let mut at = ms(1_000);
    let turns = (0..10).map(|_| {
        scheduler.handle_left_waiting(EndpointId::from_random(99));
        match committer.poll_work(at, NOW, &mut scheduler) {
            Work::Claim { .. } => {
                committer.handle_claimed(Written::default(), &mut scheduler);
                'c'
            }
            Work::Write(batch) => {
                // Trimming may have half of the time that this takes.
                at += ms(40);
                committer.handle_written(at, carried_out(&batch), &mut scheduler);
                'w'
            }
            Work::Trim { .. } => {
                at += ms(10);
                let trimmed = Trimmed {
                    expired: 0,
                    forgotten: 1,
                    more: true,
                    ..Trimmed::default()
                };
                committer.handle_trimmed(at, trimmed);
                't'
            }
            work => panic!("{work:?}"),
        }
    });
    assert_eq!(turns.collect::<String>(), "tcwttcwttc");
}

#[test]
fn nothing_is_forgotten_while_the_clock_may_be_wrong() {
    let (mut committer, mut scheduler) = new();
    committer.handle_phase(CommitPhase::Draining);
    for (at, kept) in [(1, 1_000 * 366), (601, 1)] {
        let at = ms(at * 1_000);
        let Work::Trim { retention, .. } = committer.poll_work(at, NOW, &mut scheduler) else {
            panic!("it is time to trim");
        };
        assert_eq!(retention.jobs.as_secs() / 86_400, kept);
        committer.handle_trimmed(at, Trimmed::default());
    }
    let secs = Timestamp::from_secs;
    let step = ClockStep {
        from: secs(1_000),
        to: secs(1_000 + 86_400),
    };
    committer.handle_clock_set(ms(602_000), step);
    let at = ms(1_300_000);
    let Work::Trim { retention, .. } = committer.poll_work(at, NOW, &mut scheduler) else {
        panic!("it is time to trim");
    };
    assert_eq!(retention.jobs.as_secs() / 86_400, 2, "its own and the step");
}

#[test]
fn a_walk_over_dead_letters_goes_on_until_it_is_through_and_is_answered_once() {
    let (mut committer, mut scheduler) = begun();
    let filter = DeadFilter {
        reason: Some(DeadReason::Gone),
        ..DeadFilter::default()
    };
    let sweep = Sweep::over(filter).unwrap();
    committer.handle_operation(ms(0), Operation::Redeliver(sweep.clone()), 7);
    let mut expected = sweep.clone();
    for step in 1..=3 {
        // A caller who comes in between does not wait for the end of it.
        committer.handle_operation(ms(0), operation(step.into()), step);
        let batch = check_writes(&mut committer, &mut scheduler, ms(0));
        let position = batch
            .operations
            .iter()
            .position(|operation| match operation {
                Operation::Redeliver(sweep) => *sweep == expected,
                _ => false,
            });
        let position = position.unwrap();
        let rest = (step < 3).then(|| expected.rest(step * 100, 900));
        if let Some(rest) = &rest {
            expected = rest.clone();
            assert_eq!(rest.numbers(), (step * 100, Some(900)));
        }
        let mut answers = vec![Ok(Answer::Endpoint(endpoint(0)))];
        answers.insert(position, Ok(Answer::Swept(Swept { count: 64, rest })));
        let written = Written {
            answers,
            ..Written::default()
        };
        committer.handle_written(ms(0), written, &mut scheduler);
        let done: Vec<_> = std::iter::from_fn(|| committer.poll_done()).collect();
        assert!(done.iter().any(|done| done.ticket == step));
        let swept = done.into_iter().find(|done| done.ticket == 7);
        let swept = swept.map(|done| done.outcome.unwrap());
        let through = Answer::Swept(Swept {
            count: 192,
            rest: None,
        });
        assert_eq!(swept, (step == 3).then_some(through));
    }
    let batch = committer.poll_work(ms(0), NOW, &mut scheduler);
    assert!(matches!(batch, Work::Wait(_)), "{batch:?}");
}

#[test]
fn a_walk_that_is_refused_half_way_says_so() {
    let (mut committer, mut scheduler) = begun();
    committer.handle_operation(ms(0), Operation::DropDeadLetters(Sweep::all()), 7);
    for last in [false, true] {
        check_writes(&mut committer, &mut scheduler, ms(0));
        let answer = match last {
            false => Ok(Answer::Swept(Swept {
                count: 64,
                rest: Some(Sweep::all().rest(1, 2)),
            })),
            true => Err(Refusal::Full),
        };
        let written = Written {
            answers: vec![answer],
            ..Written::default()
        };
        committer.handle_written(ms(0), written, &mut scheduler);
    }
    let refused = Some(CommitError::Refused(Refusal::Full));
    assert_eq!(told(&mut committer), [(7, refused)]);
}

#[test]
fn draining_claims_nothing_and_writes_on() {
    let (mut committer, mut scheduler) = begun();
    committer.handle_phase(CommitPhase::Draining);
    committer.handle_phase(CommitPhase::Running);
    scheduler.handle_left_waiting(EndpointId::from_random(99));
    check_waits(&mut committer, &mut scheduler, ms(1), ms(1_000));
    settle_one(&mut scheduler, 1);
    let batch = check_writes(&mut committer, &mut scheduler, ms(1));
    committer.handle_written(ms(1), carried_out(&batch), &mut scheduler);
    check_waits(&mut committer, &mut scheduler, ms(1), ms(1_000));
}

/// Who falls due while a call is under way is not named by its answer.
#[test]
fn nothing_is_claimed_while_the_bytes_are_used_up() {
    let policy = RetryPolicy::new([ms(100)]).unwrap();
    let limits = Limits {
        ready_bytes_max: 1,
        ..Limits::default()
    };
    let mut scheduler = Scheduler::new(limits, policy, 1);
    let mut committer: Committer<u64> = Committer::new(LIMITS, RETENTION);
    let Work::Claim { room, .. } = committer.poll_work(ms(0), NOW, &mut scheduler) else {
        panic!("no claim");
    };
    assert_eq!(room.bytes, 1);
    let written = Written {
        leased: vec![leased(1)],
        next_due_in: Some(ms(5)),
        ..Written::default()
    };
    committer.handle_claimed(written, &mut scheduler);
    check_trims(&mut committer, &mut scheduler, ms(0));
    // What falls due meanwhile has to wait, and keeps nobody awake.
    check_waits(&mut committer, &mut scheduler, ms(0), ms(5));
    check_waits(&mut committer, &mut scheduler, ms(5), ms(1_000));
    assert!(!scheduler.room_in_passing().has(EndpointId::from_random(9)));
    let sent = scheduler.poll_attempt(Timestamp::EPOCH).unwrap();
    scheduler.handle_attempt_finished(Timestamp::EPOCH, sent.id, AttemptEnd::Abandoned);
    check_claims(&mut committer, &mut scheduler, ms(6));
}

#[test]
fn what_falls_due_while_the_store_works_is_claimed() {
    let (mut committer, mut scheduler) = begun();
    let due_in = |millis| Written {
        answers: vec![Ok(Answer::Endpoint(endpoint(0)))],
        next_due_in: millis,
        ..Written::default()
    };
    committer.handle_operation(ms(90), operation(0), 0);
    check_writes(&mut committer, &mut scheduler, ms(90));
    // Said of 90 ms, heard at 110.
    committer.handle_written(ms(110), due_in(Some(ms(10))), &mut scheduler);
    check_claims(&mut committer, &mut scheduler, ms(110));

    committer.handle_operation(ms(190), operation(0), 0);
    check_writes(&mut committer, &mut scheduler, ms(190));
    committer.handle_written(ms(190), due_in(Some(ms(10))), &mut scheduler);
    committer.handle_operation(ms(199), operation(0), 0);
    check_writes(&mut committer, &mut scheduler, ms(199));
    // The store read its clock at 201 ms, and speaks of what comes after.
    committer.handle_written(ms(205), due_in(None), &mut scheduler);
    check_claims(&mut committer, &mut scheduler, ms(205));
    check_waits(&mut committer, &mut scheduler, ms(205), ms(1_000));
}
