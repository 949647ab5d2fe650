//! Steps of the clock against examples and a ledger of true ages.

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const NOW: Timestamp = Timestamp::from_secs(1_712_534_400);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn back(by: Duration) -> ClockStep {
    ClockStep {
        from: NOW.plus(by),
        to: NOW,
    }
}

fn forward(by: Duration) -> ClockStep {
    ClockStep {
        from: NOW,
        to: NOW.plus(by),
    }
}

#[test]
fn a_wait_is_as_long_as_before_when_the_clock_is_set_back() {
    let step = back(DAY);
    assert_eq!(step.due(NOW.plus(DAY + secs(1))), NOW.plus(secs(1)));
    // Due already, by the old time: still due, and in order.
    assert!(step.due(NOW.plus(DAY)) <= NOW);
    assert!(step.due(NOW.plus(DAY - secs(2))) < step.due(NOW.plus(DAY - secs(1))));
    assert_eq!(step.due(NOW), NOW);
}

#[test]
fn what_has_fallen_due_is_due_when_the_clock_is_set_forward() {
    let due_at = NOW.plus(secs(3_600));
    assert_eq!(forward(DAY).due(due_at), due_at);
}

#[test]
fn a_minute_that_runs_goes_on_however_the_clock_is_set() {
    for (step, at) in [
        (back(DAY), NOW.plus(DAY - secs(20))),
        (forward(DAY), Timestamp::from_secs(NOW.as_secs() - 20)),
    ] {
        assert_eq!(step.to.since(step.stamp(at)), secs(20), "{step:?}");
    }
    let long_ago = Timestamp::from_secs(NOW.as_secs() - 61);
    assert_eq!(forward(DAY).stamp(long_ago), long_ago);
    // Made by an earlier life, while this one still believes it is 1970.
    let step = ClockStep {
        from: Timestamp::from_secs(5),
        to: NOW,
    };
    assert_eq!(step.stamp(NOW), NOW);
}

#[test]
fn nothing_waits_longer_than_it_was_told_to() {
    let due_at = NOW.plus(DAY + secs(1));
    assert_eq!(due_again(NOW, due_at, secs(1)), NOW.plus(secs(1)));
    assert_eq!(due_again(NOW, due_at, 2 * DAY), due_at);
    assert_eq!(
        due_again(NOW, NOW.plus(100 * DAY), 100 * DAY),
        NOW.plus(DELAY_MAX)
    );
}

#[test]
fn nothing_is_forgotten_while_the_clock_may_be_wrong() {
    let kept = Retention {
        jobs: secs(60),
        dead_letters: DAY,
        ..Retention::DEFAULT
    };
    let mut forbearance = Forbearance::default();
    assert_eq!(forbearance.retention(secs(59), kept).jobs, KEPT);
    assert_eq!(forbearance.retention(secs(60), kept).jobs, secs(60));
    assert_eq!(forbearance.retention(secs(599), kept).dead_letters, KEPT);
    assert_eq!(forbearance.retention(secs(600), kept), kept);
    forbearance.handle_step(secs(1_000), back(DAY));
    assert_eq!(forbearance.retention(secs(1_059), kept).jobs, KEPT);
    assert_eq!(forbearance.retention(secs(1_600), kept), kept);
}

#[test]
fn nothing_is_older_for_a_step_forward() {
    let kept = Retention {
        jobs: DAY,
        dead_letters: 30 * DAY,
        ..Retention::DEFAULT
    };
    let mut forbearance = Forbearance::default();
    forbearance.handle_step(secs(10), forward(20_000 * DAY));
    let now = forbearance.retention(DAY, kept);
    assert_eq!(now.jobs, 20_001 * DAY);
    let now = forbearance.retention(DAY + secs(10), kept);
    assert_eq!((now.jobs, now.dead_letters), (DAY, 20_030 * DAY));
}

proptest! {
    /// Against a ledger of true ages: what is trimmed by the stretched retention
    /// has been kept for long enough by the clock that nobody sets.
    #[test]
    fn what_is_trimmed_was_kept_for_long_enough(
        steps in proptest::collection::vec((1u64..200_000, 0u64..400_000), 0..90),
        ended in 0u64..2_000_000,
        later in 0u64..400_000,
        kept in 1u64..200_000,
    ) {
        let mut forbearance = Forbearance::default();
        let (mut at, mut shift, mut shift_then) = (0, 0, 0);
        for (pause, by) in steps {
            at += pause;
            if at > ended + later { break; }
            forbearance.handle_step(secs(at), ClockStep { from: NOW, to: NOW.plus(secs(by)) });
            shift += by;
            if at <= ended { shift_then += by; }
        }
        // A process that started with the wall at NOW.
        let ended_at = NOW.plus(secs(ended + shift_then));
        let now = NOW.plus(secs(ended + later + shift));
        let retention = Retention { jobs: secs(kept), dead_letters: secs(kept),
..Retention::DEFAULT
};
        let stretched = forbearance.retention(secs(ended + later), retention);
        if now.since(ended_at) >= stretched.jobs {
            prop_assert!(later >= kept, "forgotten after {later} s of {kept}");
        }
    }

    #[test]
    fn the_order_of_what_waits_is_kept(
        from in 0u64..1_000_000, to in 0u64..1_000_000, a in 0u64..2_000_000, b in 0u64..2_000_000,
    ) {
        let step = ClockStep { from: Timestamp::from_millis(from), to: Timestamp::from_millis(to) };
        let (a, b) = (Timestamp::from_millis(a.min(b)), Timestamp::from_millis(a.max(b)));
        let now = |at: Timestamp| step.due(at).max(step.to);
        prop_assert!(now(a) <= now(b));
        prop_assert!(!step.is_back() || step.due(a).since(step.to) <= a.since(step.from));
    }
}
