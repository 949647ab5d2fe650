//! What is wrong with a webhook, bounds, and what a log keeps.

use super::*;

#[test]
fn what_is_wrong_with_a_webhook_never_costs_the_event() {
    let refused = |reason| Webhook::Refused {
        url: "htp:/typo".into(),
        reason,
    };
    let unsent = |webhook, event: JobEvent, has_global_secret| {
        let append = Append {
            webhook: Some(webhook),
            has_global_secret,
            ..append(event)
        };
        let Decided { changes, written } = decided(&batch(vec![append]), Rows::new(), BOUNDS);
        assert_eq!(changes.events.len(), 1);
        assert!(changes.deliveries.is_empty() && changes.endpoints.is_empty());
        let reasons: Vec<_> = changes.letters.iter().map(|letter| letter.reason).collect();
        assert_eq!(reasons, written.died);
        (accepted(&written, 0).unsent, reasons)
    };
    use DeadReason::{AddressRefused, SecretMissing, UrlInvalid};
    for reason in [UrlInvalid, AddressRefused] {
        let said = unsent(refused(reason), JobEvent::queued(), true);
        assert_eq!(said, (Some(reason), vec![reason]));
    }
    let said = unsent(Webhook::To(url("a")), JobEvent::completed(1.into()), false);
    assert_eq!(said, (Some(SecretMissing), vec![SecretMissing]));
}

#[test]
fn one_receiver_that_nobody_can_sign_for_is_given_up_once() {
    let told = endpoint(5);
    let append = Append {
        has_global_secret: false,
        ..append_to(&told.endpoint.url, JobEvent::queued())
    };
    let Decided { changes, written } = decided(&batch(vec![append]), rows(&told, &[]), BOUNDS);
    assert_eq!(written.died, [DeadReason::SecretMissing]);
    assert_eq!(changes.letters.len(), 1);
}

#[test]
fn progress_that_cannot_be_sent_makes_nothing() {
    let told = endpoint(5);
    let mut rows = Rows::new();
    rows.put_job(job(), Found::Row(known_job(&told, JobStatus::Processing)));
    rows.put_endpoint(told.endpoint.id, Found::Row(told));
    let append = Append {
        has_global_secret: false,
        ..append(JobEvent::processing(1))
    };
    let Decided { changes, written } = decided(&batch(vec![append]), rows, BOUNDS);
    assert_eq!(
        accepted(&written, 0).unsent,
        Some(DeadReason::SecretMissing)
    );
    assert!(changes.letters.is_empty() && changes.deliveries.is_empty());
}

#[test]
fn an_endpoint_with_a_secret_of_its_own_needs_no_other() {
    let mut told = endpoint(5);
    let keyring = Keyring::new(Secret::parse("its own").unwrap());
    told.endpoint = Arc::new(Endpoint {
        keyring: Some(keyring),
        ..Endpoint::clone(&told.endpoint)
    });
    let append = Append {
        has_global_secret: false,
        ..append(JobEvent::queued())
    };
    let Decided { written, .. } = decided(&batch(vec![append]), rows(&told, &[]), BOUNDS);
    assert_eq!(accepted(&written, 0).lanes.len(), 1);
}

#[test]
fn too_much_waiting_for_one_endpoint_costs_nobody_else() {
    let full = EndpointRow {
        pending: 100,
        ..endpoint(5)
    };
    let batch_of = |event| batch(vec![append(event)]);
    let Decided { changes, written } =
        decided(&batch_of(JobEvent::queued()), rows(&full, &[]), BOUNDS);
    assert_eq!(written.died, [DeadReason::BacklogFull]);
    assert!(matches!(changes.deliveries[0].end, Some(End::Dead { .. })));
    assert!(accepted(&written, 0).lanes.is_empty());

    // From nine tenths of the room on, an endpoint may have a thousandth of it.
    for (pending_max, most) in [(100, 1), (10_000, 10), (1_000_000, 1_000)] {
        let crowded = Bounds {
            pending_max,
            pending: pending_max / 10 * 9,
            pending_per_endpoint_max: 100_000,
            ..BOUNDS
        };
        for (pending, dies) in [(most - 1, 0), (most, 1)] {
            let told = EndpointRow {
                pending,
                ..endpoint(5)
            };
            let Decided { written, .. } =
                decided(&batch_of(JobEvent::queued()), rows(&told, &[]), crowded);
            assert_eq!(written.died.len(), dies, "{pending} of {pending_max}");
        }
    }
}

#[test]
fn at_the_very_bound_only_events_with_a_webhook_are_refused() {
    let told = endpoint(5);
    let full = Bounds {
        pending: 1_000,
        ..BOUNDS
    };
    let event = batch(vec![append(JobEvent::queued())]);
    check_refused(&event, rows(&told, &[]), full, Refusal::Full);
    let Decided { written, .. } = decided(&event, Rows::new(), full);
    assert!(written.answers[0].is_ok(), "this job tells nobody");
}

#[test]
fn room_is_counted_within_a_batch() {
    let draft = append(JobEvent::queued()).draft.json.len();
    let one = draft + Bounds::JOB_BYTES + Bounds::DELIVERY_BYTES;
    let bounds = Bounds {
        bytes_left: one + draft,
        ..BOUNDS
    };
    let both = batch(vec![append(JobEvent::queued()), append(JobEvent::queued())]);
    let Decided { written, .. } = decided(&both, Rows::new(), bounds);
    assert!(written.answers[0].is_ok());
    assert_eq!(written.answers[1], Err(Refusal::Full));
}

#[test]
fn only_the_newest_progress_is_kept_and_of_a_finished_job_the_last() {
    let mut events = vec![append(JobEvent::processing(0))];
    events.extend((1..=5).map(|progress| append(JobEvent::processing(progress))));
    let Decided { changes, .. } = decided(&batch(events.clone()), Rows::new(), BOUNDS);
    let kept = |changes: &Changes| -> Vec<u64> {
        let events = changes.events.iter();
        events.map(|event| event.record.sequence()).collect()
    };
    assert_eq!(kept(&changes), [1, 5, 6]);
    assert!(changes.outdated.is_empty(), "they were never written");
    events.push(append(JobEvent::cancelled()));
    let Decided { changes, .. } = decided(&batch(events), Rows::new(), BOUNDS);
    assert_eq!(kept(&changes), [1, 6, 7]);
}
