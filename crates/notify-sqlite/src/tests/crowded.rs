//! Dead letters that have to make room, where it is found out who has how many.

use notify_core::retention::Retention;
use notify_core::store::{DeadFilter, Trimmed};

use super::*;

/// Events of `of` that can't be sent anywhere: each is a dead letter of its job.
async fn unsent(bench: &Bench, store: &SqliteStore, of: &str, count: usize) {
    let appends = (0..count).map(|_| {
        let refused = Webhook::Refused {
            url: "nowhere".to_owned(),
            reason: DeadReason::UrlInvalid,
        };
        Operation::Append(Append {
            webhook: Some(refused),
            ..bench.append(of, JobEvent::queued())
        })
    });
    write(store, NOW, asking(appends)).await;
}

async fn trim(store: &SqliteStore, per_endpoint_max: u64, rows_max: usize) -> Trimmed {
    let retention = Retention {
        dead_letters_per_endpoint_max: per_endpoint_max,
        ..Retention::DEFAULT
    };
    store.trim(NOW, retention, rows_max).await.unwrap()
}

async fn count(store: &SqliteStore, of: &str) -> u64 {
    let of = DeadFilter {
        job: Some(job(of)),
        ..DeadFilter::default()
    };
    store.count_dead_letters(of).await.unwrap()
}

#[tokio::test]
async fn what_came_to_no_endpoint_makes_room_for_what_else_its_job_has() {
    let bench = Bench::new();
    let store = bench.open();
    unsent(&bench, &store, "one", 3).await;
    unsent(&bench, &store, "two", 2).await;
    assert_eq!(trim(&store, 2, 100).await.crowded_out, 1);
    assert_eq!(
        (count(&store, "one").await, count(&store, "two").await),
        (2, 2)
    );
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

/// What comes and goes while the walk is under way is counted once.
#[tokio::test]
async fn many_are_counted_in_steps_beside_what_comes_and_goes() {
    let bench = Bench::new();
    let store = bench.open();
    unsent(&bench, &store, "many", 900).await;
    drop(store);
    let store = bench.open();
    let first = trim(&store, 895, 100).await;
    assert_eq!((first.crowded_out, first.more), (0, true));
    unsent(&bench, &store, "many", 10).await;
    // One step drops 64: what was counted already, and what was not yet.
    let sweep = Sweep::over(DeadFilter {
        job: Some(job("many")),
        ..DeadFilter::default()
    });
    let sweep = sweep.unwrap().rest(600, 910);
    ask(&store, NOW, Operation::DropDeadLetters(sweep))
        .await
        .unwrap();
    let before = count(&store, "many").await;
    assert!(before < 910 && before > 840, "{before}");
    let mut crowded_out = 0;
    loop {
        let trimmed = trim(&store, 840, 100).await;
        crowded_out += trimmed.crowded_out;
        if !trimmed.more {
            break;
        }
    }
    assert_eq!(
        (crowded_out, count(&store, "many").await),
        (before - 840, 840)
    );
}

#[tokio::test]
async fn what_is_rolled_back_makes_nobody_make_room() {
    let bench = Bench::new();
    let store = bench.open();
    unsent(&bench, &store, "job", 3).await;
    assert_eq!(trim(&store, 3, 100).await, Trimmed::default());
    store.limit_pages(true).await.unwrap();
    let large = JobEvent {
        error: Some("x".repeat(200_000)),
        ..JobEvent::queued()
    };
    let refused = Webhook::Refused {
        url: "nowhere".to_owned(),
        reason: DeadReason::UrlInvalid,
    };
    let append = Append {
        webhook: Some(refused),
        ..bench.append("job", large)
    };
    let written = store.write(NOW, Arc::new(asking([Operation::Append(append)])));
    assert_eq!(written.await.unwrap_err(), StoreError::Full);
    store.limit_pages(false).await.unwrap();
    assert_eq!(trim(&store, 3, 100).await, Trimmed::default());
    unsent(&bench, &store, "job", 1).await;
    assert_eq!(trim(&store, 3, 100).await.crowded_out, 1);
}
