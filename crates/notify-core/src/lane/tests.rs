//! The lane rule against examples and a naive model.

use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// A row accepted and due at `secs`.
fn row(sequence: u64, kind: EventKind, secs: u64) -> LaneRow {
    LaneRow {
        sequence,
        kind,
        accepted_at: at(secs),
        due_at: at(secs),
        first_failed_at: None,
        spacing: Duration::ZERO,
        leased: false,
    }
}

use EventKind::{Lifecycle, Progress, Terminal};

/// At an endpoint that was never sick.
fn plan(rows: &[LaneRow], progress_sent_at: Option<Timestamp>, now: Timestamp) -> LanePlan {
    let facts = LaneFacts {
        progress_sent_at,
        ..LaneFacts::default()
    };
    super::plan(rows, &facts, now)
}

#[test]
fn the_minute_stands_still_while_the_endpoint_is_sick_and_begins_anew() {
    let failing = LaneRow {
        first_failed_at: Some(at(90)),
        ..row(1, Lifecycle, 80)
    };
    let rows = [failing, row(2, Terminal, 100)];
    let sick = LaneFacts {
        sick_since: Some(at(120)),
        ..LaneFacts::default()
    };
    assert_eq!(super::plan(&rows, &sick, at(900)).head, Some((0, at(80))));
    let well = |at_secs| LaneFacts {
        well_since: Some(at(at_secs)),
        ..LaneFacts::default()
    };
    assert_eq!(
        super::plan(&rows, &well(900), at(960)).head,
        Some((0, at(80)))
    );
    let late = super::plan(&rows, &well(900), at(961));
    assert_eq!(late.settled, [(0, Overruled::Overtaken)]);
    // It was well again before, or will be by a clock that was set back.
    for well_since in [95, 5_000] {
        let late = super::plan(&rows, &well(well_since), at(161));
        assert_eq!(late.settled, [(0, Overruled::Overtaken)]);
    }
}

#[test]
fn a_head_that_is_due_at_a_sick_endpoint_for_too_long_expires() {
    let facts = LaneFacts {
        sick_since: Some(at(50)),
        max_age: Some(Duration::from_secs(10)),
        ..LaneFacts::default()
    };
    let rows = [
        row(1, Lifecycle, 20),
        row(2, Lifecycle, 20),
        row(3, Terminal, 55),
    ];
    assert_eq!(super::plan(&rows, &facts, at(60)).settled, []);
    // One at a time: the next may be one that is out of sight.
    let late = super::plan(&rows, &facts, at(99));
    assert_eq!(late.settled, [(0, Overruled::Expired)]);
    assert_eq!(late.head, Some((1, at(20))));
    // Due later than the endpoint fell sick: it waits from then on.
    assert_eq!(super::plan(&rows[2..], &facts, at(65)).settled, []);
    let late = super::plan(&rows[2..], &facts, at(66));
    assert_eq!((late.settled.len(), late.head), (1, None));
    // Nothing expires that is not due, is being attempted, or is asked for elsewhere.
    let later = LaneRow {
        due_at: at(500),
        ..rows[0]
    };
    let leased = LaneRow {
        leased: true,
        ..rows[0]
    };
    for head in [later, leased] {
        assert_eq!(super::plan(&[head, rows[2]], &facts, at(400)).settled, []);
    }
    let never = LaneFacts {
        max_age: None,
        ..facts
    };
    let healthy = LaneFacts {
        sick_since: None,
        ..facts
    };
    for facts in [never, healthy] {
        assert_eq!(super::plan(&rows, &facts, at(9_999)).settled, []);
    }
}

#[test]
fn only_the_head_can_be_leased() {
    let rows = [
        row(1, Lifecycle, 5),
        row(2, Lifecycle, 6),
        row(3, Terminal, 7),
    ];
    assert_eq!(plan(&rows, None, at(9)).head, Some((0, at(5))));
    let leased = [
        LaneRow {
            leased: true,
            ..rows[0]
        },
        rows[1],
        rows[2],
    ];
    assert_eq!(plan(&leased, None, at(9)), LanePlan::default());
    assert_eq!(plan(&[], None, at(9)), LanePlan::default());
}

#[test]
fn a_newer_progress_inherits_the_due_time() {
    let waiting = LaneRow {
        due_at: at(30),
        ..row(2, Progress, 5)
    };
    let rows = [waiting, row(3, Progress, 6)];
    let plan = plan(&rows, None, at(9));
    assert_eq!(plan.settled, [(0, Overruled::Superseded)]);
    assert_eq!(plan.inherited, Some((1, at(30))));
    assert_eq!(plan.head, Some((1, at(30))));
}

