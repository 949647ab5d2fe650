//! What a restart brings back, and what it does not.

use notify_core::Keyring;
use notify_core::retention::Retention;
use notify_core::store::DeadFilter;

use super::*;

#[tokio::test]
async fn everything_but_leases_is_back() {
    let bench = Bench::new();
    let store = bench.open();
    let registered = register(&store, bench.registration("a", Some("own"))).await;
    assert!(registered.used_new_secret);
    let event = JobEvent::queued();
    let key = IdempotencyKey::parse("once").unwrap();
    let append = Append {
        idempotency: Some((key.clone(), fingerprint(&event))),
        ..bench.append_for("other", "a", event.clone())
    };
    let first = accept(&store, append.clone()).await;
    accept(&store, bench.append("a", JobEvent::processing(1))).await;
    let leased = claim(&store, NOW).await;
    assert_eq!(leased.len(), 2);
    let after = Duration::from_secs(30);
    let due_at = NOW.plus(after);
    let mut settles = Vec::new();
    for leased in leased {
        let one = attempt(1, 503);
        settles.push(if leased.delivery().endpoint.url == url("own") {
            leased.settle(Outcome::Retry { after }, Some(one))
        } else {
            dead(leased, DeadReason::Gone)
        });
    }
    settle(&store, NOW, settles).await;
    let before = snapshot(&store).await;
    drop(store);

    let store = bench.open();
    assert_eq!(snapshot(&store).await, before);
    assert_eq!(store.token(&job("a")).await.unwrap(), Some([7; 32]));
    let own = store.endpoint_at(&url("own")).await.unwrap().unwrap();
    let secret = Secret::parse("a secret of its own").unwrap();
    assert_eq!(own.keyring, Some(Keyring::new(secret)));
    let other = store.endpoint_at(&url("other")).await.unwrap().unwrap();
    assert!(!other.enabled);
    let again = ask(&store, NOW, Operation::Append(append)).await;
    let (first, unsent) = (first.record.id(), None);
    assert_eq!(again, Err(Refusal::Duplicate { first, unsent }));
    let claimed = store.claim(NOW, plenty(), 1_000).await.unwrap();
    assert!(claimed.leased.is_empty());
    assert_eq!(claimed.next_due_in, Some(after));
    let leased = claim(&store, due_at).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].delivery().attempts_made, 1);
    assert_eq!(redeliver(&store, due_at).await, 1);
    drop(store);
    let store = bench.open();
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 3);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn a_secret_that_would_now_be_refused_still_signs() {
    let bench = Bench::new();
    let store = bench.open();
    let secret = Secret::restore("taken earlier\n").unwrap();
    let mut registration = bench.registration("a", Some("own"));
    let webhook = registration.webhook.as_mut().unwrap();
    webhook.secret_if_new = Some(secret.clone());
    register(&store, registration).await;
    drop(store);
    let own = bench.open().endpoint_at(&url("own")).await.unwrap();
    assert_eq!(own.unwrap().keyring.clone(), Some(Keyring::new(secret)));
}

#[tokio::test]
async fn a_crash_leaves_what_was_answered() {
    let bench = Bench::new();
    let store = bench.open();
    for round in 0..50 {
        let to = format!("job-{round}");
        accept(&store, bench.append_for("x", &to, JobEvent::queued())).await;
    }
    let leased = claim(&store, NOW).await;
    let crashed = bench.dir.path().join("crashed");
    copy(&bench.path(), &crashed);
    let after = SqliteStore::open(&crashed, options()).unwrap();
    assert_eq!(claim(&after, NOW).await.len(), 50);
    // A lease of before the crash settles nothing after it.
    let settles = leased
        .into_iter()
        .map(|one| one.settle(Outcome::Delivered, None));
    let written = settle(&after, NOW, settles.collect()).await;
    assert!(written.settles.iter().all(Result::is_err));
    assert!(crate::check(&crashed).unwrap().is_sound());
}

