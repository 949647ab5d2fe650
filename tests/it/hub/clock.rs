//! A wall clock that is wrong: at the start, before it, or set meanwhile.

use notify_core::Timestamp;
use notify_core::store::Store;
use notify_hub::{JobEvent, MemoryStore, Span, SqliteStore};
use serde_json::json;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const NOW: Timestamp = TokioClock::START;

fn before(span: Duration) -> Timestamp {
    let millis = u64::try_from(span.as_millis()).unwrap();
    Timestamp::from_millis(NOW.as_millis() - millis)
}

/// Wrong clocks of every kind: what the wall says, for what is `NOW` in truth.
fn wrong() -> [Timestamp; 6] {
    [
        NOW.plus(Duration::from_secs(30)),
        NOW.plus(DAY),
        NOW.plus(DAY * 40),
        before(Duration::from_secs(30)),
        before(DAY * 3),
        Timestamp::from_secs(5),
    ]
}

struct Life {
    notifier: JobNotifier,
    sent: Arc<RecordingTransport>,
    clock: TokioClock,
}

fn settings(retention: Duration) -> NotifierConfig {
    let mut config = NotifierConfig {
        retry_schedule: Some(vec![Span(Duration::from_secs(1)); 3]),
        ..config()
    };
    config.store.retention = Span(retention);
    config
}

fn live(store: impl Store, at: Timestamp, statuses: &'static [u16]) -> Life {
    live_with(store, settings(DAY), at, statuses)
}

fn live_with(
    store: impl Store,
    config: NotifierConfig,
    at: Timestamp,
    statuses: &'static [u16],
) -> Life {
    let sent = Arc::new(RecordingTransport::answering(move |earlier, _| {
        let status = statuses.get(earlier.len()).copied();
        Ok(WebhookResponse {
            status: status.unwrap_or(204),
            ..Default::default()
        })
    }));
    let clock = TokioClock::reading(at);
    let builder = JobNotifier::builder(config).transport(Arc::clone(&sent));
    let builder = builder.store(store).clock(clock.clone()).seed(7);
    Life {
        notifier: builder.build().unwrap(),
        sent,
        clock,
    }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_stalls_no_retry() {
    for to in wrong() {
        let life = live(MemoryStore::default(), NOW, &[503, 503]);
        let notify = |event, to| life.notifier.notify("job-1", event, to);
        notify(JobEvent::queued(), Some(URL)).await.unwrap();
        pass(0).await;
        life.clock.set(to);
        pass(5).await;
        assert_eq!(life.sent.requests().len(), 3, "{to:?}");
        // And back to what is right.
        life.clock.set(NOW);
        notify(JobEvent::completed(json!(1)), Some(URL))
            .await
            .unwrap();
        pass(2).await;
        assert_eq!(life.sent.requests().len(), 4, "{to:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_hastens_no_retry_by_more_than_its_step() {
    let life = live(MemoryStore::default(), NOW, &[503]);
    let notified = life.notifier.notify("job-1", JobEvent::queued(), Some(URL));
    notified.await.unwrap();
    // A correction is none of its business.
    life.clock.set(NOW.plus(Duration::from_millis(1_500)));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(life.sent.requests().len(), 1);
}

async fn opened(dir: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(dir.path(), notify_hub::SqliteOptions::default()).unwrap()
}

#[tokio::test]
async fn a_clock_that_was_wrong_before_or_at_the_start_stalls_no_retry() {
    for (then, at_start) in [
        (NOW.plus(DAY), NOW),
        (NOW.plus(DAY * 40), NOW),
        (NOW, before(DAY * 3)),
        (NOW, Timestamp::from_secs(5)),
        (NOW, NOW.plus(DAY)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let life = live(opened(&dir).await, then, &[503]);
        let notified = life.notifier.notify("job-1", JobEvent::queued(), Some(URL));
        notified.await.unwrap();
        settled(&life, 1).await;
        life.notifier.shutdown(Duration::from_secs(1)).await;
        drop(life);
        let life = live(opened(&dir).await, at_start, &[]);
        life.notifier.start().await.unwrap();
        settled(&life, 0).await;
        life.clock.set(NOW);
        let event = JobEvent::completed(json!(1));
        let notified = life.notifier.notify("job-1", event, Some(URL));
        notified.await.unwrap();
        let delivered = async {
            while life.sent.requests().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let delivered = tokio::time::timeout(Duration::from_secs(5), delivered).await;
        assert!(delivered.is_ok(), "{then:?}, then {at_start:?}");
    }
}

/// Waits until so many attempts are written.
async fn settled(life: &Life, attempts: usize) {
    let store = life.notifier.archive().unwrap();
    let job = notify_core::JobId::parse("job-1").unwrap();
    let list = || notify_core::store::List {
        limit: 9,
        cursor: None,
    };
    loop {
        let deliveries = store.deliveries(&job, list()).await.unwrap().items;
        if deliveries[0].attempts.len() >= attempts {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_young_is_forgotten_by_a_clock_that_is_set() {
    for to in wrong() {
        let kept = Duration::from_secs(3_600);
        let life = live_with(MemoryStore::default(), settings(kept), NOW, &[]);
        let notify = |job| life.notifier.notify(job, JobEvent::failed("x"), None);
        notify("early").await.unwrap();
        pass(1_000).await;
        life.clock.set(to);
        notify("late").await.unwrap();
        pass(1_000).await;
        life.clock.set(NOW);
        pass(1_500).await;
        for job in ["early", "late"] {
            assert!(life.notifier.job(job).await.unwrap().is_some(), "{to:?}");
        }
        if to < NOW {
            pass(3_600).await;
            for job in ["early", "late"] {
                assert!(life.notifier.job(job).await.unwrap().is_none(), "{to:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_at_the_start_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let life = live(opened(&dir).await, NOW, &[410]);
    let event = JobEvent::completed(json!(1));
    let notified = life.notifier.notify("job-1", event, Some(URL));
    notified.await.unwrap();
    settled(&life, 1).await;
    life.notifier.shutdown(Duration::from_secs(1)).await;
    drop(life);
    let life = live(opened(&dir).await, NOW.plus(DAY * 400), &[]);
    life.notifier.start().await.unwrap();
    // Trimming is looked at each second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    life.clock.set(NOW);
    assert_eq!(life.notifier.dead_letters().await.unwrap().len(), 1);
    assert!(life.notifier.job("job-1").await.unwrap().is_some());
}
