//! What is read, in the shape of `expected.json`.

use notify_core::delivery::{Attempt, DeadLetter, DeliveryView, Leased};
use notify_core::endpoint::Endpoint;
use notify_core::job::EventKind;
use notify_core::store::{JobView, List};
use notify_core::{Archive, JobStatus, Timestamp};
use notify_sqlite::SqliteStore;
use serde_json::{Value, json};

/// The job with all that is read of it.
pub(super) async fn job_json(store: &SqliteStore, view: &JobView) -> Value {
    let page = store.read(&view.id, 0, 1_000).await.unwrap().unwrap();
    let last = page.events.last().map(|record| record.json());
    assert_eq!(view.last.as_ref().map(|record| record.json()), last);
    let events = page.events.iter().map(|record| {
        json!({
            "id": record.id().to_string(),
            "kind": kind(record.kind()),
            "status": record.status().as_str(),
            "json": std::str::from_utf8(&record.json()).unwrap(),
        })
    });
    let list = List {
        limit: 1_000,
        cursor: None,
    };
    let deliveries = store.deliveries(&view.id, list).await.unwrap().items;
    for delivery in &deliveries {
        let alone = store.delivery(delivery.id).await.unwrap();
        assert_eq!(alone.as_ref(), Some(delivery));
    }
    let filter = [JobStatus::Queued, JobStatus::Processing];
    let webhook = view.webhook.as_ref().map(|(url, asked_for)| {
        let events = filter.iter().filter(|status| asked_for.wants(**status));
        let events: Vec<_> = events.map(|status| status.as_str()).collect();
        json!({"url": url.as_str(), "events": events})
    });
    json!({
        "epoch": page.head.epoch.to_string(),
        "sequence": page.head.sequence,
        "status": page.head.status.map(JobStatus::as_str),
        "created_at": view.created_at.as_millis(),
        "updated_at": view.updated_at.as_millis(),
        "webhook": webhook,
        "events": events.collect::<Vec<_>>(),
        "deliveries": deliveries.iter().map(delivery_json).collect::<Vec<_>>(),
    })
}

pub(super) fn delivery_json(view: &DeliveryView) -> Value {
    json!({
        "id": view.id.to_string(),
        "event_id": view.event_id.to_string(),
        "endpoint_id": view.endpoint_id.to_string(),
        "url": view.url.as_str(),
        "generation": view.generation,
        "state": view.state.as_str(),
        "attempts": attempts_json(&view.attempts),
    })
}

pub(super) fn leased_json(leased: &Leased) -> Value {
    let delivery = leased.delivery();
    let body = delivery.record.webhook_body(&delivery.lane.job);
    json!({
        "id": delivery.id.to_string(),
        "job_id": delivery.lane.job.as_str(),
        "event_id": delivery.record.id().to_string(),
        "endpoint_id": delivery.lane.endpoint.to_string(),
        "url": delivery.endpoint.url.as_str(),
        "generation": delivery.generation,
        "accepted_at": delivery.accepted_at.as_millis(),
        "due_at": delivery.due_at.as_millis(),
        "attempts_made": delivery.attempts_made,
        "body": std::str::from_utf8(&body).unwrap(),
    })
}

pub(super) fn dead_json(letter: &DeadLetter) -> Value {
    assert_eq!(letter.attempts as usize, letter.history.len());
    let last_error = letter.history.last().and_then(Attempt::failure);
    assert_eq!(letter.last_error, last_error.unwrap_or_default());
    json!({
        "id": letter.id.to_string(),
        "job_id": letter.job_id.as_str(),
        "event_id": letter.event_id.to_string(),
        "endpoint_id": letter.endpoint_id.map(|id| id.to_string()),
        "url": letter.url,
        "reason": letter.reason.as_str(),
        "died_at": letter.died_at.as_millis(),
        "attempts": attempts_json(&letter.history),
        "payload": letter.payload,
    })
}

fn attempts_json(attempts: &[Attempt]) -> Value {
    let attempt = |attempt: &Attempt| {
        json!({
            "number": attempt.number,
            "at": attempt.at.as_millis(),
            "duration_ns": u64::try_from(attempt.duration.as_nanos()).unwrap(),
            "status": attempt.status,
            "error": attempt.error,
            "snippet": attempt.snippet,
            "next_attempt_at": attempt.next_attempt_at.map(Timestamp::as_millis),
        })
    };
    attempts.iter().map(attempt).collect()
}

pub(super) fn endpoint_json(endpoint: &Endpoint) -> Value {
    let keyring = endpoint.keyring.iter();
    let secrets = keyring.flat_map(|keyring| {
        let previous = keyring.previous().map(|(secret, _)| secret);
        std::iter::once(keyring.newest()).chain(previous)
    });
    json!({
        "id": endpoint.id.to_string(),
        "url": endpoint.url.as_str(),
        "enabled": endpoint.enabled,
        "secrets": secrets.map(|secret| secret.expose()).collect::<Vec<_>>(),
    })
}

/// That every field that both have is the same. What only one of them has is
/// looked at elsewhere.
#[track_caller]
pub(super) fn check_same(found: &Value, expected: &Value, what: &str) {
    let expected = expected.as_object().unwrap();
    let mut same = 0;
    for (name, found) in found.as_object().unwrap() {
        if let Some(expected) = expected.get(name) {
            same += 1;
            assert_eq!(found, expected, "{what}: {name}");
        }
    }
    assert!(same > 3, "{what}: hardly anything was compared");
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Progress => "progress",
        EventKind::Lifecycle => "lifecycle",
        EventKind::Terminal => "terminal",
    }
}
