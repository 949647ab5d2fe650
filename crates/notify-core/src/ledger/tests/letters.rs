//! Redelivering and dropping, step by step.

use super::*;

fn letter(number: u64, reason: DeadReason) -> LetterRow {
    let draft = append(JobEvent::queued()).draft;
    let event = EventId::new(epoch(), number);
    LetterRow {
        number,
        of: Undelivered {
            id: DeliveryId::of(event, 0),
            job: job(),
            record: EventRecord::new(event, EventKind::Lifecycle, &draft),
            endpoint: None,
            url: "https://e5.example/".into(),
            generation: 2,
        },
        reason,
        listed: None,
    }
}

#[test]
fn a_redelivery_is_a_lane_of_its_own_and_of_the_next_generation() {
    let sweep = Sweep::all();
    let batch = Batch {
        operations: vec![Operation::Redeliver(sweep.clone())],
        ..Batch::default()
    };
    let mut rows = Rows::new();
    let letters = vec![
        letter(3, DeadReason::SecretMissing),
        letter(4, DeadReason::UrlInvalid),
    ];
    rows.put_letters(sweep, letters, 4);
    let Decided { changes, written } = decided(&batch, rows, BOUNDS);
    let swept = Swept {
        count: 1,
        rest: None,
    };
    assert_eq!(written.answers, [Ok(Answer::Swept(swept))]);
    assert_eq!(
        changes.letters_gone,
        [3],
        "the other has no URL to be sent to"
    );
    let new = &changes.deliveries[0];
    assert_eq!(new.lane.redelivery, Some(new.row.id));
    assert_eq!((new.row.generation, new.row.job), (3, None));
    assert_eq!(changes.endpoints.len(), 1);
}

#[test]
fn a_filter_that_names_nothing_is_never_everything() {
    assert!(Sweep::over(DeadFilter::default()).is_err());
    let filter = DeadFilter {
        job: Some(job()),
        ..DeadFilter::default()
    };
    assert!(Sweep::over(filter).is_ok());
}

#[test]
fn a_walk_goes_on_where_a_full_step_ended_and_ends_with_what_was_there() {
    let sweep = Sweep::all();
    let batch = Batch {
        operations: vec![Operation::DropDeadLetters(sweep.clone())],
        ..Batch::default()
    };
    let mut rows = Rows::new();
    let step = 1..=Sweep::STEP_MAX as u64;
    let letters = step
        .map(|number| letter(number, DeadReason::Gone))
        .collect();
    rows.put_letters(sweep, letters, 500);
    let Decided { written, .. } = decided(&batch, rows, BOUNDS);
    let Ok(Answer::Swept(Swept { count, rest })) = &written.answers[0] else {
        panic!("{written:?}");
    };
    assert_eq!(*count, Sweep::STEP_MAX as u64);
    assert_eq!(rest.as_ref().unwrap().numbers(), (*count, Some(500)));
}
