use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use notify_conformance::Draw;
use notify_core::Store;
use notify_core::store::{Append, Batch, FreshIds, Operation, StoreError};
use notify_hub::{EndReason, EventId, JobEvent, JobId, JobStatus, MemoryStore, StartFrom};
use notify_tests::hooked_store::{HookedStore, Moment};
use serde_json::json;
use tokio::task::JoinSet;

use super::logs::{counting, over};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_what_was_then_what_comes_then_the_end() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let first = notifier
        .notify("job-1", JobEvent::queued(), None)
        .await
        .unwrap();
    let mut events = notifier.subscribe("job-1").await.unwrap();
    assert_eq!(events.recv_record().await.unwrap().id(), first);
    let reading = async {
        assert_eq!(events.recv().await.unwrap().progress, Some(42));
        assert_eq!(events.recv().await.unwrap().status, JobStatus::Completed);
        assert_eq!(events.recv().await, Err(notify_hub::Closed));
        assert_eq!(events.end_reason(), Some(EndReason::Terminal));
    };
    let writing = async {
        notifier
            .notify("job-1", JobEvent::processing(42), None)
            .await
            .unwrap();
        notifier
            .notify("job-1", JobEvent::completed(json!(1)), None)
            .await
            .unwrap();
    };
    tokio::join!(reading, writing);
}

