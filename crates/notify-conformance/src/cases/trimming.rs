//! Retention: what is forgotten, when, and what never is.

use crate::Ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::retention::Retention;
use notify_core::store::{DeadFilter, EndpointChange, Store};
use notify_core::{JobEvent, Keyring, Secret};

use super::StoreFactory;
use super::endpoints::rotation;
use super::rig::{Rig, completed, job, secs, url};

const RETENTION: Retention = Retention {
    jobs: secs(60),
    dead_letters: secs(600),
    ..Retention::DEFAULT
};

async fn trim<S: Store>(rig: &Rig<S>) -> u64 {
    rig.trim(RETENTION).await
}

async fn is_known<S: Store>(rig: &Rig<S>, of: &str) -> bool {
    let view = rig.store.job(&job(of)).await.unwrap();
    assert_eq!(
        rig.store.read(&job(of), 0, 1).await.unwrap().is_some(),
        view.is_some()
    );
    view.is_some()
}

pub async fn a_finished_job_is_forgotten_whole(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", completed())).await;
    let leased = rig.claim_one().await;
    let delivery = leased.delivery().id;
    rig.settle(leased, Outcome::Delivered).await;
    rig.wait(secs(59));
    assert_eq!(trim(&rig).await, 0);
    assert!(is_known(&rig, "job").await);
    rig.wait(secs(1));
    assert_eq!(trim(&rig).await, 1);
    assert!(!is_known(&rig, "job").await);
    assert_eq!(rig.store.token(&job("job")).await, Ok(None));
    assert_eq!(rig.store.delivery(delivery).await, Ok(None));
    assert!(rig.deliveries("job").await.is_empty());
    assert_eq!(rig.store.counters().await.unwrap().jobs, 0);
    assert_eq!(trim(&rig).await, 0);
}

pub async fn retention_begins_with_the_last_settled_delivery(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for name in ["a", "b"] {
        rig.accept(rig.append_for(&url(name), "job", JobEvent::queued()))
            .await;
    }
    rig.accept(rig.append("job", completed())).await;
    for leased in rig.claim().await {
        rig.wait(secs(40));
        assert_eq!(trim(&rig).await, 0);
        rig.settle(leased, Outcome::Delivered).await;
    }
    rig.wait(secs(59));
    assert_eq!(trim(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(trim(&rig).await, 1);
}

pub async fn retention_begins_with_the_end_if_that_is_later(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
        .await;
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    rig.wait(secs(3_600));
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(59));
    assert_eq!(trim(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(trim(&rig).await, 1);
}

pub async fn a_running_job_is_never_forgotten(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.register(rig.registration("silent")).await.unwrap();
    rig.accept(rig.append_for(&url("a"), "running", JobEvent::processing(1)))
        .await;
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    rig.wait(secs(10 * 365 * 86_400));
    assert_eq!(trim(&rig).await, 0);
    assert!(is_known(&rig, "silent").await && is_known(&rig, "running").await);
}

pub async fn a_finished_job_with_something_pending_is_kept(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "waits", completed()))
        .await;
    rig.accept(rig.append_for(&url("b"), "leased", completed()))
        .await;
    let mut leased = rig.claim().await;
    rig.settle(leased.pop().unwrap(), Outcome::Released).await;
    rig.wait(secs(86_400));
    assert_eq!(trim(&rig).await, 0);
    assert!(is_known(&rig, "waits").await && is_known(&rig, "leased").await);
    assert_eq!(rig.pending().await, 2);
}

pub async fn dead_letters_have_their_own_retention(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.bury(&url("a"), "old", DeadReason::Exhausted).await;
    rig.accept(rig.append("old", completed())).await;
    rig.wait(secs(300));
    rig.bury(&url("a"), "new", DeadReason::Exhausted).await;
    assert_eq!(trim(&rig).await, 1);
    assert!(!is_known(&rig, "old").await);
    rig.wait(secs(299));
    assert_eq!(trim(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(trim(&rig).await, 1);
    let left = rig.dead(DeadFilter::default()).await;
    assert_eq!(
        left.iter()
            .map(|letter| letter.job_id.as_str())
            .collect::<Vec<_>>(),
        ["new"]
    );
    // The delivery is still what it was, as long as its job is known.
    assert_eq!(rig.states("new").await, [(1, DeliveryState::Dead)]);
}

pub async fn a_trim_keeps_to_its_limit(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for number in 0..7 {
        let name = format!("job-{number}");
        rig.bury(&url("a"), &name, DeadReason::Exhausted).await;
        rig.accept(rig.append(&name, completed())).await;
        rig.wait(secs(1));
    }
    rig.wait(secs(3_600));
    let mut counts = Vec::new();
    for _ in 0..8 {
        let trimmed = rig.store.trim(rig.now(), RETENTION, 1).await.unwrap();
        counts.push((trimmed.forgotten, trimmed.more));
        if counts.len() == 1 {
            // Those that ended first go first.
            assert!(!is_known(&rig, "job-0").await && is_known(&rig, "job-1").await);
        }
    }
    // A job and a dead letter at a time.
    let mut expected = [(2, true); 8];
    (expected[6], expected[7]) = ((2, false), (0, false));
    assert_eq!(counts, expected);
}

pub async fn a_job_of_many_rows_is_a_step_of_its_own(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let large = (0..40).map(|_| rig.append("large", JobEvent::queued()));
    rig.write(large.collect()).await;
    for name in ["large", "small-0", "small-1", "small-2"] {
        rig.accept(rig.append(name, completed())).await;
        rig.wait(secs(1));
    }
    rig.wait(secs(60));
    for expected in [(1, true), (3, false)] {
        let trimmed = rig.store.trim(rig.now(), RETENTION, 30).await.unwrap();
        assert_eq!((trimmed.forgotten, trimmed.more), expected);
    }
}

pub async fn a_dead_letter_of_a_clock_that_was_ahead_keeps_no_other(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let now = rig.now();
    rig.set(now.plus(secs(10 * 365 * 86_400)));
    rig.bury(&url("a"), "ahead", DeadReason::Exhausted).await;
    rig.set(now);
    for name in ["b", "c"] {
        rig.bury(&url("a"), name, DeadReason::Exhausted).await;
    }
    rig.wait(secs(600));
    assert_eq!(trim(&rig).await, 2);
    let left = rig.dead(DeadFilter::default()).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].job_id, job("ahead"));
    rig.set(now.plus(secs(11 * 365 * 86_400)));
    assert_eq!(trim(&rig).await, 1);
}

pub async fn a_redelivery_is_forgotten_with_its_job(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let dead = rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
    // So many more that a bounded list lets go of it.
    let more = (0..1_100).map(|_| rig.append_for(&url("a"), "job", JobEvent::processing(1)));
    rig.write(more.collect()).await;
    // The first of them, which is no progress, and the newest.
    for _ in 0..2 {
        let leased = rig.claim_one().await;
        rig.settle(leased, Outcome::Delivered).await;
    }
    let redelivered = rig.store.redeliver(rig.now(), DeadFilter::default()).await;
    assert_eq!(redelivered, Ok(1));
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().id, dead);
    rig.settle(leased, Outcome::Delivered).await;
    let listed = rig.deliveries("job").await;
    assert!(listed.iter().any(|delivery| delivery.id == dead));
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(60));
    assert_eq!(trim(&rig).await, 1);
    assert_eq!(rig.store.delivery(dead).await, Ok(None));
}

