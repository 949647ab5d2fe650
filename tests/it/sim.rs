//! The simulator over many seeds, and the proof that its checker can fail.

use notify_tests::sim::{Figures, Invariant, Sabotage, fingerprint, run};

/// Runs these seeds; the first that breaks an invariant fails with its trace.
#[track_caller]
fn check_worlds(seeds: std::ops::Range<u64>) {
    let mut figures = Figures::default();
    for seed in seeds {
        match run(seed, Sabotage::None) {
            Ok(more) => figures += more,
            Err(violation) => panic!("{violation}"),
        }
    }
    assert_eq!(figures.missing(), None, "never happened: {figures}");
}

/// A sender that is broken like this breaks `invariant` in one of a few worlds,
/// and no other one before.
#[track_caller]
fn check_caught(sabotage: Sabotage, invariant: Invariant) {
    check_caught_by(sabotage, &[invariant]);
}

/// The same, for what breaks one of several.
#[track_caller]
fn check_caught_by(sabotage: Sabotage, invariants: &[Invariant]) {
    let caught = (0..300).find_map(|seed| run(seed, sabotage).err());
    let Some(violation) = caught else {
        panic!("{sabotage:?} goes unnoticed");
    };
    assert!(invariants.contains(&violation.invariant), "{violation}");
    assert!(!violation.trace.is_empty());
}

#[test]
fn a_thousand_worlds_keep_every_invariant() {
    check_worlds(0..1_000);
}

#[test]
fn and_another_thousand() {
    check_worlds(1_000..2_000);
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..40 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
    assert_ne!(fingerprint(1), fingerprint(2));
}

#[test]
fn a_violation_says_how_to_see_it_again() {
    let run = |seed| run(seed, Sabotage::DropSettle).err();
    let violation = (0..300).find_map(run).unwrap();
    let seed = violation.seed;
    let text = violation.to_string();
    assert!(text.ends_with(&format!("cargo xtask sim --from {seed} --seeds 1")));
    assert_eq!(run(seed).unwrap().to_string(), text);
}

#[test]
fn what_was_never_delivered_is_noticed() {
    check_caught(Sabotage::LoseLeasesAtCrash, Invariant::I1);
    check_caught(Sabotage::CallFailureDelivered, Invariant::I1);
}

#[test]
fn an_event_without_all_its_deliveries_is_noticed() {
    check_caught(Sabotage::WriteByHalf, Invariant::I2);
}

#[test]
fn a_gap_in_a_sequence_is_noticed() {
    check_caught(Sabotage::SkipSequence, Invariant::I3);
}

#[test]
fn an_event_after_the_end_is_noticed() {
    check_caught(Sabotage::AcceptAfterEnd, Invariant::I4);
}

#[test]
fn an_event_that_overtakes_another_is_noticed() {
    check_caught(Sabotage::IgnoreLanes, Invariant::I5);
}

#[test]
fn an_attempt_too_early_or_too_many_is_noticed() {
    check_caught(Sabotage::IgnoreDue, Invariant::I6);
    check_caught(Sabotage::NeverGiveUp, Invariant::I6);
    check_caught(Sabotage::ChargeOwnFailures, Invariant::I6);
    check_caught(Sabotage::ChargePanics, Invariant::I6);
    // Nor does who does not hear that one was disabled know that it is sick then.
    let either = [Invariant::I6, Invariant::Sick];
    check_caught_by(Sabotage::SendToDisabled, &either);
}

#[test]
fn a_stale_lease_that_settles_is_noticed() {
    check_caught(Sabotage::TakeStaleLeases, Invariant::I7);
}

#[test]
fn a_reader_that_misses_an_event_is_noticed() {
    check_caught(Sabotage::SkipOnReconnect, Invariant::I8);
    check_caught(Sabotage::TakeFailedReadsForEmpty, Invariant::I8);
}

#[test]
fn two_events_for_one_key_are_noticed() {
    check_caught(Sabotage::ForgetKeys, Invariant::I9);
}

#[test]
fn a_redelivery_that_is_none_or_another_message_or_half_a_walk_is_noticed() {
    check_caught(Sabotage::CountSweepTwice, Invariant::I10);
    check_caught(Sabotage::StopSweepsEarly, Invariant::I10);
    check_caught(Sabotage::RenameRedelivery, Invariant::I10);
}

#[test]
fn a_wrong_signature_is_noticed() {
    check_caught(Sabotage::SignWithOldSecret, Invariant::I11);
    check_caught(Sabotage::SignWithOldTime, Invariant::I11);
}

#[test]
fn a_limit_that_is_passed_is_noticed() {
    check_caught(Sabotage::WidenWindow, Invariant::I13);
    check_caught(Sabotage::IgnoreRoom, Invariant::I13);
    check_caught(Sabotage::IgnoreBytes, Invariant::I13);
    check_caught(Sabotage::IgnoreBacklog, Invariant::I13);
}

#[test]
fn a_backlog_that_stands_still_is_noticed() {
    check_caught(Sabotage::DropSettle, Invariant::I14);
    check_caught(Sabotage::DropLease, Invariant::I14);
}

/// The invariant of recovery itself, I15, shows as what recovery loses.
#[test]
fn a_recovery_that_loses_something_is_noticed() {
    // Who is not recovered may be passed by others before he is missed.
    let either = [Invariant::I14, Invariant::Fair];
    check_caught_by(Sabotage::SkipRecovery, &either);
    check_caught(Sabotage::LoseLeasesInRecovery, Invariant::I1);
}

#[test]
fn a_schedule_that_follows_the_wall_clock_is_noticed() {
    check_caught(Sabotage::FollowTheWall, Invariant::I16);
}

#[test]
fn waits_that_are_left_behind_by_a_set_clock_are_noticed() {
    // Who is thought to wait yet may be passed by others before he is missed.
    let either = [Invariant::I14, Invariant::Fair];
    check_caught_by(Sabotage::LeaveWaitsBehind, &either);
}

#[test]
fn a_job_that_is_forgotten_too_early_is_noticed() {
    check_caught(Sabotage::ForgetEarly, Invariant::I1);
}

#[test]
fn a_caller_who_is_answered_never_or_twice_is_noticed() {
    check_caught(Sabotage::ForgetTheGone, Invariant::Answered);
    check_caught(Sabotage::AnswerTwice, Invariant::Answered);
}

#[test]
fn passing_those_who_wait_is_noticed() {
    check_caught(Sabotage::PassThoseWhoWait, Invariant::Fair);
}

#[test]
fn what_goes_to_the_sick_is_noticed() {
    check_caught(Sabotage::BlameMessages, Invariant::Sick);
    check_caught(Sabotage::IgnorePacing, Invariant::Sick);
    check_caught(Sabotage::SendToTheSick, Invariant::Sick);
}

#[test]
fn a_store_that_does_not_know_who_is_sick_is_noticed() {
    check_caught(Sabotage::KeepSicknessSecret, Invariant::Sick);
    check_caught(Sabotage::CallTheSickWell, Invariant::Sick);
}

#[test]
fn places_that_those_take_who_do_not_serve_are_noticed() {
    check_caught(Sabotage::TakeAllPlaces, Invariant::Places);
}

#[test]
fn what_is_given_up_too_early_or_never_is_noticed() {
    check_caught(Sabotage::NeverExpire, Invariant::Expires);
    check_caught(Sabotage::ExpireEarly, Invariant::I1);
    check_caught(Sabotage::UseUpProbes, Invariant::I1);
}

#[test]
fn an_event_that_its_webhook_costs_is_noticed() {
    check_caught(Sabotage::RefuseForWebhook, Invariant::Costless);
}
