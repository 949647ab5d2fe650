//! What the store reads of it, and when what waits is due.

use std::collections::{BTreeMap, BTreeSet};

use notify_core::store::{Archive as _, DeadFilter, List, Room};
use notify_core::{JobId, Store, Timestamp};
use notify_sqlite::SqliteStore;
use serde_json::{Value, json};

use super::shape::{check_same, dead_json, delivery_json, endpoint_json, job_json, leased_json};
use super::{Baseline, list, millis, text};

#[tokio::test]
async fn everything_that_was_closed_in_order_is_read_back() {
    check_read_back(Baseline::closed()).await;
}

#[tokio::test]
async fn everything_that_a_killed_program_left_is_read_back() {
    check_read_back(Baseline::killed()).await;
}

async fn check_read_back(baseline: Baseline) {
    let report = notify_sqlite::check(baseline.dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let store = baseline.open();
    let everything = List {
        limit: 1_000,
        cursor: None,
    };

    let jobs = store.jobs(None, everything.clone()).await.unwrap().items;
    let names: BTreeSet<_> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(names, baseline.jobs().map(|(id, _)| id).collect());
    for job in jobs {
        let expected = &baseline.expected["jobs"][job.id.as_str()];
        check_same(&job_json(&store, &job).await, expected, job.id.as_str());
    }
    for job in list(&baseline.story["forgotten_jobs"]) {
        let job: JobId = text(job).parse().unwrap();
        assert!(store.job(&job).await.unwrap().is_none(), "{job}");
    }

    let dead = store
        .dead_letters(DeadFilter::default(), everything.clone())
        .await;
    let mut dead = dead.unwrap().items;
    dead.reverse();
    let dead: Vec<Value> = dead.iter().map(dead_json).collect();
    let expected = list(&baseline.expected["dead_letters"]);
    assert_eq!(dead.len(), expected.len());
    for (found, expected) in dead.iter().zip(expected) {
        check_same(found, expected, text(&expected["id"]));
        let payload: Value = serde_json::from_str(text(&expected["body"])).unwrap();
        assert_eq!(found["payload"], payload);
    }

    for expected in list(&baseline.expected["pending"]) {
        let id = text(&expected["id"]);
        let view = store.delivery(id.parse().unwrap()).await.unwrap();
        check_same(&delivery_json(&view.unwrap()), expected, id);
    }

    let endpoints = store.endpoints(everything).await.unwrap().items;
    assert_eq!(endpoints.len(), list(&baseline.expected["endpoints"]).len());
    for endpoint in &endpoints {
        let expected = baseline.endpoint(&json!(endpoint.url.as_str()));
        check_same(&endpoint_json(endpoint), expected, endpoint.url.as_str());
    }
}

#[tokio::test]
async fn what_waits_is_due_when_it_was() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let store = baseline.open();
        let heads: Vec<&Value> = baseline.lanes().iter().map(|lane| lane[0]).collect();
        let expected = |from: Timestamp, to: Timestamp| {
            let due = move |head: &Value| (from..to).contains(&millis(&head["due_at"]));
            let due = heads.iter().filter(|head| due(head));
            let due = due.filter(|head| baseline.is_enabled(head));
            let due = due.map(|head| (text(&head["id"]).to_owned(), *head));
            due.collect::<BTreeMap<_, _>>()
        };
        let now = baseline.made_at();
        let mut before = Timestamp::EPOCH;
        // Each just before it is due, then when it is.
        let due_times: BTreeSet<_> = heads.iter().map(|head| millis(&head["due_at"])).collect();
        for due_at in due_times.into_iter().filter(|due_at| *due_at > now) {
            for at in [Timestamp::from_millis(due_at.as_millis() - 1), due_at] {
                let after = Timestamp::from_millis(at.as_millis() + 1);
                check_claimed(&store, at, &expected(before, after)).await;
                before = after;
            }
        }
    }
}

async fn check_claimed(store: &SqliteStore, at: Timestamp, expected: &BTreeMap<String, &Value>) {
    let room = Room {
        each: 64,
        ..Room::default()
    };
    let claimed = store.claim(at, room, 1_000).await.unwrap();
    assert!(claimed.died.is_empty(), "{claimed:?}");
    let found = claimed.leased.iter().map(leased_json);
    let found: BTreeMap<_, _> = found
        .map(|found| (text(&found["id"]).to_owned(), found))
        .collect();
    assert!(found.keys().eq(expected.keys()), "{at:?}: {found:#?}");
    for (id, found) in &found {
        check_same(found, expected[id], id);
    }
}
