//! Rows of what has happened: events, attempts, dead letters, idempotency keys.

use super::*;

#[tokio::test]
async fn a_damaged_event() {
    let bench = Bench::new();
    let store = alike(&bench, &["dead", "delivered", "waits", "sound"]).await;
    let (waits, leased): (Vec<_>, Vec<_>) = claim(&store, NOW)
        .await
        .into_iter()
        .partition(|one| one.delivery().lane.job == job("waits"));
    let released = waits
        .into_iter()
        .map(|one| one.settle(Outcome::Released, None));
    settle(&store, NOW, released.collect()).await;
    bench.tamper(
        "UPDATE events SET json = x'7b7d'
         WHERE job <> (SELECT id FROM jobs WHERE job_id = 'sound')",
    );
    accept(
        &store,
        bench.append_for("waits", "waits", JobEvent::failed("")),
    )
    .await;
    let settles = leased
        .into_iter()
        .map(|one| match one.delivery().lane.job.as_str() {
            "dead" => dead(one, DeadReason::Exhausted),
            _ => one.settle(Outcome::Delivered, Some(attempt(1, 204))),
        });
    let written = settle(&store, NOW, settles.collect()).await;
    assert!(written.settles.iter().all(Result::is_ok));
    assert_eq!(store.counters().await.unwrap().dead_letters, 0);
    let claimed = store.claim(NOW, plenty(), 1).await.unwrap();
    assert!(claimed.leased.is_empty() && !claimed.left_waiting.is_empty());
    let leased = claim(&store, NOW).await;
    assert_eq!(
        leased[0].delivery().record.sequence(),
        2,
        "the lane's next head"
    );
    names("events", store.read(&job("waits"), 0, 9).await);
    names("events", store.job(&job("dead")).await);
    names("events", store.jobs(None, all()).await);
    assert!(store.read(&job("sound"), 0, 9).await.is_ok());
    refuses_alone(&store, "", vec![], vec![append(&bench, "dead")]).await;
}

#[tokio::test]
async fn a_damaged_attempt() {
    let bench = Bench::new();
    let store = alike(&bench, &["dead", "delivered", "sound"]).await;
    let after = Duration::ZERO;
    let retry = |one: Leased| one.settle(Outcome::Retry { after }, Some(attempt(1, 500)));
    let leased = claim(&store, NOW).await;
    settle(&store, NOW, leased.into_iter().map(retry).collect()).await;
    bench.tamper(
        "UPDATE attempts SET error = 'none'
         WHERE job <> (SELECT id FROM jobs WHERE job_id = 'sound')",
    );
    let leased = claim(&store, NOW).await;
    let id = leased[0].delivery().id;
    let settles = leased
        .into_iter()
        .map(|one| match one.delivery().lane.job.as_str() {
            "dead" => one.settle(
                Outcome::Dead {
                    reason: DeadReason::Exhausted,
                },
                Some(attempt(2, 500)),
            ),
            _ => one.settle(Outcome::Delivered, Some(attempt(2, 204))),
        });
    let written = settle(&store, NOW, settles.collect()).await;
    assert!(written.settles.iter().all(Result::is_ok));
    let letters = store
        .dead_letters(DeadFilter::default(), all())
        .await
        .unwrap();
    assert_eq!(
        letters.items[0].history,
        [attempt(2, 500)],
        "what can be read"
    );
    names("attempts ", store.delivery(id).await);
    names(
        "attempts ",
        store.deliveries(&job("delivered"), all()).await,
    );
    assert!(store.deliveries(&job("sound"), all()).await.is_ok());
    assert_eq!(redeliver(&store, NOW).await, 1);
    assert!(
        store.delivery(id).await.is_ok(),
        "its earlier attempts have gone"
    );
}

#[tokio::test]
async fn a_damaged_dead_letter() {
    let bench = Bench::new();
    let store = all_dead(&bench, &["a", "b", "c"]).await;
    bench.tamper("UPDATE dead_letters SET died_at = 0 WHERE job_id = 'b'");
    names(
        "dead_letters",
        store.dead_letters(DeadFilter::default(), all()).await,
    );
    let of_c = DeadFilter {
        job: Some(job("c")),
        ..DeadFilter::default()
    };
    assert_eq!(
        store.dead_letters(of_c, all()).await.unwrap().items.len(),
        1
    );
    assert_eq!(redeliver(&store, NOW).await, 2);
    let leased = claim(&store, NOW).await;
    assert_eq!(jobs_of(&leased), ["a", "c"]);
    let dead = leased
        .into_iter()
        .map(|one| dead(one, DeadReason::Exhausted));
    settle(&store, NOW, dead.collect()).await;
    let drop_all = Operation::DropDeadLetters(Sweep::all());
    let dropped = ask(&store, NOW, drop_all).await.unwrap();
    assert!(matches!(dropped, Answer::Swept(swept) if swept.count == 2 && swept.rest.is_none()));
    assert_eq!(store.counters().await.unwrap().dead_letters, 1);
    store.trim(NOW, OVER, 100).await.unwrap();
    assert_eq!(store.counters().await.unwrap().dead_letters, 0);
}

/// A damaged letter does not end the walk of a step that it is left out of.
#[tokio::test]
async fn a_sweep_goes_on_past_a_damaged_letter() {
    let bench = Bench::new();
    let jobs: Vec<String> = (0..100).map(|round| format!("job-{round}")).collect();
    let names: Vec<&str> = jobs.iter().map(String::as_str).collect();
    let store = all_dead(&bench, &names).await;
    bench.tamper("UPDATE dead_letters SET died_at = 0 WHERE job_id IN ('job-0', 'job-50')");
    let mut sweep = Some(Sweep::all());
    let mut count = 0;
    while let Some(step) = sweep.take() {
        match ask(&store, NOW, Operation::DropDeadLetters(step)).await {
            Ok(Answer::Swept(swept)) => (count, sweep) = (count + swept.count, swept.rest),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(count, 98);
}

#[tokio::test]
async fn a_damaged_idempotency_key() {
    let bench = Bench::new();
    let store = bench.open();
    let keyed = |key: &str| {
        let event = JobEvent::queued();
        let key = IdempotencyKey::parse(key).unwrap();
        let append = Append {
            idempotency: Some((key, fingerprint(&event))),
            ..bench.append("a", event)
        };
        Operation::Append(append)
    };
    ask(&store, NOW, keyed("one")).await.unwrap();
    bench.tamper("UPDATE idempotency SET sequence = 7");
    let accepted = vec![keyed("two"), append(&bench, "a")];
    refuses_alone(&store, "idempotency", vec![keyed("one")], accepted).await;
    accept(&store, bench.append("a", JobEvent::failed(""))).await;
    store.trim(NOW, OVER, 100).await.unwrap();
    assert!(store.job(&job("a")).await.unwrap().is_none());
}
