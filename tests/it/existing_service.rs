//! What a service that had a notifier of its own in its process tests, against
//! this one: real receivers on loopback, no knowledge of what is inside.

mod service;

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use notify_hub::{EgressConfig, JobEvent, JobNotifier, JobStatus, NotifierConfig};
use notify_tests::receiver::Receiver;
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "operator-hmac-key";

fn config() -> NotifierConfig {
    NotifierConfig {
        signing_secret: SECRET.into(),
        max_retries: 3,
        retry_base_ms: 20,
        timeout_secs: 2,
        egress: EgressConfig {
            allow_cidrs: vec!["127.0.0.0/8".into()],
            allow_ports: vec!["1-65535".into()],
            ..Default::default()
        },
        ..Default::default()
    }
}

fn completed() -> JobEvent {
    JobEvent {
        status: JobStatus::Completed,
        result: Some(json!({"video_url": "https://cdn.example.com/out.mp4"})),
        ..Default::default()
    }
}

fn hmac_hex(key: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn the_defaults_are_what_they_were() {
    let config = NotifierConfig::default();
    assert_eq!(config.max_retries, 3);
    assert_eq!(config.retry_base_ms, 1000);
    assert_eq!(config.timeout_secs, 10);
    assert_eq!(config.sse_capacity, 16);
    let event = JobEvent::default();
    assert_eq!(event.status, JobStatus::Queued);
    assert_eq!(
        (event.progress, event.result, event.error, event.timestamp),
        (None, None, None, 0)
    );
}

#[tokio::test]
async fn statuses_are_lower_case_on_the_wire() {
    for (status, text) in [
        (JobStatus::Queued, "queued"),
        (JobStatus::Processing, "processing"),
        (JobStatus::Completed, "completed"),
        (JobStatus::Failed, "failed"),
        (JobStatus::Cancelled, "cancelled"),
    ] {
        assert_eq!(serde_json::to_value(status).unwrap(), text);
        assert_eq!(
            status.is_terminal(),
            !matches!(text, "queued" | "processing")
        );
    }
    let json = serde_json::to_value(JobEvent::processing(42)).unwrap();
    assert_eq!(
        json,
        json!({"status": "processing", "progress": 42, "timestamp": 0})
    );
}

#[tokio::test]
async fn a_webhook_is_signed_over_timestamp_and_body() {
    let receiver = Receiver::start().await.unwrap();
    let notifier = JobNotifier::new(config());
    notifier
        .notify("job-1", completed(), Some(&receiver.url()))
        .await
        .unwrap();
    let delivered = receiver.wait_for(1).await;
    let request = &delivered[0];
    let timestamp = request.header("x-webhook-timestamp").unwrap();
    let expected = format!("sha256={}", hmac_hex(SECRET, timestamp, &request.body));
    assert_eq!(
        request.header("x-webhook-signature"),
        Some(expected.as_str())
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-job-id"), Some("job-1"));
    assert!(request.header("user-agent").unwrap().starts_with("notify/"));
    let wrong = hmac_hex("another", timestamp, &request.body);
    assert_ne!(expected, format!("sha256={wrong}"));
    notifier.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_payload_has_its_shape() {
    let receiver = Receiver::start().await.unwrap();
    let notifier = JobNotifier::new(config());
    let id = notifier
        .notify("job-1", completed(), Some(&receiver.url()))
        .await
        .unwrap();
    let delivered = receiver.wait_for(1).await;
    let payload: Value = serde_json::from_slice(&delivered[0].body).unwrap();
    assert_eq!(payload["id"], id.to_string());
    assert_eq!(payload["job_id"], "job-1");
    assert_eq!(payload["type"], "job.completed");
    assert_eq!(payload["sequence"], 1);
    assert_eq!(payload["event"]["status"], "completed");
    assert_eq!(
        payload["event"]["result"]["video_url"],
        "https://cdn.example.com/out.mp4"
    );
    assert!(payload["event"]["timestamp"].as_u64().unwrap() > 1_700_000_000);
    assert!(payload["event"].get("error").is_none());
}

#[tokio::test]
async fn tokens_belong_to_one_job() {
    let notifier = JobNotifier::new(config());
    let token = notifier.register_job("job-1").await.unwrap();
    assert_eq!(token.len(), 64);
    assert!(token.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(notifier.validate_job_token("job-1", &token).await);
    assert!(!notifier.validate_job_token("job-2", &token).await);
    assert!(!notifier.validate_job_token("job-1", "not-the-token").await);
    let other = notifier.register_job("job-2").await.unwrap();
    assert_ne!(*token, *other);
}

#[tokio::test]
async fn every_subscriber_gets_every_event() {
    let notifier = JobNotifier::new(config());
    let mut first = notifier.subscribe("job-1").await.unwrap();
    let mut second = notifier.subscribe("job-1").await.unwrap();
    let mut other = notifier.subscribe("job-2").await.unwrap();
    notifier
        .notify("job-1", JobEvent::processing(10), None)
        .await
        .unwrap();
    for subscriber in [&mut first, &mut second] {
        let event = subscriber.recv().await.unwrap();
        assert_eq!(
            (event.status, event.progress),
            (JobStatus::Processing, Some(10))
        );
    }
    assert!(other.try_recv_record().is_none());
}

#[tokio::test]
async fn a_channel_is_cleaned_up_after_the_terminal_event() {
    let notifier = JobNotifier::new(config());
    let mut events = notifier.subscribe("job-1").await.unwrap();
    assert_eq!(notifier.active_channels().await, 1);
    notifier.notify("job-1", completed(), None).await.unwrap();
    assert_eq!(events.recv().await.unwrap().status, JobStatus::Completed);
    assert!(events.recv().await.is_err());
    assert_eq!(notifier.active_channels().await, 0);
}

#[tokio::test]
async fn nothing_follows_a_terminal_event() {
    let notifier = JobNotifier::new(config());
    notifier
        .notify("job-1", JobEvent::failed("out of memory"), None)
        .await
        .unwrap();
    assert!(
        notifier
            .notify("job-1", JobEvent::processing(99), None)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_unreachable_url_ends_as_a_dead_letter_and_fails_no_call() {
    // A port that nothing listens on: bound once, then given back.
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/hook", listener.local_addr().unwrap())
    };
    let notifier = JobNotifier::new(NotifierConfig {
        max_retries: 2,
        ..config()
    });
    notifier
        .notify("job-1", completed(), Some(&url))
        .await
        .unwrap();
    let letters = async {
        loop {
            let letters = notifier.dead_letters().await.unwrap();
            if !letters.is_empty() {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let letters = tokio::time::timeout(Duration::from_secs(30), letters)
        .await
        .unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].job_id, "job-1");
    assert_eq!(letters[0].url, url.as_str());
    assert_eq!(letters[0].attempts, 3);
    assert!(!letters[0].last_error.is_empty());
    assert_eq!(letters[0].payload["event"]["status"], "completed");
    notifier.clear_dead_letters().await.unwrap();
    assert!(notifier.dead_letters().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failing_receiver_is_tried_again() {
    let receiver = Receiver::answering(|nth, _| if nth == 0 { 500 } else { 200 })
        .await
        .unwrap();
    let notifier = JobNotifier::new(config());
    notifier
        .notify("job-1", completed(), Some(&receiver.url()))
        .await
        .unwrap();
    let delivered = receiver.wait_for(2).await;
    assert_eq!(delivered[0].body, delivered[1].body);
    assert_eq!(
        delivered[0].header("webhook-id"),
        delivered[1].header("webhook-id")
    );
}

#[tokio::test]
async fn an_empty_secret_streams_but_sends_no_webhook() {
    let receiver = Receiver::start().await.unwrap();
    let notifier = JobNotifier::new(NotifierConfig {
        signing_secret: "".into(),
        ..config()
    });
    let mut events = notifier.subscribe("job-1").await.unwrap();
    notifier
        .notify("job-1", completed(), Some(&receiver.url()))
        .await
        .unwrap();
    assert!(events.recv().await.is_ok());
    notifier.shutdown(Duration::from_secs(1)).await;
    assert!(receiver.delivered().is_empty());
}
