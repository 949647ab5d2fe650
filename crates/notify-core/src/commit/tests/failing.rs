//! A store that is full, busy or broken, and what is kept meanwhile.

use super::*;

#[test]
fn what_deliveries_have_come_to_is_kept_while_the_store_is_full_and_nothing_is_claimed() {
    let (mut committer, mut scheduler) = begun();
    settle_one(&mut scheduler, 1);
    committer.handle_operation(ms(10), operation(0), 0);
    let batch = check_writes(&mut committer, &mut scheduler, ms(10));
    let lease = batch.settles[0].lease;
    committer.handle_operation(ms(11), operation(1), 1);
    committer.handle_failed(ms(12), StoreError::Full);
    let full = Some(CommitError::Store(StoreError::Full));
    assert_eq!(
        told(&mut committer),
        [(0, full.clone()), (1, full.clone())],
        "those in the batch, and those behind it"
    );
    committer.handle_operation(ms(13), operation(2), 2);
    assert_eq!(told(&mut committer), [(2, full)]);
    check_waits(&mut committer, &mut scheduler, ms(13), ms(1_012));
    assert!(committer.is_paused(ms(1_011)) && !committer.is_paused(ms(1_012)));
    // What comes to its end meanwhile is kept behind it.
    settle_one(&mut scheduler, 2);
    for attempt in 0..3 {
        let at = ms(1_012 + attempt * 1_000);
        scheduler.handle_left_waiting(EndpointId::from_random(99));
        let work = loop {
            match committer.poll_work(at, NOW, &mut scheduler) {
                Work::Trim { .. } => committer.handle_trimmed(at, Trimmed::default()),
                work => break work,
            }
        };
        let Work::Write(batch) = work else {
            panic!("{work:?}: nothing is claimed while anything is kept");
        };
        assert_eq!(batch.settles.len(), 2);
        assert_eq!(batch.settles[0].lease, lease);
        if attempt < 2 {
            committer.handle_failed(at, StoreError::Full);
        } else {
            committer.handle_written(at, carried_out(&batch), &mut scheduler);
        }
    }
    assert_eq!(committer.kept(), 0);
    check_claims(&mut committer, &mut scheduler, ms(3_012));
}

#[test]
fn callers_wait_for_a_store_that_is_busy_and_are_refused_when_patience_ends() {
    let (mut committer, mut scheduler) = begun();
    for n in 0..4 {
        committer.handle_operation(ms(0), operation(n.into()), n);
    }
    // A step of trimming would tell that the store can be asked again.
    committer.trimming.at = ms(60_000);
    let mut at = ms(10);
    let deadline = at + PATIENCE;
    let batch = loop {
        let batch = check_writes(&mut committer, &mut scheduler, at);
        // Always the same ones, in their order.
        let numbers = batch.operations.iter().map(number_of);
        assert!(numbers.eq((0..3).map(EndpointId::from_random)));
        if at == deadline {
            break batch;
        }
        committer.handle_failed(at, StoreError::NotNow);
        assert_eq!(told(&mut committer), []);
        at = match committer.poll_work(at, NOW, &mut scheduler) {
            Work::Wait(until) => until,
            work => panic!("{work:?}"),
        };
        // So would a claim.
        committer.claim_wanted = false;
    };
    assert_eq!(batch.operations.len(), 3);
    committer.handle_failed(at, StoreError::NotNow);
    let refused = Some(CommitError::Store(StoreError::NotNow));
    let all: Vec<_> = (0..4).map(|n| (n, refused.clone())).collect();
    assert_eq!(told(&mut committer), all);
}

#[test]
fn a_store_that_fails_for_good_ends_it_with_an_answer_for_everyone() {
    for error in [
        StoreError::OutcomeUnknown,
        StoreError::Failed("x".to_owned()),
    ] {
        let (mut committer, mut scheduler) = begun();
        for n in 0..5 {
            committer.handle_operation(ms(0), operation(n.into()), n);
        }
        check_writes(&mut committer, &mut scheduler, ms(0));
        committer.handle_failed(ms(1), error.clone());
        committer.handle_operation(ms(1), operation(5), 5);
        let refused = Some(CommitError::Store(error.clone()));
        let all: Vec<_> = (0..6).map(|n| (n, refused.clone())).collect();
        assert_eq!(told(&mut committer), all);
        assert_eq!(committer.failure(), Some(&error));
        let work = committer.poll_work(ms(99_999), NOW, &mut scheduler);
        assert!(matches!(work, Work::End), "{work:?}");
    }
}

#[test]
fn trimming_that_fails_costs_nobody_anything_but_time() {
    let (mut committer, mut scheduler) = begun();
    let work = committer.poll_work(ms(1_000), NOW, &mut scheduler);
    assert!(matches!(work, Work::Trim { .. }), "{work:?}");
    committer.handle_failed(ms(1_000), StoreError::NotNow);
    committer.handle_operation(ms(1_000), operation(0), 0);
    check_waits(&mut committer, &mut scheduler, ms(1_000), ms(1_020));
    check_claims(&mut committer, &mut scheduler, ms(1_020));
    let batch = check_writes(&mut committer, &mut scheduler, ms(1_020));
    committer.handle_written(ms(1_020), carried_out(&batch), &mut scheduler);
    assert_eq!(told(&mut committer), [(0, None)]);
    check_waits(&mut committer, &mut scheduler, ms(1_020), ms(2_000));
}

#[test]
fn closing_writes_what_is_kept_without_waiting_and_ends() {
    let (mut committer, mut scheduler) = begun();
    settle_one(&mut scheduler, 1);
    check_writes(&mut committer, &mut scheduler, ms(0));
    committer.handle_failed(ms(0), StoreError::Full);
    check_waits(&mut committer, &mut scheduler, ms(1), ms(1_000));
    committer.handle_phase(CommitPhase::Closing);
    committer.handle_operation(ms(1), operation(0), 0);
    let batch = check_writes(&mut committer, &mut scheduler, ms(1));
    assert_eq!((batch.settles.len(), batch.operations.len()), (1, 1));
    committer.handle_written(ms(2), carried_out(&batch), &mut scheduler);
    assert_eq!(told(&mut committer), [(0, None)]);
    let work = committer.poll_work(ms(5_000), NOW, &mut scheduler);
    assert!(
        matches!(work, Work::End),
        "nor is anything trimmed: {work:?}"
    );
}

#[test]
fn closing_gives_up_what_a_full_store_does_not_take() {
    let (mut committer, mut scheduler) = begun();
    settle_one(&mut scheduler, 1);
    committer.handle_phase(CommitPhase::Closing);
    check_writes(&mut committer, &mut scheduler, ms(0));
    committer.handle_failed(ms(0), StoreError::Full);
    let work = committer.poll_work(ms(1), NOW, &mut scheduler);
    assert!(matches!(work, Work::End), "{work:?}");
}
