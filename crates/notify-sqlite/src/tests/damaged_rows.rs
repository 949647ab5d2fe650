//! One damaged row of each table, met by every operation that can meet it: only
//! what needs it is refused, by name, and all else goes on.

mod history;

use notify_core::retention::Retention;
use notify_core::store::DeadFilter;

use super::*;

/// Jobs that are alike, each with an event for an endpoint of its own name.
async fn alike(bench: &Bench, jobs: &[&str]) -> SqliteStore {
    let store = bench.open();
    for to in jobs {
        accept(&store, bench.append_for(to, to, JobEvent::queued())).await;
    }
    store
}

/// The same, of which each has become a dead letter after one attempt.
async fn all_dead(bench: &Bench, jobs: &[&str]) -> SqliteStore {
    let store = alike(bench, jobs).await;
    let leased = claim(&store, NOW).await;
    let dead = leased
        .into_iter()
        .map(|one| dead(one, DeadReason::Exhausted));
    settle(&store, NOW, dead.collect()).await;
    store
}

async fn damage(bench: &Bench, store: &SqliteStore, sql: &str) {
    bench.tamper(sql);
    store.forget_known().await.unwrap();
}

/// Puts to the store, in one batch, what needs the damaged row and then what
/// doesn't.
async fn refuses_alone(
    store: &SqliteStore,
    table: &str,
    refused: Vec<Operation>,
    accepted: Vec<Operation>,
) {
    let first = refused.len();
    let written = write(store, NOW, asking(refused.into_iter().chain(accepted))).await;
    for (place, answer) in written.answers.iter().enumerate() {
        match answer {
            Err(Refusal::Damaged(row)) if place < first => assert!(row.starts_with(table), "{row}"),
            Ok(_) if place >= first => {}
            other => panic!("{table}, operation {place}: {other:?}"),
        }
    }
}

#[track_caller]
fn names<T: std::fmt::Debug>(table: &str, read: Result<T, StoreError>) {
    match read {
        Err(StoreError::Damaged(row)) => assert!(row.contains(table), "{row}"),
        other => panic!("{table}: {other:?}"),
    }
}

fn jobs_of(leased: &[Leased]) -> Vec<&str> {
    let jobs = leased.iter().map(|one| one.delivery().lane.job.as_str());
    jobs.collect()
}

/// Both have had their time.
const OVER: Retention = Retention {
    jobs: Duration::ZERO,
    dead_letters: Duration::ZERO,
    ..Retention::DEFAULT
};

fn append(bench: &Bench, to: &str) -> Operation {
    Operation::Append(bench.append(to, JobEvent::queued()))
}

#[tokio::test]
async fn a_damaged_job() {
    let bench = Bench::new();
    let store = all_dead(&bench, &["a", "b"]).await;
    for to in ["a", "b"] {
        accept(&store, bench.append_for(to, to, JobEvent::queued())).await;
    }
    let leased = claim(&store, NOW).await;
    for to in ["a", "b"] {
        accept(&store, bench.append_for("later", to, JobEvent::failed(""))).await;
    }
    damage(
        &bench,
        &store,
        "UPDATE jobs SET created_at = 1 WHERE job_id = 'a'",
    )
    .await;

    let register = |of| Operation::Register(Box::new(bench.registration(of, None)));
    refuses_alone(
        &store,
        "jobs a",
        vec![append(&bench, "a"), register("a")],
        vec![register("b"), append(&bench, "c")],
    )
    .await;
    assert_eq!(redeliver(&store, NOW).await, 1);
    let delivered = leased
        .into_iter()
        .map(|one| one.settle(Outcome::Delivered, None));
    let written = settle(&store, NOW, delivered.collect()).await;
    assert_eq!(written.settles, [Ok(()), Ok(())]);
    let leased = claim(&store, NOW).await;
    assert_eq!(
        jobs_of(&leased),
        ["b", "b"],
        "the redelivery, and what came later"
    );
    let delivered = leased
        .into_iter()
        .map(|one| one.settle(Outcome::Delivered, None));
    settle(&store, NOW, delivered.collect()).await;
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 0);

    names("jobs a", store.job(&job("a")).await);
    names("jobs a", store.read(&job("a"), 0, 9).await);
    names("jobs a", store.token(&job("a")).await);
    names("jobs a", store.deliveries(&job("a"), all()).await);
    names("jobs a", store.jobs(None, all()).await);
    assert!(store.read(&job("b"), 0, 9).await.unwrap().is_some());
    store.trim(NOW, OVER, 100).await.unwrap();
    assert!(store.job(&job("b")).await.unwrap().is_none());
    names("jobs a", store.job(&job("a")).await);
    drop(store);
    accept(&bench.open(), bench.append("b", JobEvent::queued())).await;
}