#[tokio::test]
async fn a_due_time_beyond_reason_is_clamped() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::queued())).await;
    let leased = claim(&store, NOW).await.remove(0);
    let after = Duration::from_secs(365 * 86_400);
    let retry = leased.settle(Outcome::Retry { after }, Some(attempt(1, 503)));
    settle(&store, NOW, vec![retry]).await;
    drop(store);
    let clamped = NOW.plus(Duration::from_secs(29 * 3_600));
    let next_due = async |store: &SqliteStore, now: Timestamp| {
        let claimed = store.claim(now, plenty(), 1_000).await.unwrap();
        assert!(claimed.leased.is_empty());
        claimed.next_due_in.map(|wait| now.plus(wait))
    };
    // The second restart begins from what the first one wrote.
    for now in [NOW, NOW.plus(Duration::from_secs(3_600))] {
        let store = bench.open();
        assert_eq!(next_due(&store, now).await, Some(clamped));
    }
    assert_eq!(claim(&bench.open(), clamped).await.len(), 1);
}

#[tokio::test]
async fn progress_that_waits_outlives_its_place_in_the_log() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::processing(0))).await;
    accept(&store, bench.append_for("x", "a", JobEvent::processing(1))).await;
    for percent in 2..20 {
        accept(&store, bench.append("a", JobEvent::processing(percent))).await;
    }
    drop(store);
    let store = bench.open();
    let page = store.read(&job("a"), 0, 100).await.unwrap().unwrap();
    let kept: Vec<u64> = page.events.iter().map(|record| record.sequence()).collect();
    assert_eq!(kept, [1, 17, 18, 19, 20]);
    let leased = claim(&store, NOW).await;
    assert_eq!(leased[0].delivery().record.event().progress, Some(1));
}

#[tokio::test]
async fn a_redelivery_outlives_its_job() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::cancelled())).await;
    let leased = claim(&store, NOW).await.remove(0);
    let body = leased.delivery().record.webhook_body(&job("a"));
    settle(&store, NOW, vec![dead(leased, DeadReason::Exhausted)]).await;
    let retention = Retention {
        jobs: Duration::ZERO,
        dead_letters: Duration::MAX,
        ..Retention::DEFAULT
    };
    assert_eq!(store.trim(NOW, retention, 10).await.unwrap().forgotten, 1);
    assert!(store.job(&job("a")).await.unwrap().is_none());
    assert_eq!(redeliver(&store, NOW).await, 1);
    drop(store);
    let store = bench.open();
    let leased = claim(&store, NOW).await.remove(0);
    assert_eq!(leased.delivery().record.webhook_body(&job("a")), body);
    assert_eq!(leased.delivery().generation, 1);
    settle(&store, NOW, vec![leased.settle(Outcome::Delivered, None)]).await;
    assert_eq!(store.counters().await.unwrap(), Default::default());
    store.trim(NOW, retention, 10).await.unwrap();
    assert!(store.endpoints(all()).await.unwrap().items.is_empty());
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn an_endpoint_without_secrets_of_its_own_gets_none_from_a_restart() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::queued())).await;
    let id = store.endpoint_at(&url("x")).await.unwrap().unwrap().id;
    ask(&store, NOW, enable(id, false)).await.unwrap();
    drop(store);
    let store = bench.open();
    let endpoint = store.endpoint(id).await.unwrap().unwrap();
    assert_eq!((&endpoint.keyring, endpoint.enabled), (&None, false));
    assert!(claim(&store, NOW).await.is_empty());
    ask(&store, NOW, enable(id, true)).await.unwrap();
    assert_eq!(claim(&store, NOW).await.len(), 1);
}

/// What can be read, as text.
async fn snapshot(store: &SqliteStore) -> String {
    let page = store.read(&job("a"), 0, 100).await.unwrap().unwrap();
    let blocks: Vec<_> = page.events.iter().map(|record| record.block()).collect();
    format!(
        "{blocks:?} {:?} {:?} {:?} {:?} {:?}",
        store.jobs(None, all()).await.unwrap(),
        store.deliveries(&job("a"), all()).await.unwrap(),
        store
            .dead_letters(DeadFilter::default(), all())
            .await
            .unwrap(),
        store.endpoints(all()).await.unwrap(),
        store.counters().await.unwrap(),
    )
}
