//! How the server stops.

use std::time::{Duration, Instant};

use notify_tests::http_client::HttpRequest;
use notify_tests::sse_client::StreamRequest;
use serde_json::json;
use tokio::net::TcpListener;

use super::{KEY, Server, check_refused};

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let server = Server::start().await;
    server.accept("a", json!({ "status": "queued" })).await;
    let mut stream = StreamRequest::of_job("a")
        .bearer(KEY)
        .send(server.address)
        .await;
    assert!(stream.event().await.is_some());
    let start = Instant::now();
    server.program.terminate().await;
    // The stream ends as a body should, which its reader checks.
    stream.rest().await;
    let ended = server.program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn readiness_goes_off_while_attempts_finish_and_a_second_signal_does_not_wait() {
    // A receiver that takes connections and never answers.
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let env = [
        ("NOTIFY_SIGNING_SECRET", "shared-secret"),
        ("NOTIFY_TIMEOUT_SECS", "60"),
    ];
    let server = Server::start_with(&env).await;
    let url = format!("http://{}/", receiver.local_addr().unwrap());
    server
        .register(json!({ "job_id": "a", "webhook": { "url": url } }))
        .await;
    server.accept("a", json!({ "status": "queued" })).await;
    let _in_flight = receiver.accept().await.unwrap();

    server.program.terminate().await;
    server.program.stderr_line("shutting down").await;
    let start = Instant::now();
    let ready = loop {
        let answer = HttpRequest::get("/readyz").send(server.address).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it stays ready");
    };
    check_refused(&ready, 503, "not_ready");
    let refused = server
        .post("/v1/jobs/a/events", json!({ "status": "queued" }))
        .await;
    check_refused(&refused, 503, "not_ready");

    let start = Instant::now();
    server.program.terminate().await;
    let ended = server.program.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}
