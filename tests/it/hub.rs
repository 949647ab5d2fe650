//! The hub as a service sees it, over a recording transport and paused time.

mod clock;
mod deletion;
mod deliveries;
mod egress;
mod ending;
mod failing;
mod limits;
mod logs;
mod metrics;
mod own_failures;
mod sick;
mod streams;
mod unsent;
mod urls;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use notify_core::transport::RecordingTransport;
use notify_core::{WebhookRequest, WebhookResponse};
use notify_hub::{JobNotifier, NotifierConfig};
use notify_tests::clock::TokioClock;

const URL: &str = "https://customer.example/hooks/results";

/// A notifier, and the record of what it sends.
struct Rig {
    notifier: JobNotifier,
    sent: Arc<RecordingTransport>,
}

fn config() -> NotifierConfig {
    NotifierConfig {
        signing_secret: "operator-hmac-key".into(),
        ..Default::default()
    }
}

/// Receivers that answer with these statuses, one after the other, then 204.
fn rig(statuses: &'static [u16]) -> Rig {
    rig_with(config(), move |nth, _| {
        statuses.get(nth).copied().unwrap_or(204)
    })
}

fn rig_with(
    config: NotifierConfig,
    status: impl Fn(usize, &WebhookRequest) -> u16 + Send + Sync + 'static,
) -> Rig {
    let sent = Arc::new(RecordingTransport::answering(move |earlier, request| {
        Ok(WebhookResponse {
            status: status(earlier.len(), request),
            ..Default::default()
        })
    }));
    let builder = JobNotifier::builder(config)
        .transport(Arc::clone(&sent))
        .seed(7);
    Rig {
        notifier: builder.clock(TokioClock::new()).build().unwrap(),
        sent,
    }
}

impl Rig {
    /// Lets paused time run until everything that is due by then has happened.
    async fn run_for(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// The events that were sent, as `sequence:status`.
    fn events(&self) -> Vec<String> {
        let line = |request: &WebhookRequest| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            format!(
                "{}:{}",
                body["sequence"],
                body["event"]["status"].as_str().unwrap()
            )
        };
        self.sent.requests().iter().map(line).collect()
    }
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> &'a str {
    let mut found = request.headers.iter().filter(|(other, _)| *other == name);
    let value = &found.next().unwrap().1;
    assert!(found.next().is_none());
    value
}
