//! Accepting events.

use notify_tests::http_client::{HttpAnswer, HttpRequest};
use notify_tests::receiver::Receiver;
use serde_json::json;

use super::{KEY, Server, check_field, check_refused};

const QUEUED: &str = r#"{"status":"queued"}"#;

#[tokio::test]
async fn an_event_gets_the_next_place_in_its_jobs_log() {
    let server = Server::start().await;
    for sequence in 1..=3 {
        let answer = server.post("/v1/jobs/a/events", QUEUED).await;
        assert_eq!(answer.status, 202);
        let accepted = answer.json();
        assert_eq!(accepted["sequence"], sequence);
        let id = accepted["id"].as_str().unwrap();
        let (epoch, of_id) = id.split_once('-').unwrap();
        assert_eq!((epoch.len(), of_id), (12, sequence.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_path_may_be_percent_encoded() {
    let server = Server::start().await;
    let id = server
        .accept("a%3Ab%40c", json!({ "status": "queued" }))
        .await;
    let job = server.get("/v1/jobs/a:b@c").await.json();
    assert_eq!(job["last_event"]["id"], id);
}

#[tokio::test]
async fn after_the_terminal_event_nothing_is_accepted() {
    let server = Server::start().await;
    let ids = server.accept_all("a", &["queued", "failed"]).await;
    let refused = server.post("/v1/jobs/a/events", QUEUED).await;
    check_refused(&refused, 409, "job_finished");
    assert_eq!(refused.text("/error/detail/terminal"), ids[1]);
}

#[tokio::test]
async fn a_job_has_a_bounded_number_of_lifecycle_events() {
    let server = Server::start().await;
    for number in 0..1_000 {
        let status = ["queued", "processing"][number % 2];
        server.accept("a", json!({ "status": status })).await;
    }
    let refused = server.post("/v1/jobs/a/events", QUEUED).await;
    check_refused(&refused, 422, "too_many_events");
    server.accept("a", json!({ "status": "completed" })).await;
}

#[tokio::test]
async fn the_same_key_with_the_same_content_is_one_event() {
    let server = Server::start().await;
    let keyed = async |key: &str, target: &str, body: &str| -> HttpAnswer {
        let request = HttpRequest::post(target, body).bearer(KEY);
        let request = request.header("idempotency-key", key);
        request.send(server.address).await
    };
    let events = "/v1/jobs/a/events";
    let first = keyed("k-1", events, QUEUED).await;
    assert_eq!(first.status, 202);
    // Another spelling of the same event.
    let again = keyed("k-1", events, r#"{ "progress": null, "status": "queued" }"#).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    let failed = r#"{"status":"failed"}"#;
    let conflict = keyed("k-1", events, failed).await;
    check_refused(&conflict, 409, "idempotency_conflict");
    assert_eq!(keyed("k-2", events, failed).await.status, 202);
    // It is looked at before whether the job has finished.
    assert_eq!(keyed("k-1", events, QUEUED).await.body, first.body);
    assert_eq!(keyed("k-1", "/v1/jobs/b/events", failed).await.status, 202);

    for bad in [&b""[..], b"caf\xc3\xa9", "k".repeat(129).as_bytes()] {
        let request = HttpRequest::post(events, QUEUED).bearer(KEY);
        let request = request.header("idempotency-key", bad);
        let refused = request.send(server.address).await;
        check_field(&refused, "idempotency_key_invalid", "idempotency_key");
    }
}

#[tokio::test]
async fn one_event_can_tell_an_endpoint_of_its_own() {
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "global-secret")]).await;
    let receiver = Receiver::start().await.unwrap();
    let encoded = receiver.url().replace(':', "%3A").replace('/', "%2F");
    let target = format!("/v1/jobs/a/events?webhook_url={encoded}%3Fq%3D1%2526");
    let answer = server.post(&target, QUEUED).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    server.post("/v1/jobs/a/events", QUEUED).await;
    let delivered = receiver.wait_for(1).await;
    assert_eq!(
        delivered[0].header("webhook-id"),
        Some(&*answer.text("/id"))
    );
}

#[tokio::test]
async fn a_webhook_that_could_not_be_signed_is_refused() {
    let server = Server::start().await;
    let target = "/v1/jobs/a/events?webhook_url=http%3A%2F%2F127.0.0.1%3A9%2F";
    let refused = server.post(target, QUEUED).await;
    check_field(&refused, "signing_secret_missing", "webhook_url");
    assert_eq!(
        server.get("/v1/jobs/a").await.status,
        404,
        "it was recorded"
    );
}