#[tokio::test]
async fn a_damaged_endpoint() {
    let bench = Bench::new();
    let store = all_dead(&bench, &["a", "b"]).await;
    for to in ["told-a", "told-b"] {
        register(&store, bench.registration(to, Some(&to[5..]))).await;
    }
    // More that waits for the one than is looked at before the other's turn.
    for to in ["a1", "a2", "a3", "b1", "b2"] {
        accept(&store, bench.append_for(&to[..1], to, JobEvent::queued())).await;
    }
    let room = |each| Room {
        each,
        ..Room::default()
    };
    let leased = store.claim(NOW, room(1), 9).await.unwrap().leased;
    assert_eq!(jobs_of(&leased), ["a1", "b1"]);
    let [id_a, id_b] = [0, 1].map(|place: usize| leased[place].delivery().lane.endpoint);
    damage(
        &bench,
        &store,
        "UPDATE endpoints SET named_at = 99 WHERE url LIKE '%/a.%'",
    )
    .await;

    let told = |by| Operation::Append(bench.append_for(by, "new", JobEvent::queued()));
    let register = |of, by| Operation::Register(Box::new(bench.registration(of, Some(by))));
    refuses_alone(
        &store,
        "endpoints ep_",
        vec![
            told("a"),
            append(&bench, "told-a"),
            register("r", "a"),
            enable(id_a, true),
        ],
        vec![
            told("b"),
            append(&bench, "told-b"),
            register("r", "b"),
            enable(id_b, true),
        ],
    )
    .await;
    // What is for it waits, and keeps nobody else from being claimed.
    let limited = store.claim(NOW, room(1), 1).await.unwrap().leased;
    assert_eq!(jobs_of(&limited), ["b2"]);
    assert_eq!(redeliver(&store, NOW).await, 1);
    let mut rest = claim(&store, NOW).await;
    rest.sort_by_key(|one| one.delivery().lane.job.clone());
    assert_eq!(jobs_of(&rest), ["b", "new", "told-b"]);
    let after = Duration::from_secs(1);
    let mut settles = leased
        .into_iter()
        .map(|one| match one.delivery().lane.job.as_str() {
            "a1" => dead(one, DeadReason::Exhausted),
            _ => one.settle(Outcome::Retry { after }, Some(attempt(1, 500))),
        });
    let written = settle(&store, NOW, settles.by_ref().collect()).await;
    assert_eq!(written.settles, [Ok(()), Ok(())]);

    names("endpoints", store.endpoint(id_a).await);
    names("endpoints", store.endpoint_at(&url("a")).await);
    names("endpoints", store.endpoints(all()).await);
    names("endpoints", store.job(&job("told-a")).await);
    names("endpoints", store.deliveries(&job("a"), all()).await);
    assert!(store.endpoint(id_b).await.unwrap().is_some());
    assert!(store.job(&job("told-b")).await.is_ok());
    drop(store);
    let store = bench.open();
    store.trim(NOW, OVER, 100).await.unwrap();
    let jobs = |leased: Vec<Leased>| leased.len();
    assert_eq!(jobs(claim(&store, NOW.plus(after)).await), 5);
}

#[tokio::test]
async fn a_damaged_delivery() {
    let bench = Bench::new();
    let names_of = ["delivered", "retried", "dead", "waits", "sound"];
    let store = alike(&bench, &names_of).await;
    let leased = claim(&store, NOW).await;
    for to in names_of {
        accept(&store, bench.append_for(to, to, JobEvent::failed(""))).await;
    }
    let (waits, leased): (Vec<_>, Vec<_>) = leased
        .into_iter()
        .partition(|one| one.delivery().lane.job == job("waits"));
    let id_of_dead = leased[2].delivery().id;
    let released = waits
        .into_iter()
        .map(|one| one.settle(Outcome::Released, None));
    settle(&store, NOW, released.collect()).await;
    bench.tamper(
        "UPDATE deliveries SET due_at = 0 WHERE sequence = 1
           AND job <> (SELECT id FROM jobs WHERE job_id = 'sound')",
    );

    let after = Duration::from_secs(1);
    let settles = leased
        .into_iter()
        .map(|one| match one.delivery().lane.job.as_str() {
            "retried" => one.settle(Outcome::Retry { after }, Some(attempt(1, 500))),
            "dead" => dead(one, DeadReason::Exhausted),
            _ => one.settle(Outcome::Delivered, Some(attempt(1, 204))),
        });
    let batch = Batch {
        settles: settles.collect(),
        ..asking([append(&bench, "new")])
    };
    let written = write(&store, NOW, batch).await;
    assert!(written.settles.iter().all(Result::is_ok), "{written:?}");
    assert!(written.answers[0].is_ok());
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..2 {
        let leased = claim(&store, NOW).await;
        seen.extend(jobs_of(&leased).into_iter().map(str::to_owned));
    }
    seen.sort_unstable();
    let mut all_of_them = names_of;
    all_of_them.sort_unstable();
    assert_eq!(seen, all_of_them, "each lane goes on with its next head");

    let views = store.deliveries(&job("delivered"), all()).await.unwrap();
    assert_eq!(views.items[1].attempts.len(), 1, "its end is known");
    names("deliveries ", store.delivery(id_of_dead).await);
    names("deliveries ", store.deliveries(&job("dead"), all()).await);
    drop(store);
    let store = bench.open();
    let mut back = claim(&store, NOW).await;
    back.sort_by_key(|one| one.delivery().lane.job.clone());
    assert_eq!(jobs_of(&back), all_of_them);
    assert!(back.iter().all(|one| one.delivery().record.sequence() == 2));
    let delivered = back
        .into_iter()
        .map(|one| one.settle(Outcome::Delivered, None));
    settle(&store, NOW, delivered.collect()).await;
    store.trim(NOW, OVER, 1_000).await.unwrap();
    let jobs = store.jobs(None, all()).await.unwrap();
    assert_eq!(jobs.items.len(), 1, "only `new` has not ended");
}
