//! The ledger, asked directly. What it comes to in a store is the suite's business.

mod accepting;
mod letters;

use std::time::Duration;

use super::*;
use crate::delivery::{DeadReason, LaneKey, Outcome, Settle, Undelivered};
use crate::endpoint::{EndpointUrl, EventFilter, Subscriber};
use crate::event::{EventRecord, JobEvent};
use crate::id::{DeliveryId, Epoch, EventId, JobId};
use crate::job::{EventKind, JobHead, JobStatus};
use crate::store::{Append, Appended, DeadFilter, FreshIds, StaleLease, Sweep, Swept, Webhook};
use crate::{EventLimits, Secret};

const NOW: Timestamp = Timestamp::from_secs(1_000);

const BOUNDS: Bounds = Bounds {
    pending_max: 1_000,
    pending: 0,
    pending_per_endpoint_max: 100,
    progress_events_max: 2,
    bytes_left: usize::MAX,
    is_low: false,
};

fn job() -> JobId {
    JobId::parse("job").unwrap()
}

fn epoch() -> Epoch {
    Epoch::from_random(7)
}

fn url(name: &str) -> EndpointUrl {
    EndpointUrl::parse(&format!("https://{name}.example/")).unwrap()
}

fn endpoint(number: u64) -> EndpointRow {
    let id = EndpointId::from_random(number.into());
    EndpointRow {
        number,
        endpoint: Arc::new(Endpoint::new(id, url(&format!("e{number}")))),
        pending: 0,
    }
}

fn append(event: JobEvent) -> Append {
    Append {
        job: job(),
        draft: event.draft(1, EventLimits::default()).unwrap(),
        idempotency: None,
        webhook: None,
        has_global_secret: true,
        progress_min_interval: Duration::ZERO,
        fresh: FreshIds {
            epoch: epoch(),
            endpoint: EndpointId::from_random(99),
        },
    }
}

fn append_to(webhook: &EndpointUrl, event: JobEvent) -> Append {
    Append {
        webhook: Some(Webhook::To(webhook.clone())),
        ..append(event)
    }
}

/// A job that has had one event, and tells `endpoint`.
fn known_job(endpoint: &EndpointRow, status: JobStatus) -> JobRow {
    JobRow {
        number: 1,
        id: job(),
        head: JobHead {
            epoch: epoch(),
            sequence: 1,
            status: Some(status),
            lifecycle_events: 1,
        },
        token: None,
        webhook: Some(Subscriber {
            endpoint: endpoint.endpoint.id,
            filter: EventFilter::ALL,
        }),
        created_at: NOW,
        updated_at: NOW,
        ended_at: None,
        pending: 0,
        listed: 0,
    }
}

fn lane(endpoint: &EndpointRow) -> LaneKey {
    LaneKey {
        job: job(),
        endpoint: endpoint.endpoint.id,
        redelivery: None,
    }
}

fn waiting(
    endpoint: &EndpointRow,
    sequence: u64,
    lease: Option<crate::delivery::Lease>,
) -> DeliveryRow {
    DeliveryRow {
        number: 10 + sequence,
        job: Some(1),
        endpoint: endpoint.number,
        id: DeliveryId::of(EventId::new(epoch(), sequence), 0),
        generation: 0,
        sequence,
        kind: EventKind::Lifecycle,
        json_bytes: 0,
        accepted_at: NOW,
        due_at: NOW,
        first_failed_at: None,
        attempts_made: 0,
        spacing: Duration::ZERO,
        lease,
    }
}

/// The rows of a known job that tells `endpoint`, with this waiting in its lane.
fn rows(endpoint: &EndpointRow, waits: &[DeliveryRow]) -> Rows {
    let mut rows = Rows::new();
    let row = JobRow {
        pending: waits.len() as u64,
        ..known_job(endpoint, JobStatus::Queued)
    };
    rows.put_job(job(), Found::Row(row));
    rows.put_endpoint(endpoint.endpoint.id, Found::Row(endpoint.clone()));
    let window = LaneRows::of(waits.iter());
    rows.put_lane(lane(endpoint), window);
    rows
}

fn batch(operations: Vec<Append>) -> Batch {
    Batch {
        operations: operations.into_iter().map(Operation::Append).collect(),
        ..Batch::default()
    }
}

fn decided(batch: &Batch, rows: Rows, bounds: Bounds) -> Decided {
    let mut supply = Supply {
        number: 100,
        lease: 1,
    };
    decide(NOW, batch, rows, bounds, &mut supply)
}

#[track_caller]
fn check_refused(batch: &Batch, rows: Rows, bounds: Bounds, refusal: Refusal) {
    let Decided { changes, written } = decided(batch, rows, bounds);
    assert_eq!(written.answers, [Err(refusal)]);
    assert!(changes.jobs.is_empty() && changes.events.is_empty() && changes.keys.is_empty());
    assert!(changes.endpoints.is_empty() && changes.deliveries.is_empty());
    assert!(changes.letters.is_empty());
}