#[test]
fn a_terminal_event_is_due_at_once_after_a_waiting_progress() {
    let waiting = LaneRow {
        due_at: at(30),
        ..row(2, Progress, 5)
    };
    let rows = [waiting, row(3, Terminal, 6)];
    let plan = plan(&rows, None, at(9));
    assert_eq!(plan.settled, [(0, Overruled::Superseded)]);
    assert_eq!((plan.head, plan.inherited), (Some((1, at(6))), None));
}

#[test]
fn a_leased_progress_is_left_alone() {
    let rows = [
        LaneRow {
            leased: true,
            ..row(2, Progress, 5)
        },
        row(3, Progress, 6),
        row(4, Progress, 7),
    ];
    let plan = plan(&rows, None, at(9));
    assert_eq!(plan.settled, [(1, Overruled::Superseded)]);
    assert_eq!(plan.head, None);
    assert_eq!(plan.inherited, Some((2, at(6))));
}

#[test]
fn a_failing_event_is_overtaken_after_a_minute() {
    let failing = LaneRow {
        due_at: at(130),
        first_failed_at: Some(at(90)),
        ..row(1, Lifecycle, 80)
    };
    let rows = [failing, row(2, Terminal, 100)];
    // The minute runs from when both are so: 100 + 60.
    assert_eq!(plan(&rows, None, at(110)).head, Some((0, at(130))));
    assert_eq!(plan(&rows, None, at(160)).head, Some((0, at(130))));
    let late = plan(&rows, None, at(161));
    assert_eq!(late.settled, [(0, Overruled::Overtaken)]);
    assert_eq!(late.head, Some((1, at(100))));
    // Its next attempt would come too late: nothing is gained by waiting.
    let hopeless = [
        LaneRow {
            due_at: at(161),
            ..failing
        },
        rows[1],
    ];
    assert_eq!(
        plan(&hopeless, None, at(110)).settled,
        [(0, Overruled::Overtaken)]
    );
    // Never failed: it has its turn however long the window was full.
    let unlucky = [
        LaneRow {
            first_failed_at: None,
            ..failing
        },
        rows[1],
    ];
    assert_eq!(plan(&unlucky, None, at(999)).head, Some((0, at(130))));
    // Not a terminal one: order holds, however long it takes.
    let patient = [failing, row(2, Lifecycle, 100)];
    assert_eq!(plan(&patient, None, at(999)).head, Some((0, at(130))));
}

#[test]
fn progress_keeps_its_distance_from_the_last_that_was_sent() {
    let spaced = LaneRow {
        spacing: Duration::from_secs(10),
        ..row(2, Progress, 5)
    };
    let head = |row, sent_at, now| plan(&[row], sent_at, at(now)).head;
    assert_eq!(head(spaced, None, 6), Some((0, at(5))));
    assert_eq!(head(spaced, Some(at(3)), 6), Some((0, at(13))));
    let late = LaneRow {
        due_at: at(20),
        ..spaced
    };
    assert_eq!(head(late, Some(at(3)), 6), Some((0, at(20))));
    // Sent at a time that is still to come: the clock was set back.
    assert_eq!(head(spaced, Some(at(7)), 6), Some((0, at(5))));
    // Its own retry has a time of its own, and other events keep no distance.
    let failed = LaneRow {
        first_failed_at: Some(at(3)),
        ..spaced
    };
    assert_eq!(head(failed, Some(at(3)), 6), Some((0, at(5))));
    let lifecycle = LaneRow {
        kind: Lifecycle,
        ..spaced
    };
    assert_eq!(head(lifecycle, Some(at(3)), 6), Some((0, at(5))));
    // What it inherits is its due time, not its distance.
    let rows = [row(1, Progress, 1), spaced];
    let plan = plan(&rows, Some(at(3)), at(6));
    assert_eq!(
        (plan.inherited, plan.head),
        (Some((1, at(1))), Some((1, at(13))))
    );
}

/// What is settled, and the head with its due time; rows by their sequence.
type Decision = (Vec<(u64, Overruled)>, Option<(u64, Timestamp)>);

