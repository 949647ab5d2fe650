//! A notifier that can't go on says so, whatever it was that failed.

use std::sync::atomic::{AtomicBool, Ordering};

use notify_core::store::StoreError;
use notify_core::transport::TransportError;
use notify_core::{Store, Transport};
use notify_hub::{Failure, JobEvent, JobSpec, MemoryStore, NotifyError};
use notify_tests::hooked_store::{HookedStore, Moment};

use super::*;

/// What befalls a call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Panics,
    LosesItsAnswer,
    /// From then on every call does.
    Fails,
}

/// What a caller may ask for that is written.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Notify,
    Register,
    Redeliver,
}

impl Asks {
    async fn of(self, notifier: &JobNotifier) {
        match self {
            Self::Notify => {
                let event = JobEvent::processing(1);
                drop(notifier.notify("job-1", event, None).await);
            }
            Self::Register => drop(notifier.create_job(JobSpec::default()).await),
            Self::Redeliver => drop(notifier.redeliver_all().await),
        }
    }
}

/// A store to which this happens the next time that it is asked for `call`, once
/// it is armed.
struct Trap {
    armed: Arc<AtomicBool>,
    store: HookedStore<MemoryStore>,
}

fn trap(call: &'static str, fate: Fate) -> Trap {
    let armed = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicBool::new(false));
    let hook = {
        let armed = Arc::clone(&armed);
        move |called: &'static str, moment: Moment| {
            let hit =
                called == call && moment == Moment::Before && armed.swap(false, Ordering::SeqCst);
            let failed = Arc::clone(&failed);
            async move {
                assert!(!(hit && fate == Fate::Panics), "a bug in a store");
                if hit && fate == Fate::Fails {
                    failed.store(true, Ordering::SeqCst);
                }
                if failed.load(Ordering::SeqCst) {
                    return Err(StoreError::Failed("the disk is gone".to_owned()));
                }
                if hit {
                    return Err(StoreError::OutcomeUnknown);
                }
                Ok(())
            }
        }
    };
    Trap {
        armed,
        store: HookedStore::new(MemoryStore::default(), hook),
    }
}

fn notifier(store: impl Store, clock: &TokioClock) -> JobNotifier {
    let transport = RecordingTransport::answering(|_, _| {
        Ok(WebhookResponse {
            status: 204,
            ..Default::default()
        })
    });
    let builder = JobNotifier::builder(config()).transport(transport);
    builder.store(store).clock(clock.clone()).build().unwrap()
}

/// Waits for the failure, which must come within seconds.
async fn failure(notifier: &JobNotifier) -> Failure {
    let failed = tokio::time::timeout(Duration::from_secs(5), notifier.failed()).await;
    assert!(failed.is_ok(), "it has not failed, or does not say so");
    let failure = failed.unwrap();
    assert!(!notifier.is_ready());
    // Nobody is left to wait, and nobody is told that all is well.
    let refused = notifier.notify("later", JobEvent::queued(), None).await;
    assert!(matches!(
        refused,
        Err(NotifyError::StoreFailed | NotifyError::NotReady(_))
    ));
    failure
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_in_any_call_is_the_end() {
    for (call, first) in [
        ("write", Asks::Notify),
        ("write", Asks::Register),
        ("write", Asks::Redeliver),
        ("claim", Asks::Notify),
        ("trim", Asks::Notify),
        ("clock_set", Asks::Notify),
        ("read", Asks::Notify),
        ("token", Asks::Notify),
    ] {
        for fate in [Fate::Panics, Fate::LosesItsAnswer, Fate::Fails] {
            let reads = matches!(call, "read" | "token");
            // A panic of a read is its caller's, and it has no answer to lose.
            if reads && fate != Fate::Fails {
                continue;
            }
            let Trap { armed, store } = trap(call, fate);
            let clock = TokioClock::new();
            let notifier = Arc::new(notifier(store, &clock));
            let mut followed = notifier.subscribe("job-1").await.unwrap();
            notifier
                .notify("job-1", JobEvent::queued(), Some(URL))
                .await
                .unwrap();
            followed.recv().await.unwrap();
            // What becomes of its webhook is written too.
            tokio::time::sleep(Duration::from_millis(10)).await;
            armed.store(true, Ordering::SeqCst);
            clock.set(TokioClock::START.plus(Duration::from_secs(3_600)));
            let calls = Arc::clone(&notifier);
            let calling = tokio::spawn(async move {
                first.of(&calls).await;
                for other in [Asks::Notify, Asks::Register, Asks::Redeliver] {
                    other.of(&calls).await;
                }
                let _ = calls.subscribe("job-2").await;
                calls.validate_job_token("job-1", "x").await
            });
            let failure = failure(&notifier).await;
            let why = failure.to_string();
            let expected = match fate {
                Fate::Panics => "it panicked: a bug in a store",
                Fate::LosesItsAnswer => "whether it was written is not known",
                Fate::Fails => "the store has failed: the disk is gone",
            };
            assert!(
                why.contains(expected),
                "{call} for {first:?}, {fate:?}: {why}"
            );
            calling.await.unwrap();
            while followed.recv().await.is_ok() {}
            notifier.shutdown(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_alone_is_not_the_end() {
    let store = HookedStore::new(MemoryStore::default(), |call, _| async move {
        if call == "read" {
            return Err(StoreError::Failed("one row is damaged".to_owned()));
        }
        Ok(())
    });
    let notifier = notifier(store, &TokioClock::new());
    let refused = notifier.subscribe("job-1").await;
    assert_eq!(refused.err(), Some(NotifyError::StoreFailed));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(notifier.is_ready());
    notifier
        .notify("job-1", JobEvent::queued(), None)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_costs_one_attempt() {
    struct Panics;
    impl Transport for Panics {
        async fn send(&self, _: WebhookRequest) -> Result<WebhookResponse, TransportError> {
            panic!("a bug in a transport")
        }
    }
    let builder = JobNotifier::builder(config()).transport(Panics);
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    let id = notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await;
    assert!(id.is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(notifier.is_ready());
    assert!(
        notifier
            .notify("job-1", JobEvent::queued(), None)
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_asked_for_is_seen_through_without_him() {
    let store = HookedStore::new(MemoryStore::default(), |call, moment| async move {
        if call == "write" && moment == Moment::After {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    });
    let sent = Arc::new(RecordingTransport::answering(|earlier, _| {
        Ok(WebhookResponse {
            status: if earlier.is_empty() { 500 } else { 204 },
            ..Default::default()
        })
    }));
    let config = NotifierConfig {
        max_retries: 0,
        ..config()
    };
    let builder = JobNotifier::builder(config).transport(Arc::clone(&sent));
    let notifier = builder
        .store(store)
        .clock(TokioClock::new())
        .build()
        .unwrap();
    let old = notifier.register_job("job-1").await.unwrap();
    let from = notify_hub::StartFrom::Beginning;
    let stream = notifier.subscribe_authorized("job-1", &old, from).await;
    let mut stream = stream.unwrap().unwrap();
    let short = Duration::from_millis(10);
    let gone = tokio::time::timeout(short, notifier.register_job("job-1")).await;
    assert!(gone.is_err());
    assert!(stream.recv().await.is_err());
    assert_eq!(
        stream.end_reason(),
        Some(notify_hub::EndReason::TokenReplaced)
    );

    notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(notifier.dead_letters().await.unwrap().len(), 1);
    let gone = tokio::time::timeout(short, notifier.redeliver_all()).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sent.requests().len(), 2);
}
