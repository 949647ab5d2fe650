//! Jobs and endpoints deleted through the API, on a data directory.

use std::time::Duration;

use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;
use serde_json::json;

use super::*;

/// A server on a data directory that is its own.
async fn on_disk(dir: &tempfile::TempDir) -> Server {
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-loopback",
        "--data-dir",
        dir.path().to_str().unwrap(),
    ];
    let settings = [
        ("NOTIFY_SIGNING_SECRET", "operator-secret"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["1s"]"#),
    ];
    Server::spawn(notify(&args, &with_key(&settings))).await
}

#[tokio::test]
async fn a_deleted_job_is_unknown_and_its_stream_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = on_disk(&dir).await;
    let receiver = Receiver::answering(|_, _| 500).await.unwrap();
    let spec = json!({ "job_id": "a", "webhook": { "url": receiver.url() } });
    let token = server.register(spec).await["token"].clone();
    let token = token.as_str().unwrap();
    server.accept("a", json!({ "status": "processing" })).await;
    receiver.wait_for(1).await;
    let request = StreamRequest::of_job("a").bearer(token);
    let mut stream = request.send(server.address).await;
    assert_eq!(stream.events(1).await[0].event, "processing");

    check_refused(&server.delete("/v1/jobs/a").await, 409, "job_running");
    let not_so = server.delete("/v1/jobs/a?force=false").await;
    check_refused(&not_so, 409, "job_running");
    let wrong = server.delete("/v1/jobs/a?force=yes").await;
    check_field(&wrong, "request_invalid", "force");
    let gone = server.delete("/v1/jobs/a?force=true").await;
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone:?}");

    assert!(stream.rest().await.is_empty());
    assert_eq!(request.send(server.address).await.status(), 403);
    assert_eq!(server.get("/v1/jobs/a").await.status, 404);
    assert_eq!(server.get("/v1/jobs/a/deliveries").await.status, 404);
    let again = server.delete("/v1/jobs/a?force=true").await;
    check_refused(&again, 404, "job_unknown");
    // The retry would be due by now, and a restart finds nothing to send either.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.stop().await;
    let server = on_disk(&dir).await;
    assert_eq!(server.get("/v1/jobs/a").await.status, 404);
    let id = server.accept("a", json!({ "status": "queued" })).await;
    assert!(id.ends_with("-1"), "{id}");
    assert_eq!(receiver.delivered().len(), 1);
    server.stop().await;
    assert_eq!(problems(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_deleted_endpoint_is_told_nothing_and_its_dead_letters_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = on_disk(&dir).await;
    let receiver = Receiver::answering(|before, _| if before < 2 { 500 } else { 204 })
        .await
        .unwrap();
    let spec = json!({ "job_id": "a", "webhook": { "url": receiver.url() } });
    server.register(spec).await;
    server.accept("a", json!({ "status": "queued" })).await;
    receiver.wait_for(2).await;
    let endpoints = server.get("/v1/endpoints").await.json();
    let id = endpoints["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/endpoints/{id}");
    loop {
        let letters = server.get("/v1/dead-letters").await.json();
        if letters["items"].as_array().is_some_and(|it| it.len() == 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let gone = server.delete(&path).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0), "{gone:?}");
    check_refused(&server.get(&path).await, 404, "endpoint_unknown");
    check_refused(&server.delete(&path).await, 404, "endpoint_unknown");
    for list in ["/v1/dead-letters", "/v1/jobs/a/deliveries", "/v1/endpoints"] {
        let listed = server.get(list).await.json();
        assert_eq!(listed["items"], json!([]), "{list}");
    }
    assert!(
        server
            .get("/v1/jobs/a")
            .await
            .json()
            .get("webhook")
            .is_none()
    );
    server.accept("a", json!({ "status": "processing" })).await;
    server.stop().await;

    let server = on_disk(&dir).await;
    assert!(
        server
            .get("/v1/jobs/a")
            .await
            .json()
            .get("webhook")
            .is_none()
    );
    server.accept("a", json!({ "status": "completed" })).await;
    let named = format!("/v1/jobs/b/events?webhook_url={}", receiver.url());
    let accepted = server.post(&named, json!({ "status": "queued" })).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    // It is another endpoint by the same URL, and was told of this alone.
    assert_eq!(receiver.wait_for(3).await[2].header("x-job-id"), Some("b"));
    let endpoints = server.get("/v1/endpoints").await.json();
    assert_ne!(endpoints["items"][0]["id"], id.as_str());
    server.stop().await;
    assert_eq!(problems(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_never_known_can_not_be_deleted() {
    let server = Server::start().await;
    let job = server.delete("/v1/jobs/a?force=true").await;
    check_refused(&job, 404, "job_unknown");
    let endpoint = server.delete("/v1/endpoints/ep_none").await;
    check_refused(&endpoint, 404, "endpoint_unknown");
    let stranger = HttpRequest::new("DELETE", "/v1/jobs/a?force=true");
    check_refused(&stranger.send(server.address).await, 401, "unauthorized");
}

/// What a full scan of the data directory finds wrong.
fn problems(dir: &tempfile::TempDir) -> Vec<String> {
    notify_sqlite::check(dir.path()).unwrap().problems
}