/// The naive model: apply one rule at a time to the lane until none applies.
fn model(rows: &[LaneRow], sent_at: Option<Timestamp>, now: Timestamp) -> Decision {
    let mut lane = rows.to_vec();
    let mut settled = Vec::new();
    loop {
        if let Some(i) =
            (0..lane.len().saturating_sub(1)).find(|&i| lane[i].kind == Progress && !lane[i].leased)
        {
            if lane[i + 1].kind == Progress && !lane[i + 1].leased {
                lane[i + 1].due_at = lane[i].due_at;
            }
            settled.push((lane.remove(i).sequence, Overruled::Superseded));
            continue;
        }
        let waits = lane.len() > 1 && lane[lane.len() - 1].kind == Terminal;
        if let (true, Some(failed)) = (
            waits && !lane[0].leased,
            lane.first().and_then(|head| head.first_failed_at),
        ) {
            let limit = failed
                .max(lane[lane.len() - 1].accepted_at)
                .plus(Duration::from_secs(60));
            if now > limit || lane[0].due_at > limit {
                settled.push((lane.remove(0).sequence, Overruled::Overtaken));
                continue;
            }
        }
        break;
    }
    settled.sort_by_key(|&(sequence, _)| sequence);
    let head = lane.first().filter(|head| !head.leased).map(|head| {
        let mut due_at = head.due_at;
        if let Some(sent_at) = sent_at
            && sent_at <= now
            && head.kind == Progress
            && head.first_failed_at.is_none()
        {
            due_at = due_at.max(sent_at.plus(head.spacing));
        }
        (head.sequence, due_at)
    });
    (settled, head)
}

fn any_lane() -> impl Strategy<Value = Vec<LaneRow>> {
    let middle = (
        prop_oneof![Just(Lifecycle), Just(Progress)],
        0u64..100,
        0u64..200,
        proptest::option::of(0u64..100),
        0u64..100,
    );
    let terminal = proptest::option::of((0u64..100, 0u64..200));
    (
        proptest::collection::vec(middle, 0..7),
        terminal,
        any::<bool>(),
    )
        .prop_map(|(middle, terminal, leased)| {
            let mut rows: Vec<LaneRow> = middle
                .into_iter()
                .map(|(kind, accepted, due, failed, spacing)| LaneRow {
                    due_at: at(due),
                    spacing: Duration::from_secs(spacing),
                    first_failed_at: failed.map(at),
                    ..row(0, kind, accepted)
                })
                .collect();
            rows.extend(terminal.map(|(accepted, due)| LaneRow {
                due_at: at(due),
                ..row(0, Terminal, accepted)
            }));
            for (row, sequence) in rows.iter_mut().zip(1..) {
                row.sequence = sequence;
                row.leased = leased && sequence == 1;
            }
            rows
        })
}

proptest! {
    #[test]
    fn the_plan_agrees_with_one_rule_at_a_time(rows in any_lane(), sent in proptest::option::of(0u64..300), now in 0u64..300) {
        let sent_at = sent.map(at);
        let plan = plan(&rows, sent_at, at(now));
        let (settled, head) = model(&rows, sent_at, at(now));
        let mut planned: Vec<(u64, Overruled)> =
            plan.settled.iter().map(|&(position, why)| (rows[position].sequence, why)).collect();
        planned.sort_by_key(|&(sequence, _)| sequence);
        prop_assert_eq!(planned, settled);
        prop_assert_eq!(plan.head.map(|(position, due)| (rows[position].sequence, due)), head);
    }

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(rows in any_lane(), now in 0u64..300) {
        let first = plan(&rows, None, at(now));
        let left: Vec<LaneRow> = rows.iter().enumerate()
            .filter(|(position, _)| !first.settled.iter().any(|(settled, _)| settled == position))
            .map(|(position, row)| match first.inherited {
                Some((heir, due_at)) if heir == position => LaneRow { due_at, ..*row },
                _ => *row,
            })
            .collect();
        let second = plan(&left, None, at(now));
        prop_assert_eq!(second.settled, vec![]);
        prop_assert_eq!(second.head.map(|(_, due)| due), first.head.map(|(_, due)| due));
    }

    #[test]
    fn rows_in_the_middle_decide_nothing(extra in 1usize..5, now in 0u64..300, due in 0u64..200, failed in proptest::option::of(0u64..100)) {
        let head = LaneRow { due_at: at(due), first_failed_at: failed.map(at), ..row(1, Lifecycle, 5) };
        let last = row(99, Terminal, 50);
        let mut whole = vec![head];
        whole.extend((0..extra).map(|i| row(2 + i as u64, Lifecycle, 10)));
        whole.push(last);
        let cut = [head, whole[1], last];
        let overtaken = |rows: &[LaneRow]| plan(rows, None, at(now)).settled;
        prop_assert_eq!(overtaken(&whole), overtaken(&cut));
    }
}
