//! How many rows an event costs.

use super::*;

/// Rows that a batch of `batch` writes and deletes.
async fn cost(store: &SqliteStore, batch: Batch) -> (u64, Written) {
    let before = store.rows_written().await.unwrap();
    let written = write(store, NOW, batch).await;
    (store.rows_written().await.unwrap() - before, written)
}

#[tokio::test]
async fn an_event_costs_few_rows() {
    let bench = Bench::new();
    let store = bench.open();
    let jobs = 64;
    let names: Vec<String> = (0..jobs).map(|round| format!("job-{round}")).collect();
    let appends = |event: JobEvent| {
        let append = |to: &String| Operation::Append(bench.append_for("x", to, event.clone()));
        Batch {
            may_lease: plenty(),
            ..asking(names.iter().map(append))
        }
    };
    let settles = |leased: Vec<Leased>, outcome, status| Batch {
        settles: leased
            .into_iter()
            .map(|one| one.settle(outcome, Some(attempt(1, status))))
            .collect(),
        ..Batch::default()
    };
    // Job, event, delivery and its id; once the counters and the endpoint. Leasing
    // costs nothing.
    let (rows, written) = cost(&store, appends(JobEvent::queued())).await;
    assert_eq!((rows, written.leased.len()), (4 * jobs + 2, 64));
    // The delivery goes, its attempt comes.
    let delivered = settles(written.leased, Outcome::Delivered, 204);
    assert_eq!(cost(&store, delivered).await.0, 2 * jobs);
    // A failed attempt, and the delivery's row; nothing for being leased again.
    let (rows, written) = cost(&store, appends(JobEvent::processing(1))).await;
    assert_eq!(rows, 4 * jobs + 2);
    let after = Duration::ZERO;
    let retried = settles(written.leased, Outcome::Retry { after }, 500);
    assert_eq!(cost(&store, retried).await.0, 2 * jobs);
    let before = store.rows_written().await.unwrap();
    let leased = claim(&store, NOW).await;
    assert_eq!(leased.len(), 64);
    let released = leased
        .into_iter()
        .map(|one| one.settle(Outcome::Released, None));
    settle(&store, NOW, released.collect()).await;
    assert_eq!(store.rows_written().await.unwrap(), before);
    // Progress that is superseded before it could be sent has no row of its own.
    store.claim(NOW, Room::default(), 0).await.unwrap();
    let twice = |to: &String| {
        [2, 3].map(|percent| {
            let event = JobEvent::processing(percent);
            Operation::Append(bench.append_for("y", to, event))
        })
    };
    let (rows, written) = cost(&store, asking(names.iter().flat_map(twice))).await;
    assert_eq!(written.superseded, jobs);
    // The job, two events, one delivery, its id, the other's end and its id.
    assert_eq!(rows, 7 * jobs + 2);
}
