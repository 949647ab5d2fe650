//! Accepting events.

use notify_tests::http_client::{HttpAnswer, HttpRequest};
use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;
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

/// That an event was accepted with this warning, and no other.
#[track_caller]
fn check_warned(answer: &HttpAnswer, code: &str) {
    assert_eq!(answer.status, 202, "{answer:?}");
    let accepted = answer.json();
    let warnings = accepted["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{accepted}");
    assert_eq!(warnings[0]["code"], code);
    assert_ne!(warnings[0]["message"].as_str().unwrap(), "");
    assert_eq!(warnings[0].as_object().unwrap().len(), 2, "{accepted}");
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_a_warning_and_the_stream_has_its_end() {
    let without_secret = Server::start().await;
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "global-secret")]).await;
    for (nth, (server, url, code)) in [
        (&server, "", "url_invalid"),
        (&server, "nonsense", "url_invalid"),
        (&server, "ftp%3A%2F%2Fa.example%2F", "url_invalid"),
        (&server, "%ff%00", "url_invalid"),
        (&server, "http%3A%2F%2Fu:p@a.example", "url_invalid"),
        (
            &without_secret,
            "http%3A%2F%2F127.0.0.1%3A65535%2F",
            "secret_missing",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let job = format!("job-{nth}");
        let target = format!("/v1/jobs/{job}/events?webhook_url={url}");
        for event in [QUEUED, r#"{"status":"failed"}"#] {
            let request = HttpRequest::post(&*target, event).bearer(KEY);
            let request = request.header("idempotency-key", event);
            let first = request.send(server.address).await;
            check_warned(&first, code);
            // For a repeated key too.
            let again = request.send(server.address).await;
            assert_eq!((again.status, again.body), (202, first.body));
        }
        let stream = StreamRequest::of_job(&job).bearer(KEY);
        let shown = stream.send(server.address).await.rest().await;
        let shown: Vec<_> = shown.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(shown, ["queued", "failed"], "{url}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_webhook_is_logged_without_what_was_typed() {
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "global-secret")]).await;
    for (job, url) in [
        ("a", "https%3A%2F%2Fme:canary@a.example"),
        ("b", "ftp%3A%2F%2Fa.example%2F%3Ftoken=canary"),
    ] {
        let target = format!("/v1/jobs/{job}/events?webhook_url={url}");
        check_warned(&server.post(&target, QUEUED).await, "url_invalid");
    }
    let log = server.stop().await.stderr;
    for job in ["a", "b"] {
        let mut lines = log.lines().filter(|line| line.contains("url_invalid"));
        let named = format!(r#""job":"{job}""#);
        assert!(lines.any(|line| line.contains(&named)), "{log}");
    }
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn an_address_that_policy_refuses_takes_no_stream_away() {
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "global-secret")]).await;
    let target = "/v1/jobs/a/events?webhook_url=http%3A%2F%2F10.0.0.1%2F";
    for event in [QUEUED, r#"{"status":"failed"}"#] {
        let answer = server.post(target, event).await;
        check_warned(&answer, "address_refused");
    }
    let stream = StreamRequest::of_job("a").bearer(KEY);
    let shown = stream.send(server.address).await.rest().await;
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn an_event_with_nothing_wrong_has_no_warnings() {
    let server = Server::start().await;
    let answer = server.post("/v1/jobs/a/events", QUEUED).await;
    let accepted = answer.json();
    assert_eq!(accepted.as_object().unwrap().len(), 2, "{accepted}");
}
