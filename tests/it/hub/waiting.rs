//! A store that can't take something now: what is kept for it, and who waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use notify_core::JobId;
use notify_core::delivery::DeliveryState;
use notify_core::store::{List, StoreError};
use notify_hub::{JobEvent, JobSpec, MemoryStore, NotifyError};
use notify_tests::hooked_store::{HookedStore, Moment};

use super::*;

/// How many of the next calls of each kind are answered with an error.
#[derive(Default)]
struct Refusals {
    /// Writes that pass before that.
    writes_first: AtomicUsize,
    writes: AtomicUsize,
    claims: AtomicUsize,
    refused: AtomicUsize,
}

impl Refusals {
    fn refuse(&self, call: &str) -> bool {
        let left = match call {
            "write" if take_one(&self.writes_first) => return false,
            "write" => &self.writes,
            "claim" => &self.claims,
            _ => return false,
        };
        let refused = take_one(left);
        self.refused
            .fetch_add(usize::from(refused), Ordering::SeqCst);
        refused
    }

    fn set(&self, writes: usize, claims: usize) {
        self.writes.store(writes, Ordering::SeqCst);
        self.claims.store(claims, Ordering::SeqCst);
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    taken.is_ok()
}

fn refusing(error: StoreError) -> (Rig, Arc<Refusals>) {
    let refusals = Arc::new(Refusals::default());
    let asked = Arc::clone(&refusals);
    let store = HookedStore::new(MemoryStore::default(), move |call, moment| {
        let refused = moment == Moment::Before && asked.refuse(call);
        let error = error.clone();
        let long = call == "trim" && asked.claims.load(Ordering::SeqCst) > 9;
        async move {
            if long && moment == Moment::Before {
                // Longer than any pause, so that a claim comes before a write too.
                tokio::time::sleep(Duration::from_millis(1_500)).await;
            }
            if refused { Err(error) } else { Ok(()) }
        }
    });
    let sent = Arc::new(RecordingTransport::answering(|_, _| {
        Ok(WebhookResponse {
            status: 204,
            ..Default::default()
        })
    }));
    let builder = JobNotifier::builder(config()).transport(Arc::clone(&sent));
    let builder = builder.store(store).clock(TokioClock::new());
    let notifier = builder.build().unwrap();
    (Rig { notifier, sent }, refusals)
}

async fn state_of(rig: &Rig, job: &str) -> DeliveryState {
    let list = List {
        limit: 9,
        cursor: None,
    };
    let store = rig.notifier.archive().unwrap();
    let listed = store.deliveries(&JobId::parse(job).unwrap(), list).await;
    listed.unwrap().items[0].state
}

const ALWAYS: usize = usize::MAX / 2;

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_a_store_that_is_held_for_a_moment() {
    let (rig, refusals) = refusing(StoreError::NotNow);
    rig.notifier.start().await.unwrap();
    refusals.set(4, 2);
    let begun = tokio::time::Instant::now();
    let queued = rig.notifier.notify("job-1", JobEvent::queued(), Some(URL));
    let processing = rig.notifier.notify("job-1", JobEvent::processing(1), None);
    let (queued, processing) = tokio::join!(queued, processing);
    assert_eq!(queued.unwrap().sequence(), 1);
    assert_eq!(processing.unwrap().sequence(), 2);
    assert_eq!(refusals.refused.load(Ordering::SeqCst), 6);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(rig.notifier.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_held_for_long_refuses_callers_and_loses_no_delivery() {
    for error in [StoreError::NotNow, StoreError::Full] {
        let (rig, refusals) = refusing(error.clone());
        rig.notifier.start().await.unwrap();
        rig.run_for(Duration::from_secs(1)).await;
        refusals.writes_first.store(1, Ordering::SeqCst);
        refusals.set(ALWAYS, 0);
        rig.notifier
            .notify("job-1", JobEvent::queued(), Some(URL))
            .await
            .unwrap();
        // Its settle is kept, and then nothing can be claimed either.
        rig.run_for(Duration::from_millis(50)).await;
        assert!(refusals.refused.load(Ordering::SeqCst) > 0);
        refusals.set(ALWAYS, ALWAYS);
        let begun = tokio::time::Instant::now();
        let expected = match error {
            StoreError::Full => NotifyError::StoreFull,
            _ => NotifyError::Overloaded {
                retry_after: Duration::from_secs(1),
            },
        };
        for _ in 0..20 {
            let asked = tokio::time::Instant::now();
            let refused = rig.notifier.notify("job-2", JobEvent::queued(), None).await;
            assert_eq!(refused.unwrap_err(), expected);
            assert!(asked.elapsed() <= Duration::from_secs(3));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let refused = rig.notifier.create_job(JobSpec::default()).await;
        assert_eq!(refused.unwrap_err(), expected);
        let refused = rig.notifier.redeliver_all().await;
        assert_eq!(refused.unwrap_err(), expected);
        assert!(rig.notifier.is_ready());
        assert!(rig.notifier.job("job-1").await.unwrap().is_some());
        let tries = refusals.refused.load(Ordering::SeqCst);
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(tries < 20 + 3 * seconds, "{tries} tries in {seconds} s");
        assert_eq!(state_of(&rig, "job-1").await, DeliveryState::Pending);

        refusals.set(0, 0);
        rig.run_for(Duration::from_secs(2)).await;
        assert_eq!(state_of(&rig, "job-1").await, DeliveryState::Delivered);
        assert_eq!(rig.sent.requests().len(), 1);
        let next = rig.notifier.notify("job-2", JobEvent::queued(), None).await;
        assert_eq!(next.unwrap().sequence(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_store_when_it_stops_is_answered() {
    let (rig, refusals) = refusing(StoreError::NotNow);
    rig.notifier.start().await.unwrap();
    refusals.set(3, 0);
    let waits = rig.notifier.notify("job-1", JobEvent::queued(), None);
    let stops = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        rig.notifier.shutdown(Duration::ZERO).await;
    };
    let (answer, ()) = tokio::join!(waits, stops);
    assert_eq!(answer.unwrap().sequence(), 1);
}

#[tokio::test(start_paused = true)]
async fn retention_keeps_up_with_what_ends() {
    let mut config = config();
    config.store.retention = notify_hub::Span(Duration::from_secs(20));
    let clock = TokioClock::new();
    let builder = JobNotifier::builder(config).transport(RecordingTransport::default());
    let notifier = builder.clock(clock).build().unwrap();
    let count = async || notifier.archive().unwrap().counters().await.unwrap().jobs;
    for second in 0..40 {
        for number in 0..1_000 {
            let job = format!("job-{second}-{number}");
            let ended = notifier.notify(&job, JobEvent::cancelled(), None).await;
            ended.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let kept = count().await;
    assert!((20_000..24_000).contains(&kept), "{kept}");
    tokio::time::sleep(Duration::from_secs(22)).await;
    assert_eq!(count().await, 0);
}
