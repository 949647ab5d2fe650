//! What fails at our end: charged to nobody, and tried again ever more seldom.

use std::sync::Mutex;

use notify_core::delivery::{DeliveryState, DeliveryView};
use notify_core::store::{List, StoreError};
use notify_core::{Span, Transport, TransportError};
use notify_hub::{DeadReason, JobEvent, MemoryStore};
use notify_tests::hooked_store::{HookedStore, Moment};
use tokio::time::Instant;

use super::*;

/// Which way a transport fails before it works.
#[derive(Clone, Copy)]
enum Fails {
    SaysSo,
    Panics,
}

/// Fails so often, then answers as told; remembers when it was asked.
struct Failing {
    how: Fails,
    times: usize,
    then: &'static [u16],
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Transport for Failing {
    async fn send(&self, _: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let nth = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(Instant::now());
            asked.len() - 1
        };
        match self.how {
            Fails::Panics if nth < self.times => panic!("a bug"),
            Fails::SaysSo if nth < self.times => {
                Err(TransportError::Internal("too many open files".to_owned()))
            }
            _ => {
                let status = self.then.get(nth - self.times).copied().unwrap_or(204);
                Ok(WebhookResponse {
                    status,
                    ..Default::default()
                })
            }
        }
    }
}

async fn only_delivery(notifier: &JobNotifier) -> DeliveryView {
    let list = List {
        limit: 9,
        cursor: None,
    };
    let store = notifier.archive().unwrap();
    let listed = store.deliveries(&"job-1".parse().unwrap(), list).await;
    let [delivery] = &listed.unwrap().items[..] else {
        panic!()
    };
    delivery.clone()
}

/// Nothing may be retried for the receiver's sake.
fn without_retries() -> NotifierConfig {
    NotifierConfig {
        max_retries: 0,
        max_age: Some(Span(Duration::from_secs(3_600))),
        ..config()
    }
}

fn seconds_between(asked: &[Instant]) -> Vec<u64> {
    let pairs = asked.windows(2);
    pairs.map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn our_own_failure_is_charged_to_nobody() {
    for how in [Fails::SaysSo, Fails::Panics] {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let transport = Failing {
            how,
            times: 9,
            then: &[],
            asked: Arc::clone(&asked),
        };
        let builder = JobNotifier::builder(without_retries()).transport(transport);
        let notifier = builder.clock(TokioClock::new()).build().unwrap();
        let told = notifier.notify("job-1", JobEvent::queued(), Some(URL));
        told.await.unwrap();

        tokio::time::sleep(Duration::from_secs(8 * 60)).await;
        assert_eq!(
            seconds_between(&asked.lock().unwrap()),
            [1, 2, 4, 8, 16, 32, 60, 60, 60]
        );
        let delivery = only_delivery(&notifier).await;
        let numbers: Vec<_> = delivery.attempts.iter().map(|one| one.number).collect();
        assert_eq!(
            (delivery.state, numbers),
            (DeliveryState::Delivered, vec![1])
        );
        assert!(notifier.dead_letters().await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_reason_of_our_own_for_too_long_is_given_up() {
    let asked = Arc::<Mutex<Vec<Instant>>>::default();
    let transport = Failing {
        how: Fails::SaysSo,
        times: usize::MAX,
        then: &[],
        asked: Arc::clone(&asked),
    };
    let config = NotifierConfig {
        max_age: Some(Span(Duration::from_secs(100))),
        ..config()
    };
    let builder = JobNotifier::builder(config).transport(transport);
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    let told = notifier.notify("job-1", JobEvent::queued(), Some(URL));
    told.await.unwrap();
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert!(notifier.dead_letters().await.unwrap().is_empty());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let [letter] = &notifier.dead_letters().await.unwrap()[..] else {
        panic!()
    };
    assert_eq!((letter.reason, letter.attempts), (DeadReason::Internal, 0));
}

#[tokio::test(start_paused = true)]
async fn after_our_own_failure_the_receiver_has_all_its_attempts() {
    let asked = Arc::<Mutex<Vec<Instant>>>::default();
    let transport = Failing {
        how: Fails::SaysSo,
        times: 3,
        then: &[500, 500, 500, 500],
        asked: Arc::clone(&asked),
    };
    let builder = JobNotifier::builder(config()).transport(transport).seed(7);
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    let told = notifier.notify("job-1", JobEvent::queued(), Some(URL));
    told.await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(only_delivery(&notifier).await.attempts.is_empty());
    tokio::time::sleep(Duration::from_secs(60)).await;
    // 1 + 3 retries, and the three that were not the receiver's.
    assert_eq!(asked.lock().unwrap().len(), 7);
    let [letter] = &notifier.dead_letters().await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(letter.attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_reads_the_store() {
    let sent = Arc::new(RecordingTransport::answering(|earlier, _| {
        Ok(WebhookResponse {
            status: if earlier.len() < 2 { 500 } else { 204 },
            ..Default::default()
        })
    }));
    let store = HookedStore::new(MemoryStore::default(), |call, moment| async move {
        let is_write = ["write", "claim", "trim", "clock_set"].contains(&call);
        if is_write || moment == Moment::After {
            return Ok(());
        }
        Err(StoreError::Failed(format!("{call}: nothing can be read")))
    });
    let builder = JobNotifier::builder(config()).transport(Arc::clone(&sent));
    let notifier = builder.store(store).clock(TokioClock::new()).build();
    let notifier = notifier.unwrap();
    for job in ["job-1", "job-2"] {
        let told = notifier.notify(job, JobEvent::queued(), Some(URL));
        told.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    // Both, and what failed once more.
    assert_eq!(sent.requests().len(), 4);
    assert!(notifier.is_ready());
}