#[tokio::test(start_paused = true)]
async fn several_subscribers_see_the_same_bytes() {
    let rig = rig(&[]);
    let early: Vec<_> =
        futures_util::future::join_all((0..3).map(|_| rig.notifier.subscribe("job-1"))).await;
    for event in [JobEvent::queued(), JobEvent::failed("x")] {
        rig.notifier.notify("job-1", event, None).await.unwrap();
    }
    let late = rig.notifier.subscribe("job-1").await;
    let mut blocks = Vec::new();
    for subscription in early.into_iter().chain([late]) {
        let records: Vec<_> = subscription.unwrap().collect().await;
        blocks.push(
            records
                .iter()
                .map(notify_hub::EventRecord::block)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(blocks[0].len(), 2);
    assert!(blocks.iter().all(|other| *other == blocks[0]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_skips_progress_but_no_lifecycle_event() {
    let rig = rig(&[]);
    let mut slow = rig.notifier.subscribe("job-1").await.unwrap();
    let mut lifecycle = Vec::new();
    for round in 0..5 {
        lifecycle.push(
            rig.notifier
                .notify("job-1", JobEvent::queued(), None)
                .await
                .unwrap(),
        );
        for progress in 0..100 {
            let id = rig
                .notifier
                .notify("job-1", JobEvent::processing(progress), None)
                .await
                .unwrap();
            if progress == 0 {
                lifecycle.push(id);
            }
        }
        if round == 2 {
            slow.recv().await.unwrap();
        }
    }
    lifecycle.push(
        rig.notifier
            .notify("job-1", JobEvent::cancelled(), None)
            .await
            .unwrap(),
    );
    let read: Vec<EventId> = slow.by_ref().map(|record| record.id()).collect().await;
    assert!(read.is_sorted());
    assert!(lifecycle[1..].iter().all(|id| read.contains(id)));
    assert!(read.len() < lifecycle.len() + 2 * 16);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_resumes_and_a_foreign_one_is_a_gap() {
    let rig = rig(&[]);
    let mut ids = Vec::new();
    for event in [
        JobEvent::queued(),
        JobEvent::processing(1),
        JobEvent::processing(2),
        JobEvent::failed("x"),
    ] {
        ids.push(rig.notifier.notify("job-1", event, None).await.unwrap());
    }
    let from = |text: String| rig.notifier.subscribe_from("job-1", StartFrom::After(text));
    for (position, id) in ids.iter().enumerate() {
        let resumed = from(id.to_string()).await.unwrap();
        assert_eq!((resumed.gap(), resumed.is_at_end()), (None, position == 3));
        let rest: Vec<_> = resumed.map(|record| record.id()).collect().await;
        assert_eq!(rest, ids[position + 1..]);
    }
    for bad in ["", "x", "aaaaaaaaaaaa-1", &format!("{}9", ids[3])] {
        let afresh = from(bad.to_owned()).await.unwrap();
        assert_eq!(afresh.gap(), Some(bad));
        assert_eq!(
            afresh.map(|record| record.id()).collect::<Vec<_>>().await,
            ids
        );
    }
    let latest = rig
        .notifier
        .subscribe_from("job-1", StartFrom::Latest)
        .await
        .unwrap();
    assert_eq!(
        latest.map(|record| record.id()).collect::<Vec<_>>().await,
        ids[3..]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_token_ends_what_the_old_one_opened() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let old = notifier.register_job("job-1").await.unwrap();
    assert!(notifier.validate_job_token("job-1", &old).await);
    for (job, token) in [
        ("job-2", &*old),
        ("job-1", "x"),
        ("job 1", &*old),
        ("job-1", ""),
    ] {
        assert!(!notifier.validate_job_token(job, token).await);
        assert!(
            notifier
                .subscribe_authorized(job, token, StartFrom::Beginning)
                .await
                .unwrap()
                .is_none()
        );
    }
    let bound = notifier
        .subscribe_authorized("job-1", &old, StartFrom::Beginning)
        .await
        .unwrap();
    let mut bound = bound.unwrap();
    let mut free = notifier.subscribe("job-1").await.unwrap();
    let new = notifier.register_job("job-1").await.unwrap();
    assert!(!notifier.validate_job_token("job-1", &old).await);
    assert!(notifier.validate_job_token("job-1", &new).await);
    assert!(bound.recv().await.is_err());
    assert_eq!(bound.end_reason(), Some(EndReason::TokenReplaced));
    notifier
        .notify("job-1", JobEvent::queued(), None)
        .await
        .unwrap();
    assert!(free.recv().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn channels_are_counted_until_their_job_ends() {
    let rig = rig(&[]);
    let a = rig.notifier.subscribe("job-1").await.unwrap();
    let b = rig.notifier.subscribe("job-1").await.unwrap();
    let c = rig.notifier.subscribe("job-2").await.unwrap();
    assert_eq!(rig.notifier.active_channels().await, 2);
    rig.notifier
        .notify("job-1", JobEvent::completed(json!(1)), None)
        .await
        .unwrap();
    assert_eq!(rig.notifier.active_channels().await, 1);
    drop((a, b, c));
    assert_eq!(rig.notifier.active_channels().await, 0);
}

/// The store answers each call only after some turns of everyone else's, before
/// and after it did its work; which ones is up to the seed.
fn dawdling(seed: u64) -> HookedStore<MemoryStore> {
    let calls = AtomicU64::new(0);
    HookedStore::new(MemoryStore::default(), move |call, moment| {
        let nth = calls.fetch_add(1, Ordering::Relaxed);
        let mut draw = Draw::new(seed.wrapping_mul(1_000).wrapping_add(nth));
        // What was read long ago is what misses the most.
        let read = (call, moment) == ("read", Moment::After);
        let turns = draw.below(if read { 100 } else { 6 });
        async move {
            if matches!(call, "read" | "write") {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Ok(())
        }
    })
}

async fn interleave(seed: u64) {
    let notifier = Arc::new(over(dawdling(seed)));
    let writer = tokio::spawn({
        let notifier = Arc::clone(&notifier);
        async move {
            for event in [
                JobEvent::queued(),
                JobEvent::processing(1),
                JobEvent::queued(),
                JobEvent::failed("x"),
            ] {
                notifier.notify("job-1", event, None).await.unwrap();
            }
        }
    });
    let mut readers = JoinSet::new();
    for late in 0..4 {
        let notifier = Arc::clone(&notifier);
        readers.spawn(async move {
            for _ in 0..10 * late {
                tokio::task::yield_now().await;
            }
            let subscription = notifier.subscribe("job-1").await.unwrap();
            let read = subscription.map(|record| record.sequence()).collect();
            let read = tokio::time::timeout(Duration::from_secs(30), read);
            read.await.unwrap_or_default()
        });
    }
    while let Some(read) = readers.join_next().await {
        let read: Vec<u64> = read.unwrap();
        assert_eq!(read, [1, 2, 3, 4], "seed {seed}");
    }
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_event_is_missed_however_subscribing_and_publishing_interleave() {
    for seed in 0..500 {
        interleave(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_event_is_missed_on_several_threads() {
    for seed in 0..200 {
        interleave(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn readers_that_come_together_read_the_log_once() {
    let (store, reads) = counting(Duration::from_millis(20));
    let notifier = Arc::new(over(store));
    notifier
        .notify("job-1", JobEvent::failed("x"), None)
        .await
        .unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..1_000 {
        let notifier = Arc::clone(&notifier);
        readers.spawn(async move { notifier.subscribe("job-1").await.unwrap() });
    }
    let mut held = Vec::new();
    while let Some(subscription) = readers.join_next().await {
        let mut subscription = subscription.unwrap();
        assert!(subscription.recv().await.is_ok());
        held.push(subscription);
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_goes_away_while_he_reads_hands_over() {
    let (store, reads) = counting(Duration::from_millis(20));
    let notifier = over(store);
    let large = || JobEvent {
        error: Some("x".repeat(200_000)),
        ..JobEvent::queued()
    };
    for _ in 0..20 {
        notifier.notify("job-1", large(), None).await.unwrap();
    }
    // Five events make a page.
    let first = tokio::time::timeout(Duration::from_millis(50), notifier.subscribe("job-1"));
    let second = notifier.subscribe("job-1");
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err());
    let mut second = second.unwrap();
    for sequence in 1..=20 {
        assert_eq!(second.recv_record().await.unwrap().sequence(), sequence);
    }
    // The third one is lost with its reader, and read again.
    assert_eq!(reads.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_tried_by_the_next() {
    let reads = AtomicU64::new(0);
    let store = HookedStore::new(MemoryStore::default(), move |call, moment| {
        let is_read = call == "read" && moment == Moment::Before;
        let fails = is_read && reads.fetch_add(1, Ordering::Relaxed) < 2;
        async move {
            tokio::task::yield_now().await;
            let failed = || StoreError::Failed("it can't be read".to_owned());
            if fails { Err(failed()) } else { Ok(()) }
        }
    });
    let notifier = over(store);
    let subscribe = || notifier.subscribe("job-1");
    let tried = tokio::join!(subscribe(), subscribe(), subscribe(), subscribe());
    let tried = [tried.0, tried.1, tried.2, tried.3].map(|tried| tried.is_ok());
    assert_eq!(tried.iter().filter(|ok| !**ok).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_jump_in_what_is_published_is_read_and_not_skipped() {
    let fails = Arc::new(AtomicU64::new(0));
    let failing = Arc::clone(&fails);
    let store = HookedStore::new(MemoryStore::default(), move |call, moment| {
        let read = call == "read" && moment == Moment::Before;
        let left = |left: u64| left.checked_sub(1);
        let failing = Arc::clone(&failing);
        let fails = read
            && failing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                .is_ok();
        async move {
            let failed = || StoreError::Failed("it can't be read".to_owned());
            if fails { Err(failed()) } else { Ok(()) }
        }
    });
    let behind = Arc::clone(store.inner());
    let notifier = over(store);
    let mut events = notifier.subscribe("job-1").await.unwrap();
    let notify = |event| notifier.notify("job-1", event, None);
    notify(JobEvent::queued()).await.unwrap();
    // Accepted, but nobody in this process ever heard of it.
    let draft = JobEvent::queued().draft(1, notify_core::EventLimits::default());
    let unheard = Append {
        job: JobId::parse("job-1").unwrap(),
        draft: draft.unwrap(),
        idempotency: None,
        webhook: None,
        has_global_secret: true,
        progress_min_interval: Duration::ZERO,
        fresh: FreshIds {
            epoch: notify_core::Epoch::from_random(9),
            endpoint: notify_core::EndpointId::from_random(9),
        },
    };
    let batch = Batch {
        operations: vec![Operation::Append(unheard)],
        ..Batch::default()
    };
    let written = behind.write(TokioClock::START, Arc::new(batch)).await;
    assert!(written.unwrap().answers[0].is_ok());
    // Reading on fails at first, and nobody else comes to read.
    fails.store(3, Ordering::SeqCst);
    notify(JobEvent::failed("x")).await.unwrap();
    let read: Vec<u64> = events
        .by_ref()
        .map(|record| record.sequence())
        .collect()
        .await;
    assert_eq!(read, [1, 2, 3]);
    assert_eq!(events.end_reason(), Some(EndReason::Terminal));
}
