//! Deliveries, their attempts, and dead letters through the API.

use std::time::Duration;

use notify_tests::receiver::Receiver;
use serde_json::{Value, json};

use super::{Server, check_field, check_refused};

/// One attempt, so that what fails is a dead letter at once.
const GIVES_UP: [(&str, &str); 2] = [
    ("NOTIFY_MAX_RETRIES", "0"),
    ("NOTIFY_SIGNING_SECRET", "operator-secret"),
];

impl Server {
    /// The dead letters of a list, once there are so many.
    pub(super) async fn letters(&self, query: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/dead-letters{query}");
        loop {
            let listed = self.get(&path).await;
            assert_eq!(listed.status, 200, "{listed:?}");
            let items = listed.json()["items"].as_array().unwrap().clone();
            if items.len() >= count {
                return items;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has a job's one event given up by a receiver that answers 500.
    async fn bury(&self, job: &str, url: &str) -> String {
        let path = format!("/v1/jobs/{job}/events?webhook_url={url}");
        let event = r#"{"status":"completed","result":{"n":1.10}}"#;
        let accepted = self.post(&path, event).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        self.letters(&format!("?job_id={job}"), 1).await;
        accepted.text("/id")
    }
}

/// A receiver that fails until it has been asked so often.
async fn mended_after(failures: usize) -> Receiver {
    let answer = move |before, _: &_| if before < failures { 500 } else { 204 };
    Receiver::answering(answer).await.unwrap()
}

#[tokio::test]
async fn a_dead_letter_tells_what_happened_and_is_delivered_after_all() {
    let server = Server::start_with(&GIVES_UP).await;
    let receiver = mended_after(1).await;
    let event_id = server.bury("a", &receiver.url()).await;

    let listed = server.letters("", 1).await.remove(0);
    assert!(listed.get("payload").is_none(), "{listed}");
    assert_eq!(listed["job_id"], "a");
    assert_eq!(listed["event_id"], event_id.as_str());
    assert_eq!(listed["url"], receiver.url());
    assert_eq!(listed["reason"], "exhausted");
    assert_eq!(listed["attempts"], 1);
    assert_eq!(listed["last_error"], "HTTP status 500");
    let id = listed["id"].as_str().unwrap();

    let one = server.get(&format!("/v1/dead-letters/{id}")).await;
    // The very bytes that were sent: no digit is lost.
    assert!(
        String::from_utf8_lossy(&one.body).contains(r#""result":{"n":1.10}"#),
        "{one:?}"
    );
    let mut shown = one.json();
    let payload = shown.as_object_mut().unwrap().remove("payload").unwrap();
    assert_eq!(payload["id"], event_id.as_str());
    assert_eq!(shown, listed);

    let path = format!("/v1/dead-letters/{id}/redeliver");
    let redelivered = server.post(&path, "").await;
    assert_eq!(
        (redelivered.status, redelivered.json()),
        (202, json!({ "count": 1 }))
    );
    let delivered = receiver.wait_for(2).await;
    assert_eq!(delivered[0].body, delivered[1].body);
    let again = server.post(&path, "").await;
    assert_eq!((again.status, again.json()), (202, json!({ "count": 0 })));
    assert!(server.letters("", 0).await.is_empty());

    let view = loop {
        let view = server.get(&format!("/v1/deliveries/{id}")).await.json();
        if view["state"] == "delivered" {
            break view;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(view["generation"], 1);
    assert_eq!(view["attempts"][0]["number"], 1);
    assert_eq!(view["attempts"][0]["status"], 204);
    assert!(view["attempts"][0]["duration_ms"].is_u64());
    let of_job = server.get("/v1/jobs/a/deliveries").await.json();
    assert_eq!(of_job, json!({ "items": [view], "next_cursor": null }));
}

#[tokio::test]
async fn many_are_redelivered_or_dropped_by_a_filter() {
    let server = Server::start_with(&GIVES_UP).await;
    let receiver = mended_after(3).await;
    let mut events = Vec::new();
    for job in ["a", "b", "c"] {
        events.push(server.bury(job, &receiver.url()).await);
    }
    let found = server.letters(&format!("?event_id={}", events[1]), 1).await;
    assert_eq!(found[0]["job_id"], "b");
    assert!(server.letters("?reason=gone", 0).await.is_empty());
    let first = server.get("/v1/dead-letters?limit=2").await.json();
    assert_eq!(first["items"][0]["job_id"], "c");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = format!("/v1/dead-letters?limit=2&cursor={cursor}");
    let rest = server.get(&rest).await.json();
    assert_eq!(
        (&rest["items"][0]["job_id"], &rest["next_cursor"]),
        (&json!("a"), &Value::Null)
    );

    let redeliver = async |body: Value| {
        let answer = server.post("/v1/dead-letters/redeliver", body).await;
        (answer.status, answer.json()["count"].clone())
    };
    let dry = json!({ "all": true, "dry_run": true });
    assert_eq!(redeliver(dry).await, (202, json!(3)));
    assert_eq!(redeliver(json!({ "job_id": "a" })).await, (202, json!(1)));
    receiver.wait_for(4).await;

    let count = async |path: &str| {
        let answer = server.delete(path).await;
        (answer.status, answer.json()["count"].clone())
    };
    assert_eq!(
        count("/v1/dead-letters?job_id=b&dry_run=true").await,
        (200, json!(1))
    );
    assert_eq!(count("/v1/dead-letters?job_id=b").await, (200, json!(1)));
    let last = server.letters("", 1).await.remove(0);
    let path = format!("/v1/dead-letters/{}", last["id"].as_str().unwrap());
    assert_eq!(count(&path).await, (200, json!(1)));
    check_refused(&server.delete(&path).await, 404, "not_found");
    assert_eq!(count("/v1/dead-letters?all=true").await, (200, json!(0)));
}

#[tokio::test]
async fn nothing_is_never_taken_for_everything() {
    let server = Server::start_with(&GIVES_UP).await;
    let path = "/v1/dead-letters";
    check_refused(&server.delete(path).await, 422, "filter_empty");
    let redeliver = async |body: Value| {
        let path = "/v1/dead-letters/redeliver";
        server.post(path, body).await
    };
    check_refused(&redeliver(json!({})).await, 422, "filter_empty");
    let both = redeliver(json!({ "all": true, "job_id": "a" })).await;
    check_field(&both, "request_invalid", "all");
    let misspelt = server.delete("/v1/dead-letters?job=a").await;
    check_field(&misspelt, "request_invalid", "job");
    let time = server.get("/v1/dead-letters?since=yesterday").await;
    check_field(&time, "request_invalid", "since");
}

#[tokio::test]
async fn what_was_no_url_is_not_redelivered() {
    let server = Server::start_with(&GIVES_UP).await;
    server.bury("a", "nonsense").await;
    let letter = server.letters("", 1).await.remove(0);
    assert_eq!(
        (&letter["reason"], &letter["endpoint_id"]),
        (&json!("url_invalid"), &Value::Null)
    );
    let id = letter["id"].as_str().unwrap();
    let refused = server
        .post(&format!("/v1/dead-letters/{id}/redeliver"), "")
        .await;
    check_field(&refused, "request_invalid", "url");
    for dry_run in [true, false] {
        let all = json!({ "all": true, "dry_run": dry_run });
        let answer = server.post("/v1/dead-letters/redeliver", all).await;
        assert_eq!(answer.json(), json!({ "count": 0 }));
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let server = Server::start_with(&GIVES_UP).await;
    let unknown = "dlv_aaaaaaaaaaaaaaaaaaaa";
    for path in [
        format!("/v1/deliveries/{unknown}"),
        "/v1/deliveries/x".to_owned(),
        format!("/v1/dead-letters/{unknown}"),
        "/v1/dead-letters/x".to_owned(),
    ] {
        check_refused(&server.get(&path).await, 404, "not_found");
    }
    let path = format!("/v1/dead-letters/{unknown}/redeliver");
    check_refused(&server.post(&path, "").await, 404, "not_found");
    let of_job = server.get("/v1/jobs/nobody/deliveries").await;
    check_refused(&of_job, 404, "not_found");
}

#[tokio::test]
async fn jobs_are_listed_without_what_their_results_say() {
    let server = Server::start().await;
    server.accept("a", json!({ "status": "queued" })).await;
    let done = json!({ "status": "completed", "progress": 100, "result": [1, 2], "timestamp": 7 });
    server.accept("b", done).await;
    let listed = server.get("/v1/jobs").await.json();
    let ids = |listed: &Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap().iter();
        items
            .map(|job| job["job_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&listed), ["b", "a"]);
    let event = &listed["items"][0]["last_event"]["event"];
    assert_eq!(
        *event,
        json!({ "status": "completed", "progress": 100, "timestamp": 7 })
    );
    let done = server.get("/v1/jobs?status=completed").await.json();
    assert_eq!(ids(&done), ["b"]);
    let first = server.get("/v1/jobs?limit=1").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = server
        .get(&format!("/v1/jobs?limit=1&cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        (ids(&rest), &rest["next_cursor"]),
        (vec!["a".to_owned()], &Value::Null)
    );
    let wrong = server.get("/v1/jobs?status=done").await;
    check_field(&wrong, "request_invalid", "status");
}
