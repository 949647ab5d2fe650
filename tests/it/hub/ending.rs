//! Shutdown: what had ended is written as what it was, and waiting costs nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::delivery::{DeliveryState, DeliveryView};
use notify_core::store::List;
use notify_core::{Timestamp, Transport, TransportError};
use notify_hub::{Clock, JobEvent, JobId};

use super::*;

/// Answers after this long, by the URL.
struct Slow;

const ANSWER: Duration = Duration::from_millis(1_000);

impl Transport for Slow {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let slow = request.url.as_str().contains("slow");
        if slow {
            tokio::time::sleep(ANSWER).await;
        }
        Ok(WebhookResponse {
            status: if slow { 204 } else { 503 },
            ..Default::default()
        })
    }
}

async fn delivery(notifier: &JobNotifier, job: &str) -> DeliveryView {
    let list = List {
        limit: 1,
        cursor: None,
    };
    let job = JobId::parse(job).unwrap();
    let deliveries = notifier.archive().unwrap().deliveries(&job, list).await;
    deliveries.unwrap().items.remove(0)
}

async fn state(notifier: &JobNotifier, job: &str) -> DeliveryState {
    delivery(notifier, job).await.state
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_with_the_deadline_is_not_made_again() {
    // Which of the two is seen first is a matter of luck.
    for _ in 0..32 {
        let builder = JobNotifier::builder(config()).transport(Slow);
        let notifier = builder.clock(TokioClock::new()).build().unwrap();
        let notified = notifier.notify("job-1", JobEvent::queued(), Some("https://slow.example/"));
        notified.await.unwrap();
        tokio::task::yield_now().await;
        notifier.shutdown(ANSWER).await;
        assert_eq!(state(&notifier, "job-1").await, DeliveryState::Delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_end_is_left_for_later() {
    let builder = JobNotifier::builder(config()).transport(Slow);
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    let notified = notifier.notify("job-1", JobEvent::queued(), Some("https://slow.example/"));
    notified.await.unwrap();
    tokio::task::yield_now().await;
    notifier.shutdown(ANSWER / 2).await;
    assert_eq!(state(&notifier, "job-1").await, DeliveryState::Pending);
}

/// The committer looks at the wall at each of its turns.
#[tokio::test]
async fn draining_does_not_spin_when_something_falls_due() {
    struct Counting(Arc<AtomicU64>);
    impl Clock for Counting {
        fn wall_now(&self) -> Timestamp {
            self.0.fetch_add(1, Ordering::Relaxed);
            notify_hub::SystemClock.wall_now()
        }
    }
    let turns = Arc::new(AtomicU64::new(0));
    let config = NotifierConfig {
        retry_base_ms: 100,
        ..config()
    };
    let builder = JobNotifier::builder(config).transport(Slow);
    let notifier = builder.clock(Counting(Arc::clone(&turns))).build().unwrap();
    for (job, url) in [
        ("job-1", "https://slow.example/"),
        ("job-2", "https://fast.example/"),
    ] {
        let notified = notifier.notify(job, JobEvent::queued(), Some(url));
        notified.await.unwrap();
    }
    // Its retry falls due while the other one is still awaited.
    while delivery(&notifier, "job-2").await.attempts.is_empty() {
        tokio::task::yield_now().await;
    }
    let before = turns.load(Ordering::Relaxed);
    notifier.shutdown(Duration::from_secs(30)).await;
    let turns = turns.load(Ordering::Relaxed) - before;
    assert!(turns < 100, "{turns} turns");
    assert_eq!(state(&notifier, "job-1").await, DeliveryState::Delivered);
}
