//! Everything that can be read of a store, as lines that can be compared.

use crate::Ask;
use std::fmt::Write as _;

use notify_core::delivery::{Delivery, DeliveryView};
use notify_core::store::{DeadFilter, JobView, List, Store};
use notify_core::{DeadLetter, DeliveryId, EventRecord, JobId, Timestamp};

use super::rig::{PLENTY, paged};

/// What a store holds: jobs, their events, tokens and deliveries, these
/// deliveries, dead letters, counters and the next due time.
///
/// Endpoints are named by their URLs, which identify them: their ids may differ
/// between stores where one has forgotten an endpoint and the other has not.
pub(super) async fn snapshot(
    store: &impl Store,
    now: Timestamp,
    deliveries: &[DeliveryId],
) -> Vec<String> {
    let mut lines = Vec::new();
    for view in paged(7, async |list| store.jobs(None, list).await.unwrap()).await {
        lines.push(job_line(&view));
        let id = &view.id;
        lines.push(format!("  token {:?}", store.token(id).await.unwrap()));
        let events = events(store, id).await;
        lines.extend(
            events
                .iter()
                .map(|record| format!("  {}", event_line(record))),
        );
        let told = paged(5, async |list| store.deliveries(id, list).await.unwrap()).await;
        lines.extend(told.iter().map(|view| format!("  {}", delivery_line(view))));
    }
    for &id in deliveries {
        let view = store.delivery(id).await.unwrap();
        lines.push(match view {
            Some(view) => delivery_line(&view),
            None => format!("{id} is unknown"),
        });
    }
    lines.extend(dead_lines(store).await);
    lines.push(format!("{:?}", store.counters().await.unwrap()));
    lines.push(format!("next due {:?}", store.next_due(now).await.unwrap()));
    lines
}

/// Endpoints, as far as nothing may forget them while this is so.
pub(super) async fn endpoint_lines(store: &impl Store) -> Vec<String> {
    let all = paged(3, async |list| store.endpoints(list).await.unwrap()).await;
    let mut lines = Vec::new();
    for endpoint in all {
        assert_eq!(
            store.endpoint(endpoint.id).await.unwrap().as_ref(),
            Some(&endpoint)
        );
        assert_eq!(
            store.endpoint_at(&endpoint.url).await.unwrap().as_ref(),
            Some(&endpoint)
        );
        let secrets = endpoint.keyring.as_ref().map(|keyring| {
            let previous = keyring.previous();
            let previous = previous.map(|(secret, until)| (secret.expose().to_owned(), until));
            (keyring.newest().expose().to_owned(), previous)
        });
        lines.push(format!(
            "{:?} enabled {} {secrets:?}",
            endpoint.url, endpoint.enabled
        ));
    }
    lines.sort();
    lines
}

/// What was leased, but for the token.
pub(super) fn leased_line(delivery: &Delivery) -> String {
    let Delivery {
        id,
        lane,
        generation,
        record,
        endpoint,
        accepted_at,
        due_at,
        attempts_made,
    } = delivery;
    format!(
        "{id} {} {:?} redelivery {:?} generation {generation} {} accepted {accepted_at:?} due {due_at:?} attempts {attempts_made}",
        lane.job,
        endpoint.url,
        lane.redelivery,
        event_line(record),
    )
}

async fn events(store: &impl Store, job: &JobId) -> Vec<EventRecord> {
    let mut events: Vec<EventRecord> = Vec::new();
    loop {
        let after = events.last().map_or(0, EventRecord::sequence);
        let page = store.read(job, after, 3).await.unwrap().unwrap();
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

fn job_line(view: &JobView) -> String {
    let JobView {
        id,
        head,
        last,
        created_at,
        updated_at,
        registered,
        webhook,
    } = view;
    let last = last.as_ref().map(event_line);
    format!(
        "{id} {head:?} last {last:?} created {created_at:?} updated {updated_at:?} registered {registered} {webhook:?}"
    )
}

fn event_line(record: &EventRecord) -> String {
    let json = record.json();
    let (id, kind, status) = (record.id(), record.kind(), record.status());
    format!("{id} {kind:?} {status} {}", String::from_utf8_lossy(&json))
}

fn delivery_line(view: &DeliveryView) -> String {
    let DeliveryView {
        id,
        job_id,
        event_id,
        endpoint_id: _,
        url,
        state,
        generation,
        attempts,
    } = view;
    format!("{id} {job_id} {event_id} {url} {state:?} generation {generation} {attempts:?}")
}

/// Dead letters of the same time are newest first in no particular order.
async fn dead_lines(store: &impl Store) -> Vec<String> {
    let all = async |list: List| {
        store
            .dead_letters(DeadFilter::default(), list)
            .await
            .unwrap()
    };
    let mut letters = paged(4, all).await;
    assert!(letters.len() < PLENTY);
    assert!(letters.is_sorted_by(|newer, older| newer.died_at >= older.died_at));
    letters.sort_by_key(|letter| (letter.died_at, letter.id));
    letters.iter().map(dead_line).collect()
}

fn dead_line(letter: &DeadLetter) -> String {
    let mut line = format!(
        "dead {} {} {} {}",
        letter.id, letter.job_id, letter.event_id, letter.url
    );
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        " {} attempts {} {:?} died {:?} {} {:?}",
        letter.reason,
        letter.attempts,
        letter.last_error,
        letter.died_at,
        letter.payload,
        letter.history
    );
    line
}
