//! The whole story: once told by the program, once by a test.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use notify_tests::program::Program;
use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;
use notify_verify::Verifier;
use serde_json::json;

use super::Server;

#[tokio::test]
async fn the_demo_shows_the_same_ids_at_both_doors() {
    let start = Instant::now();
    let ended = Program::run(&["demo"], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );

    let lines = |parts: [&str; 2]| -> Vec<String> {
        let lines = ended.stdout.lines();
        let matching = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
        matching.map(str::to_owned).collect()
    };
    let ids = |lines: &[String]| -> BTreeSet<String> {
        let words = lines.iter().flat_map(|line| line.split_whitespace());
        let is_id = |word: &&str| {
            let sequence = word
                .split_once('-')
                .and_then(|(_, it)| it.parse::<u64>().ok());
            sequence.is_some()
        };
        words.filter(is_id).map(str::to_owned).collect()
    };
    let streamed = ids(&lines([" stream ", "{\"status\""]));
    let received = ids(&lines([" webhook ", "verified (Standard Webhooks)"]));
    assert_eq!(streamed.len(), 5, "{}", ended.stdout);
    // Progress that a newer event overtook on a slow machine is no webhook.
    assert!(received.is_subset(&streamed), "{}", ended.stdout);
    for part in ["job.queued", "job.processing", "job.completed"] {
        assert!(!lines([part, "verified"]).is_empty(), "{}", ended.stdout);
    }
    assert_eq!(lines(["answered 500", "on purpose"]).len(), 1);
    assert_eq!(lines(["job.completed", "attempt 2"]).len(), 1);
    assert_eq!(lines(["the same ids", "at both doors"]).len(), 1);
}

#[tokio::test]
async fn a_customer_sees_one_id_for_one_event_through_every_door() {
    let env = [
        ("NOTIFY_MAX_RETRIES", "5"),
        ("NOTIFY_RETRY_BASE_MS", "20"),
        ("NOTIFY_PROGRESS_MIN_INTERVAL_MS", "0"),
    ];
    let server = Server::start_with(&env).await;
    let receiver = Receiver::answering(|before, _| if before == 0 { 500 } else { 204 })
        .await
        .unwrap();
    let spec = json!({ "job_id": "a", "webhook": { "url": receiver.url() } });
    let job = server.register(spec).await;
    let text = |name: &str| job[name].as_str().unwrap();
    let stream = StreamRequest::of_job("a").bearer(text("token"));
    let mut stream = stream.send(server.address).await;

    let statuses = ["queued", "processing", "queued", "processing", "completed"];
    let accepted = server.accept_all("a", &statuses).await;

    let streamed = stream.rest().await;
    let ids: Vec<&str> = streamed.iter().map(|event| &*event.id).collect();
    assert_eq!(ids, accepted);

    // One attempt more than there are events: the first one failed.
    let delivered = receiver.wait_for(accepted.len() + 1).await;
    let verifier = Verifier::new([text("webhook_secret")]).unwrap();
    let mut taken = Vec::new();
    for webhook in &delivered {
        let body = &webhook.body[..];
        let notification = verifier.verify(&webhook.headers, body).unwrap();
        assert_eq!(webhook.header("x-job-id"), Some("a"));
        if webhook.status == 204 {
            taken.push((notification.id.to_string(), body));
        }
    }
    assert_eq!(delivered[0].body, delivered[1].body);
    for ((id, body), event) in taken.iter().zip(&streamed) {
        assert_eq!(*id, event.id);
        let body = std::str::from_utf8(body).unwrap();
        assert!(
            body.contains(&format!(r#""event":{}"#, event.data)),
            "{body}"
        );
    }
    assert_eq!(taken.len(), accepted.len());
    let last = server.get("/v1/jobs/a").await.json();
    assert_eq!(last["last_event"]["id"], accepted[4]);
}
