//! A bug in deciding: it costs the one whose wish brings it to light, and nobody
//! else.

use super::*;

#[tokio::test]
async fn an_operation_over_which_deciding_panics_is_refused_alone() {
    let bench = Bench::new();
    let store = bench.open();
    store.panic_at(Some(job("b"))).await.unwrap();
    let appends = ["a", "b", "c", "b", "a"]
        .map(|to| Operation::Append(bench.append_for("x", to, JobEvent::queued())));
    let register = Operation::Register(Box::new(bench.registration("b", None)));
    let batch = Batch {
        may_lease: plenty(),
        ..asking(appends.into_iter().chain([register]))
    };
    let written = write(&store, NOW, batch).await;
    let internal = Err(Refusal::Internal);
    let refused: Vec<bool> = written.answers.iter().map(|one| *one == internal).collect();
    assert_eq!(refused, [false, true, false, true, false, true]);
    assert_eq!(written.leased.len(), 2);
    assert!(store.job(&job("b")).await.unwrap().is_none());
    assert_eq!(store.counters().await.unwrap().jobs, 2);
    let page = store.read(&job("a"), 0, 10).await.unwrap().unwrap();
    assert_eq!(page.events.len(), 2);

    store.panic_at(None).await.unwrap();
    accept(&store, bench.append("b", JobEvent::queued())).await;
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

#[tokio::test]
async fn a_settle_over_which_deciding_panics_is_dropped_and_its_delivery_set_aside() {
    let bench = Bench::new();
    let store = bench.open();
    for to in ["a", "b", "c"] {
        accept(&store, bench.append_for("x", to, JobEvent::queued())).await;
    }
    let leased = claim(&store, NOW).await;
    store.panic_at(Some(job("b"))).await.unwrap();
    let of_b = leased
        .iter()
        .position(|leased| leased.delivery().lane.job == job("b"));
    let delivered = |leased: Leased| leased.settle(Outcome::Delivered, Some(attempt(1, 204)));
    let batch = Batch {
        settles: leased.into_iter().map(delivered).collect(),
        ..asking([Operation::Append(bench.append("d", JobEvent::queued()))])
    };
    let written = write(&store, NOW, batch).await;
    for (place, settled) in written.settles.iter().enumerate() {
        assert_eq!(settled.is_err(), Some(place) == of_b, "{place}");
    }
    assert!(written.answers[0].is_ok());
    store.panic_at(None).await.unwrap();
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 0);
    drop(store);
    // It is still there, for whoever has mended the bug.
    let leased = claim(&bench.open(), NOW).await;
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].delivery().lane.job, job("b"));
}

#[tokio::test]
async fn a_lane_over_which_claiming_panics_keeps_no_other() {
    let bench = Bench::new();
    let store = bench.open();
    for to in ["a", "b", "c"] {
        accept(&store, bench.append_for("x", to, JobEvent::queued())).await;
    }
    store.panic_at(Some(job("b"))).await.unwrap();
    let jobs: Vec<JobId> = claim(&store, NOW)
        .await
        .iter()
        .map(|leased| leased.delivery().lane.job.clone())
        .collect();
    assert_eq!(jobs, [job("a"), job("c")]);
    assert!(claim(&store, NOW).await.is_empty());
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 2);
}
