//! Endpoints that nothing names are forgotten in time, and no others.

use notify_core::retention::Retention;

use super::*;

const RETENTION: Retention = Retention {
    jobs: Duration::from_secs(86_400),
    dead_letters: Duration::from_secs(10 * 86_400),
    ..Retention::DEFAULT
};

/// Trims until there is no more to do.
async fn trim(store: &SqliteStore, now: Timestamp) {
    while store.trim(now, RETENTION, 100).await.unwrap().more {}
}

async fn names_of(store: &SqliteStore) -> Vec<String> {
    let endpoints = store.endpoints(all()).await.unwrap().items;
    let mut names: Vec<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.url.as_str()["https://".len()..].to_owned())
        .map(|url| url.split('.').next().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

#[tokio::test]
async fn what_nothing_names_is_forgotten() {
    let bench = Bench::new();
    let store = bench.open();
    for name in ["plain", "disabled", "secret", "delivered", "pending"] {
        accept(&store, bench.append_for(name, name, JobEvent::queued())).await;
        let id = store.endpoint_at(&url(name)).await.unwrap().unwrap().id;
        if name == "disabled" {
            ask(&store, NOW, enable(id, false)).await.unwrap();
        }
        if name == "secret" {
            let change = EndpointChange::Rotate {
                secret: Box::new(Secret::parse("a secret of its own").unwrap()),
                expire_old_after: Duration::ZERO,
            };
            let operation = Operation::ChangeEndpoint {
                endpoint: id,
                change,
            };
            ask(&store, NOW, operation).await.unwrap();
        }
    }
    register(&store, bench.registration("told", Some("told"))).await;
    for name in ["plain", "secret", "disabled"] {
        accept(&store, bench.append(name, JobEvent::failed(""))).await;
    }
    let leased = claim(&store, NOW).await;
    let settles = leased.into_iter().filter_map(|one| {
        let is_left = one.delivery().lane.job == job("pending");
        (!is_left).then(|| one.settle(Outcome::Delivered, Some(attempt(1, 204))))
    });
    settle(&store, NOW, settles.collect()).await;

    let everyone = [
        "delivered",
        "disabled",
        "pending",
        "plain",
        "secret",
        "told",
    ];
    trim(&store, NOW.plus(days(1))).await;
    assert_eq!(names_of(&store).await, everyone, "noted only once an hour");
    trim(&store, NOW.plus(days(2))).await;
    // What is delivered to `disabled` still waits there.
    let rest = ["delivered", "disabled", "pending", "secret", "told"];
    assert_eq!(names_of(&store).await, rest);
    trim(&store, NOW.plus(days(20))).await;
    assert_eq!(
        names_of(&store).await,
        ["delivered", "disabled", "pending", "told"]
    );
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}

/// The walk over what names endpoints takes several steps. What comes to name one
/// behind its back counts too.
#[tokio::test]
async fn one_that_is_named_while_it_is_looked_for_is_kept() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append_for("old", "old", JobEvent::failed(""))).await;
    let delivered = |one: Leased| one.settle(Outcome::Delivered, None);
    let leased = claim(&store, NOW).await;
    settle(&store, NOW, leased.into_iter().map(delivered).collect()).await;
    let append = |round: u32| {
        let to = format!("job-{round}");
        Operation::Append(bench.append_for("x", &to, JobEvent::queued()))
    };
    write(&store, NOW, asking((0..3_500).map(append))).await;

    // Without retention, so that it is not kept for having been named lately.
    let retention = Retention {
        jobs: Duration::ZERO,
        ..RETENTION
    };
    let later = NOW.plus(Duration::from_secs(1));
    let mut steps = 0;
    while store.trim(later, retention, 100).await.unwrap().more {
        steps += 1;
        if steps == 2 {
            let append = bench.append_for("old", "job-0", JobEvent::processing(1));
            let batch = Batch {
                may_lease: plenty(),
                ..asking([Operation::Append(append)])
            };
            let leased = write(&store, later, batch).await.leased;
            assert_eq!(leased.len(), 1);
            settle(&store, later, leased.into_iter().map(delivered).collect()).await;
        }
    }
    assert_eq!(steps, 2, "jobs and deliveries are walked over");
    assert_eq!(names_of(&store).await, ["old", "x"]);
    let later = later.plus(Duration::from_secs(3_600));
    while store.trim(later, retention, 100).await.unwrap().more {}
    assert_eq!(names_of(&store).await, ["old", "x"]);
    drop(store);
    assert!(crate::check(bench.path()).unwrap().is_sound());
}
