//! Running out of space, and giving it back.

use notify_core::retention::Retention;

use super::*;

fn cramped() -> SqliteOptions {
    SqliteOptions {
        min_free_bytes: u64::MAX,
        ..options()
    }
}

#[tokio::test]
async fn without_space_events_are_refused_and_settles_are_not() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::queued())).await;
    drop(store);
    let store = SqliteStore::open(bench.path(), cramped()).unwrap();
    let append = Operation::Append(bench.append("a", JobEvent::queued()));
    assert_eq!(ask(&store, NOW, append).await, Err(Refusal::NoSpace));
    let new = Operation::Register(Box::new(bench.registration("b", None)));
    assert_eq!(ask(&store, NOW, new).await, Err(Refusal::NoSpace));
    register(&store, bench.registration("a", None)).await;
    let leased = claim(&store, NOW).await.remove(0);
    let delivered = leased.settle(Outcome::Delivered, Some(attempt(1, 204)));
    assert_eq!(settle(&store, NOW, vec![delivered]).await.settles, [Ok(())]);
}

#[tokio::test]
async fn a_full_database_rolls_back_and_goes_on() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("x", "a", JobEvent::queued())).await;
    let leased = claim(&store, NOW).await.remove(0);
    let (id, after) = (leased.delivery().id, Duration::from_secs(5));
    let retry = leased.settle(Outcome::Retry { after }, Some(attempt(1, 503)));
    limit_pages(&store, true).await;
    let big = JobEvent::failed("x".repeat(200_000));
    let batch = || {
        let append = bench.append_for("x", "b", big.clone());
        Arc::new(Batch {
            settles: vec![retry.clone()],
            ..asking([Operation::Append(append)])
        })
    };
    let counted = store.counters().await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            store.write(NOW, batch()).await.unwrap_err(),
            StoreError::Full
        );
        assert!(store.job(&job("b")).await.unwrap().is_none());
        assert!(claim(&store, NOW).await.is_empty(), "it is still leased");
        assert_eq!(store.counters().await.unwrap(), counted);
    }
    limit_pages(&store, false).await;
    let written = store.write(NOW, batch()).await.unwrap();
    assert_eq!(written.settles, [Ok(())], "the lease is as before");
    assert!(written.answers[0].is_ok());
    assert_eq!(store.delivery(id).await.unwrap().unwrap().attempts.len(), 1);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn what_is_forgotten_gives_its_space_back() {
    let bench = Bench::new();
    let store = bench.open();
    for round in 0..100 {
        let event = JobEvent::failed("x".repeat(200_000));
        accept(&store, bench.append(&format!("job-{round}"), event)).await;
    }
    let retention = Retention {
        jobs: Duration::ZERO,
        dead_letters: Duration::ZERO,
        ..Retention::DEFAULT
    };
    for _ in 0..20 {
        store.trim(NOW, retention, 32).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::metadata(bench.database()).unwrap().len();
    assert!(bytes < 10_000_000, "{bytes} bytes are left of 20 MB");
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn the_log_is_folded_in_while_working() {
    let bench = Bench::new();
    let store = bench.open();
    for round in 0..200 {
        let event = JobEvent::failed("x".repeat(200_000));
        accept(&store, bench.append(&format!("job-{round}"), event)).await;
    }
    let wal = std::fs::metadata(bench.path().join("notify.db-wal")).unwrap();
    assert!(wal.len() < 20_000_000, "{} bytes", wal.len());
}

async fn limit_pages(store: &SqliteStore, to_what_there_is: bool) {
    store.limit_pages(to_what_there_is).await.unwrap();
}