fn accepted(written: &Written, at: usize) -> &Appended {
    match &written.answers[at] {
        Ok(Answer::Appended(appended)) => appended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_batch_names_is_asked_for_once_and_what_those_rows_name_after_them() {
    let told = endpoint(5);
    let batch = batch(vec![
        append_to(&url("e6"), JobEvent::queued()),
        append(JobEvent::queued()),
    ]);
    let mut rows = Rows::new();
    let first = wants(Round::Named, &batch, &mut rows);
    assert_eq!(first.jobs, [job()]);
    assert_eq!(first.progress, [job()]);
    assert_eq!(first.urls, [url("e6")]);
    assert!(first.endpoints.is_empty() && first.lanes.is_empty());

    rows.put_job(job(), Found::Row(known_job(&told, JobStatus::Queued)));
    let named = endpoint(6);
    rows.put_endpoint_at(url("e6"), Found::Row(named.clone()));
    let second = wants(Round::Told, &batch, &mut rows);
    assert_eq!(second.endpoints, [told.endpoint.id]);
    assert_eq!(second.lanes, [lane(&told), lane(&named)]);
    assert!(second.jobs.is_empty() && second.urls.is_empty());
}

#[test]
fn an_event_that_is_told_puts_an_event_a_delivery_and_the_job() {
    let told = endpoint(5);
    let batch = Batch {
        may_lease: Room {
            each: 1,
            ..Room::default()
        },
        ..batch(vec![append(JobEvent::queued())])
    };
    let Decided { changes, written } = decided(&batch, rows(&told, &[]), BOUNDS);
    assert_eq!(accepted(&written, 0).lanes, [lane(&told)]);
    assert_eq!((changes.jobs.len(), changes.events.len()), (1, 1));
    assert_eq!((changes.deliveries.len(), changes.grants.len()), (1, 1));
    assert!(changes.deliveries[0].row.lease.is_some());
    assert!(written.left_waiting.is_empty());
}

#[test]
fn a_due_head_without_room_is_reported() {
    let told = endpoint(5);
    let decided = decided(
        &batch(vec![append(JobEvent::queued())]),
        rows(&told, &[]),
        BOUNDS,
    );
    assert_eq!(decided.written.left_waiting, [told.endpoint.id]);
    assert_eq!(decided.changes.lanes[0].stands, Some(NOW));
}

#[test]
fn a_damaged_row_refuses_what_needs_it_and_nothing_else() {
    let told = endpoint(5);
    let other = JobId::parse("other").unwrap();
    let mut rows = rows(&told, &[]);
    rows.put_job(other.clone(), Found::Damaged("jobs 2".into()));
    let batch = batch(vec![
        Append {
            job: other,
            ..append(JobEvent::queued())
        },
        append(JobEvent::queued()),
    ]);
    let Decided { written, .. } = decided(&batch, rows, BOUNDS);
    assert_eq!(written.answers[0], Err(Refusal::Damaged("jobs 2".into())));
    assert_eq!(accepted(&written, 1).record.sequence(), 2);
}

#[test]
fn only_the_current_lease_settles() {
    let told = endpoint(5);
    let lease = crate::delivery::Lease::new(41);
    let settle = |lease| Batch {
        settles: vec![Settle {
            delivery: waiting(&told, 1, None).id,
            lane: lane(&told),
            lease,
            outcome: Outcome::Delivered,
            attempt: None,
        }],
        ..Batch::default()
    };
    let held = [waiting(&told, 1, Some(lease)), waiting(&told, 2, None)];
    let stale = settle(crate::delivery::Lease::new(40));
    let Decided { changes, written } = decided(&stale, rows(&told, &held), BOUNDS);
    assert_eq!(written.settles, [Err(StaleLease)]);
    assert!(changes.deliveries.is_empty());
    let Decided { changes, written } = decided(&settle(lease), rows(&told, &held), BOUNDS);
    assert_eq!(written.settles, [Ok(())]);
    assert_eq!(changes.deliveries[0].end, Some(End::Delivered));
    assert_eq!(changes.lanes[0].stands, Some(NOW), "the next one stands");
}

#[test]
fn what_lies_between_the_first_and_the_last_of_a_lane_is_counted_not_shown() {
    let told = endpoint(5);
    let all: Vec<_> = (1..=20).map(|n| waiting(&told, n, None)).collect();
    for len in 0..20_usize {
        let window = LaneRows::of(all[..len].iter());
        let shown = window.first.len() + window.last.len();
        assert_eq!(shown + usize::try_from(window.hidden).unwrap(), len);
        assert_eq!(shown, len.min(LaneRows::FIRST_MAX + LaneRows::LAST_MAX));
        let newest = window.last.last().or(window.first.last());
        assert_eq!(newest, all[..len].last());
    }
}

#[test]
fn those_that_have_waited_longest_are_leased_first() {
    let told = endpoint(5);
    let mut rows = Rows::new();
    rows.put_endpoint(told.endpoint.id, Found::Row(told.clone()));
    for (name, waited) in [("a", 1), ("b", 9), ("c", 5)] {
        let key = LaneKey {
            job: JobId::parse(name).unwrap(),
            ..lane(&told)
        };
        let due_at = NOW.minus(Duration::from_secs(waited));
        let row = DeliveryRow {
            number: waited,
            due_at,
            ..waiting(&told, waited, None)
        };
        rows.put_lane(key, LaneRows::of([row].iter()));
    }
    let room = Room {
        each: 2,
        ..Room::default()
    };
    let mut supply = Supply {
        number: 100,
        lease: 1,
    };
    let Decided { changes, written } =
        decide_claim(NOW, room, usize::MAX, rows, BOUNDS, &mut supply);
    let granted: Vec<_> = changes
        .grants
        .iter()
        .map(|grant| grant.lane.job.as_str())
        .collect();
    assert_eq!(granted, ["b", "c"]);
    assert_eq!(written.left_waiting, [told.endpoint.id]);
}