pub async fn a_redelivery_puts_retention_off(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(50));
    rig.store
        .redeliver(rig.now(), DeadFilter::default())
        .await
        .unwrap();
    rig.wait(secs(50));
    assert_eq!(trim(&rig).await, 0);
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    rig.wait(secs(59));
    assert_eq!(trim(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(trim(&rig).await, 1);
}

pub async fn a_forgotten_job_begins_anew(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    let old = rig
        .accept(rig.append("job", JobEvent::cancelled()))
        .await
        .record
        .id();
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    rig.wait(secs(60));
    trim(&rig).await;
    let appended = rig.accept(rig.append("job", JobEvent::queued())).await;
    let new = appended.record.id();
    assert_eq!(new.sequence(), 1);
    assert_ne!(new.epoch(), old.epoch());
    assert!(appended.lanes.is_empty());
    assert!(
        !rig.store
            .job(&job("job"))
            .await
            .unwrap()
            .unwrap()
            .registered
    );
}

pub async fn what_is_known_of_an_endpoint_outlives_its_jobs(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let secret = Keyring::new(Secret::parse("own").unwrap());
    let changes = [
        ("secret", rotation("own")),
        ("disabled", EndpointChange::Enabled(false)),
    ];
    for (name, change) in changes {
        rig.tell(name, &url(name)).await;
        let id = rig.endpoint_id(&url(name)).await;
        rig.change_endpoint(id, change).await;
        rig.tell(name, &url("other")).await;
        rig.accept(rig.append(name, completed())).await;
        let leased = rig.claim_one().await;
        rig.settle(leased, Outcome::Delivered).await;
    }
    rig.wait(secs(60));
    assert_eq!(trim(&rig).await, 2);
    let kept = rig
        .store
        .endpoint_at(&url("secret"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.keyring, Some(secret));
    assert!(
        !rig.store
            .endpoint_at(&url("disabled"))
            .await
            .unwrap()
            .unwrap()
            .enabled
    );
}

/// Within some hours: a store may note only now and then who is named.
pub async fn what_is_known_of_an_endpoint_that_nothing_names_goes_in_time(
    factory: &impl StoreFactory,
) {
    let rig = Rig::fresh(factory).await;
    for name in ["over", "told", "running"] {
        rig.tell(name, &url(name)).await;
        let id = rig.endpoint_id(&url(name)).await;
        rig.change_endpoint(id, rotation("own")).await;
    }
    for name in ["over", "told"] {
        rig.accept(rig.append(name, completed())).await;
    }
    for leased in rig.claim().await {
        rig.settle(leased, Outcome::Delivered).await;
    }
    let known = async || {
        let mut known = Vec::new();
        for name in ["over", "told", "running"] {
            if rig.store.endpoint_at(&url(name)).await.unwrap().is_some() {
                known.push(name);
            }
        }
        known
    };
    rig.wait(secs(60));
    assert_eq!(trim(&rig).await, 2);
    rig.wait(secs(300));
    // It has come to be named again, and its time begins anew.
    rig.tell("anew", &url("told")).await;
    rig.wait(secs(239));
    trim(&rig).await;
    assert_eq!(known().await, ["over", "told", "running"]);
    rig.wait(secs(3 * 3_600));
    trim(&rig).await;
    assert_eq!(known().await, ["told", "running"]);
}
