//! Logs of followed jobs: of which job they are, and how much of them is kept.

use std::sync::atomic::{AtomicU64, Ordering};

use notify_core::Store;
use notify_core::retention::Retention;
use notify_hub::{EndReason, JobEvent, JobStatus, MemoryStore, StartFrom};
use notify_tests::hooked_store::{HookedStore, Moment};
use serde_json::json;

use super::*;

/// Forgets every job that has ended.
async fn forget(store: &MemoryStore) {
    let at_once = Retention {
        jobs: Duration::ZERO,
        dead_letters: Duration::MAX,
        ..Retention::DEFAULT
    };
    let later = TokioClock::START.plus(Duration::from_secs(86_400));
    let trimmed = store.trim(later, at_once, 9).await.unwrap();
    assert_eq!(trimmed.forgotten, 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_job_is_never_shown_to_who_reads_its_successor() {
    let store = HookedStore::new(MemoryStore::default(), |_, _| async { Ok(()) });
    let behind = Arc::clone(store.inner());
    let notifier = over(store);
    for event in [JobEvent::queued(), JobEvent::failed("of the first one")] {
        notifier.notify("job-1", event, None).await.unwrap();
    }
    // Someone still reads the first one.
    let mut first = notifier.subscribe("job-1").await.unwrap();
    forget(&behind).await;
    let token = notifier.register_job("job-1").await.unwrap();
    let from = StartFrom::Beginning;
    let second = notifier.subscribe_authorized("job-1", &token, from).await;
    let mut second = second.unwrap().unwrap();
    assert!(second.try_recv_record().is_none());
    notifier
        .notify("job-1", JobEvent::processing(1), None)
        .await
        .unwrap();
    assert_eq!(second.recv().await.unwrap().progress, Some(1));
    assert_eq!(first.recv().await.unwrap().status, JobStatus::Queued);
    assert_eq!(first.recv().await.unwrap().status, JobStatus::Failed);
    assert!(first.recv().await.is_err());
}

/// The same while the log is being read: what was read is of a job that is gone.
#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_job_that_is_gone_is_read_anew() {
    let read = Arc::new(tokio::sync::Notify::new());
    let go_on = Arc::new(tokio::sync::Notify::new());
    let (at, until) = (Arc::clone(&read), Arc::clone(&go_on));
    let reads = AtomicU64::new(0);
    let store = HookedStore::new(MemoryStore::default(), move |call, moment| {
        let first =
            call == "read" && moment == Moment::After && reads.fetch_add(1, Ordering::Relaxed) == 0;
        let (at, until) = (Arc::clone(&at), Arc::clone(&until));
        async move {
            if first {
                at.notify_one();
                until.notified().await;
            }
            Ok(())
        }
    });
    let behind = Arc::clone(store.inner());
    let notifier = over(store);
    let event = JobEvent::failed("of the first one");
    notifier.notify("job-1", event, None).await.unwrap();
    let succeeding = async {
        read.notified().await;
        forget(&behind).await;
        let token = notifier.register_job("job-1").await.unwrap();
        let event = JobEvent::processing(1);
        notifier.notify("job-1", event, None).await.unwrap();
        go_on.notify_one();
        token
    };
    let (followed, _) = tokio::join!(notifier.subscribe("job-1"), succeeding);
    let first = followed.unwrap().recv().await.unwrap();
    assert_eq!((first.error, first.progress), (None, Some(1)));
}

/// A store that counts how often a log is read, and takes its time.
pub(super) fn counting(read: Duration) -> (HookedStore<MemoryStore>, Arc<AtomicU64>) {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    let store = HookedStore::new(MemoryStore::default(), move |call, moment| {
        let is_read = call == "read" && moment == Moment::Before;
        counted.fetch_add(u64::from(is_read), Ordering::Relaxed);
        async move {
            if is_read {
                tokio::time::sleep(read).await;
            }
            Ok(())
        }
    });
    (store, reads)
}

pub(super) fn over(store: impl Store) -> JobNotifier {
    let builder = JobNotifier::builder(config()).transport(RecordingTransport::default());
    let builder = builder.store(store).clock(TokioClock::new());
    builder.build().unwrap()
}

/// What all have passed is let go, and read again for who comes later; those who
/// were there go on without noticing.
#[tokio::test(start_paused = true)]
async fn logs_are_bounded_together_and_read_again_for_who_comes_later() {
    let mut config = config();
    config.limits.live_log_bytes_max = 100_000;
    let rig = rig_with(config, |_, _| 204);
    let notifier = &rig.notifier;
    let large = || JobEvent {
        error: Some("x".repeat(10_000)),
        ..JobEvent::queued()
    };
    let mut early = notifier.subscribe("job").await.unwrap();
    for number in 1..=30 {
        notifier.notify("job", large(), None).await.unwrap();
        assert_eq!(early.recv_record().await.unwrap().sequence(), number);
        assert!(notifier.live_log_bytes() < 125_000);
    }
    // A second one needs all of it, though it is too much; a third is refused.
    let mut late = notifier.subscribe("job").await.unwrap();
    assert!(notifier.live_log_bytes() > 300_000);
    let third = notifier.subscribe("other").await;
    assert_eq!(third.unwrap_err().code(), "overloaded");
    notifier.notify("job", large(), None).await.unwrap();
    assert_eq!(early.recv_record().await.unwrap().sequence(), 31);
    for number in 1..=31 {
        assert_eq!(late.recv_record().await.unwrap().sequence(), number);
    }
    // It has read it, so there is room again; and one that goes away at once keeps
    // nobody waiting.
    let gone = notifier.subscribe("job");
    drop(futures_util::poll!(std::pin::pin!(gone)));
    notifier
        .notify("job", JobEvent::completed(json!(1)), None)
        .await
        .unwrap();
    for reader in [&mut early, &mut late] {
        assert_eq!(reader.recv_record().await.unwrap().sequence(), 32);
        assert!(reader.recv_record().await.is_err());
        assert_eq!(reader.end_reason(), Some(EndReason::Terminal));
    }
}
