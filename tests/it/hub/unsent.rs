//! What is wrong with a webhook never costs the event.

use futures_util::StreamExt;
use notify_core::transport::{AddressRefused, VetError};
use notify_core::{DeadLetter, DeadReason, EndpointUrl, Transport, TransportError};
use notify_hub::{DeadFilter, JobEvent, JobSpec, JobStatus, SqliteStore, WebhookSpec};

use super::*;

const REFUSED: &str = "https://internal.example/hook";

/// What customers have typed, and what it comes to.
const TYPED: [(&str, DeadReason); 6] = [
    ("", DeadReason::UrlInvalid),
    ("customer.example/hook", DeadReason::UrlInvalid),
    ("htps://customer.example/hook", DeadReason::UrlInvalid),
    (" https://customer.example/hook", DeadReason::UrlInvalid),
    ("https://me:word@customer.example/", DeadReason::UrlInvalid),
    (REFUSED, DeadReason::AddressRefused),
];

/// Refuses one host.
struct Guarded(Arc<RecordingTransport>);

impl Transport for Guarded {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        self.0.send(request).await
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        let url = EndpointUrl::parse(text)?;
        if url.host() == "internal.example" {
            let refused = AddressRefused { rule: "internal" };
            return Err(VetError::Refused { url, refused });
        }
        Ok(url)
    }
}

fn answering_204() -> Arc<RecordingTransport> {
    Arc::new(RecordingTransport::answering(|_, _| {
        Ok(WebhookResponse {
            status: 204,
            ..Default::default()
        })
    }))
}

fn guarded() -> Rig {
    let sent = answering_204();
    let builder = JobNotifier::builder(config()).transport(Guarded(Arc::clone(&sent)));
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    Rig { notifier, sent }
}

async fn only_letter(notifier: &JobNotifier) -> DeadLetter {
    let mut letters = notifier.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_stream_shows_what_no_webhook_can() {
    for (url, reason) in TYPED {
        let rig = guarded();
        let stream = rig.notifier.subscribe("job-1").await.unwrap();
        let mut ids = Vec::new();
        for event in [
            JobEvent::queued(),
            JobEvent::processing(1),
            JobEvent::processing(50),
            JobEvent::failed("x"),
        ] {
            let told = rig.notifier.notify("job-1", event, Some(url));
            ids.push(told.await.unwrap());
        }
        let shown: Vec<_> = stream.map(|record| record.id()).collect().await;
        assert_eq!(shown, ids, "{url}");

        // Each of them, but for progress.
        let letters = rig.notifier.dead_letters().await.unwrap();
        let events: Vec<_> = letters.iter().map(|letter| letter.event_id).collect();
        assert_eq!(events, [ids[0], ids[1], ids[3]], "{url}");
        for letter in letters {
            assert_eq!((letter.reason, &*letter.url), (reason, url));
            assert_eq!((letter.endpoint_id, letter.attempts), (None, 0));
        }
        rig.run_for(Duration::from_secs(60)).await;
        assert!(rig.sent.requests().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn registering_says_it_aloud() {
    let rig = guarded();
    for (url, reason) in TYPED {
        let webhook = WebhookSpec {
            url: url.to_owned(),
            ..Default::default()
        };
        let spec = JobSpec {
            job_id: Some("job-1".to_owned()),
            webhook: Some(webhook),
        };
        let refused = rig.notifier.create_job(spec).await.unwrap_err();
        let code = match reason {
            DeadReason::UrlInvalid => "webhook_url_invalid",
            _ => "address_refused",
        };
        assert_eq!(
            (refused.code(), refused.field()),
            (code, Some("webhook.url"))
        );
    }
    assert!(rig.notifier.job("job-1").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_key_repeats_what_is_wrong() {
    for (url, reason) in TYPED {
        let rig = guarded();
        let event = br#"{"status":"completed"}"#;
        let once = || {
            rig.notifier
                .notify_json("job-1", event, Some(url), Some("k-1"))
        };
        let first = once().await.unwrap();
        assert_eq!(first.unsent, Some(reason), "{url}");
        assert_eq!(once().await.unwrap(), first, "{url}");
        only_letter(&rig.notifier).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_url_is_shown_bounded_and_escaped_and_sent_by_nobody() {
    for text in [
        "javascript:\u{1b}[2J\r\n\0".to_owned(),
        "x".repeat(100_000),
        "\u{9f}\u{1f980}".repeat(10_000),
    ] {
        let rig = guarded();
        let told = rig
            .notifier
            .notify("job-1", JobEvent::failed("x"), Some(&text));
        told.await.unwrap();
        let letter = only_letter(&rig.notifier).await;
        assert!(letter.url.len() <= EndpointUrl::BYTES_MAX);
        assert!(!letter.url.is_empty() && !letter.url.contains(char::is_control));
        let this = DeadFilter {
            delivery: Some(letter.id),
            ..DeadFilter::default()
        };
        assert_eq!(rig.notifier.redeliver(this).await, Ok(0));
        assert_eq!(rig.notifier.redeliver_all().await, Ok(0));
        rig.run_for(Duration::from_secs(60)).await;
        assert_eq!(only_letter(&rig.notifier).await, letter);
        assert!(rig.sent.requests().is_empty());
        rig.notifier.clear_dead_letters().await.unwrap();
        assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
    }
}

/// A service over a directory, with or without its secret.
fn life(dir: &tempfile::TempDir, secret: &str) -> Rig {
    let sent = answering_204();
    let config = NotifierConfig {
        signing_secret: secret.into(),
        ..Default::default()
    };
    let options = notify_hub::SqliteOptions::default();
    let store = SqliteStore::open(dir.path(), options).unwrap();
    let builder = JobNotifier::builder(config).transport(Arc::clone(&sent));
    let notifier = builder.store(store).build().unwrap();
    Rig { notifier, sent }
}

#[tokio::test]
async fn what_a_service_without_its_secret_owes_is_redelivered_once_it_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let poor = life(&dir, "");
    let stream = poor.notifier.subscribe("job-1").await.unwrap();
    for event in [JobEvent::queued(), JobEvent::completed(1.into())] {
        let told = poor.notifier.notify("job-1", event, Some(URL));
        told.await.unwrap();
    }
    let shown: Vec<_> = stream.map(|record| record.status()).collect().await;
    assert_eq!(shown, [JobStatus::Queued, JobStatus::Completed]);
    let letters = poor.notifier.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert_eq!(
            (letter.reason, &*letter.url),
            (DeadReason::SecretMissing, URL)
        );
    }
    poor.notifier.shutdown(Duration::from_secs(5)).await;
    assert!(poor.sent.requests().is_empty());
    drop(poor);

    let rich = life(&dir, "operator-hmac-key");
    assert_eq!(rich.notifier.redeliver_all().await, Ok(2));
    let delivered = async {
        while rich.sent.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let delivered = tokio::time::timeout(Duration::from_secs(30), delivered).await;
    assert!(delivered.is_ok());
    rich.notifier.shutdown(Duration::from_secs(5)).await;
    assert!(rich.notifier.dead_letters().await.unwrap().is_empty());
}
