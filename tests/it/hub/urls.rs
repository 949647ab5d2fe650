//! Whom a webhook's URL means: the transport says it, and the hub keeps to it.

use notify_core::transport::{AddressRefused, VetError};
use notify_core::{DeadReason, EndpointUrl, Transport, TransportError};
use notify_http::egress::canonical;
use notify_hub::{JobEvent, JobSpec, WebhookSpec};

use super::*;

const SPELLINGS: [&str; 5] = [
    URL,
    "HTTPS://CUSTOMER.example.:443/hooks/results",
    "https://customer.example/hooks/%2e/results#top",
    "https://customer.example/x/../hooks/results",
    "https://ｃustomer。example/hooks/./results",
];

/// Spells URLs as the transport over HTTP does, and lets one receiver pass.
struct Guarded(RecordingTransport);

impl Transport for Guarded {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        self.0.send(request).await
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        let url = canonical(text)?;
        match url.host() {
            "customer.example" => Ok(url),
            _ => Err(VetError::Refused {
                url,
                refused: AddressRefused { rule: "a stranger" },
            }),
        }
    }
}

/// A notifier over such a transport, whose first answer is `first`.
fn guarded(first: u16) -> (JobNotifier, Arc<Guarded>) {
    let sent = RecordingTransport::answering(move |earlier, _| {
        Ok(WebhookResponse {
            status: if earlier.is_empty() { first } else { 204 },
            ..Default::default()
        })
    });
    let sent = Arc::new(Guarded(sent));
    let builder = JobNotifier::builder(config()).transport(Arc::clone(&sent));
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    (notifier, sent)
}

fn telling(job: &str, url: &str) -> JobSpec {
    JobSpec {
        job_id: Some(job.to_owned()),
        webhook: Some(WebhookSpec {
            url: url.to_owned(),
            ..Default::default()
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_requested_and_shown_is_the_canonical_url() {
    let (notifier, sent) = guarded(204);
    for (nth, spelling) in SPELLINGS.into_iter().enumerate() {
        let job = format!("job-{nth}");
        notifier.create_job(telling(&job, spelling)).await.unwrap();
        // The URL is the job's own, so it is told once.
        let notified = notifier.notify(&job, JobEvent::queued(), Some(SPELLINGS[1]));
        notified.await.unwrap();
        let shown = notifier.job(&job).await.unwrap().unwrap().webhook;
        assert_eq!(shown.unwrap().0, URL, "{spelling}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let requests = sent.0.requests();
    assert_eq!(requests.len(), SPELLINGS.len());
    assert!(requests.iter().all(|request| request.url == URL));
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_gone_in_every_spelling() {
    let (notifier, sent) = guarded(410);
    let notified = notifier.notify("job", JobEvent::queued(), Some(SPELLINGS[1]));
    notified.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let letters = notifier.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, DeadReason::Gone);
    assert_eq!(letters[0].url, URL);
    for (nth, spelling) in SPELLINGS.into_iter().enumerate() {
        let job = format!("job-{nth}");
        let notified = notifier.notify(&job, JobEvent::queued(), Some(spelling));
        notified.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(sent.0.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_transport_refuses_is_refused_by_its_name() {
    let (notifier, sent) = guarded(204);
    for (url, code) in [
        ("https://stranger.example/", "address_refused"),
        ("https://127.0.0.1/", "address_refused"),
        ("https://127.1/", "webhook_url_invalid"),
        ("ftp://customer.example/", "webhook_url_invalid"),
    ] {
        let refused = notifier.create_job(telling("job", url)).await.unwrap_err();
        let named = (refused.code(), refused.field());
        assert_eq!(named, (code, Some("webhook.url")), "{url}");
    }
    assert!(notifier.job("job").await.unwrap().is_none());
    assert!(sent.0.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_shown_by_its_canonical_url() {
    let (notifier, _) = guarded(204);
    let typed = "HTTPS://STRANGER.example.:443/x/../hook#top";
    let told = notifier.notify("job", JobEvent::queued(), Some(typed));
    told.await.unwrap();
    let letters = notifier.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, DeadReason::AddressRefused);
    assert_eq!(letters[0].url, "https://stranger.example/hook");
}
