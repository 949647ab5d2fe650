//! Endpoints that are sick: what waits there, for how long, and what of it a store
//! remembers.

use std::time::Duration;

use notify_core::JobEvent;
use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::endpoint::{Endpoint, Health};
use notify_core::retention::Retention;
use notify_core::store::{Batch, DeadFilter, EndpointChange, HealthNote, Store};

use super::rig::{PLENTY, Rig, completed, secs, url};
use super::{DurableFactory, Restart, StoreFactory};

const MAX_AGE: Duration = secs(100);

/// Notes how the endpoint at `name` is.
async fn note<S: Store>(rig: &Rig<S>, name: &str, health: Health) {
    let endpoint = rig.endpoint_id(&url(name)).await;
    let note = HealthNote { endpoint, health };
    rig.write_batch(Batch {
        health: vec![note],
        ..Batch::default()
    })
    .await;
}

async fn endpoint<S: Store>(rig: &Rig<S>, name: &str) -> Endpoint {
    let endpoint = rig.store.endpoint_at(&url(name)).await.unwrap();
    Endpoint::clone(&endpoint.unwrap())
}

/// Gives up what is too old; how much that is.
async fn expire<S: Store>(rig: &Rig<S>) -> u64 {
    let retention = Retention {
        jobs: Duration::MAX,
        dead_letters: Duration::MAX,
        max_age: MAX_AGE,
        ..Retention::DEFAULT
    };
    let mut expired = 0;
    loop {
        let trimmed = rig.store.trim(rig.now(), retention, PLENTY).await.unwrap();
        assert_eq!(trimmed.forgotten, 0);
        expired += trimmed.expired;
        if !trimmed.more {
            return expired;
        }
    }
}

/// An event for each of these endpoints, each of a job of its own.
async fn waiting<S: Store>(rig: &Rig<S>, names: &[&str]) {
    for (name, number) in names.iter().zip(0..) {
        let of = format!("{name}-{number}");
        rig.accept(rig.append_for(&url(name), &of, JobEvent::queued()))
            .await;
    }
}

pub async fn an_endpoint_is_sick_from_when_it_was_noted_until_it_is_well(
    factory: &impl StoreFactory,
) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a"]).await;
    assert_eq!(endpoint(&rig, "a").await.sick_since, None);
    // Of one that is well nothing is noted.
    note(&rig, "a", Health::Well).await;
    assert_eq!(endpoint(&rig, "a").await.well_since, None);
    let fell_sick = rig.now();
    note(&rig, "a", Health::Sick).await;
    rig.wait(secs(5));
    note(&rig, "a", Health::Sick).await;
    let sick = endpoint(&rig, "a").await;
    assert_eq!((sick.sick_since, sick.well_since), (Some(fell_sick), None));
    note(&rig, "a", Health::Well).await;
    let well = endpoint(&rig, "a").await;
    assert_eq!((well.sick_since, well.well_since), (None, Some(rig.now())));
}

pub async fn a_sick_endpoint_begins_with_one(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a", "a", "a", "b", "b"]).await;
    note(&rig, "a", Health::Sick).await;
    let leased = rig.claim().await;
    let to_a = |leased: &notify_core::delivery::Leased| leased.delivery().endpoint.url == url("a");
    let (mut probes, others): (Vec<_>, Vec<_>) = leased.into_iter().partition(to_a);
    assert_eq!((probes.len(), others.len()), (1, 2));
    let probe = probes.remove(0);
    assert_eq!(probe.delivery().lane.job.as_str(), "a-0", "the oldest");
    assert!(probe.delivery().endpoint.sick_since.is_some());
    // The same batch that says that it is well leases the rest.
    let endpoint = rig.endpoint_id(&url("a")).await;
    let settle = rig.end(probe, Outcome::Delivered);
    rig.write_batch(Batch {
        settles: vec![settle],
        health: vec![HealthNote {
            endpoint,
            health: Health::Well,
        }],
        ..Batch::default()
    })
    .await;
    let rest = rig.claim().await;
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[0].delivery().endpoint.sick_since, None);
}

pub async fn what_is_due_at_a_sick_endpoint_for_too_long_expires(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a", "b"]).await;
    rig.wait(secs(30));
    note(&rig, "a", Health::Sick).await;
    rig.wait(secs(50));
    waiting(&rig, &["x", "x", "a"]).await;
    // Since it fell sick, or since it is due if that is later.
    rig.wait(secs(50));
    assert_eq!(expire(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(expire(&rig).await, 1);
    let dead = rig.dead(DeadFilter::default()).await;
    assert_eq!((dead.len(), dead[0].reason), (1, DeadReason::Expired));
    assert_eq!(dead[0].job_id.as_str(), "a-0");
    rig.wait(secs(49));
    assert_eq!(expire(&rig).await, 0);
    rig.wait(secs(1));
    assert_eq!(expire(&rig).await, 1);
    // At a healthy one nothing is too old.
    assert_eq!(rig.pending().await, 3);
    assert_eq!(rig.claim().await.len(), 3);
}

pub async fn a_lane_expires_from_its_head_on(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    for _ in 0..9 {
        rig.accept(rig.append("job", JobEvent::queued())).await;
    }
    note(&rig, "a", Health::Sick).await;
    rig.wait(secs(60));
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(41));
    assert_eq!(expire(&rig).await, 9);
    let states = rig.states("job").await;
    let dead = states
        .iter()
        .filter(|(_, state)| *state == DeliveryState::Dead);
    assert_eq!(dead.count(), 9);
    assert_eq!(states.last(), Some(&(10, DeliveryState::Pending)));
    note(&rig, "a", Health::Well).await;
    assert_eq!(rig.claim_one().await.delivery().record.sequence(), 10);
}

pub async fn what_is_leased_or_not_yet_due_does_not_expire(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a", "a"]).await;
    let mut leased = rig.claim().await;
    note(&rig, "a", Health::Sick).await;
    rig.retry_in(leased.remove(0), secs(500)).await;
    rig.wait(secs(400));
    assert_eq!(expire(&rig).await, 0);
    // It has been due since long before it was leased.
    rig.settle(leased.remove(0), Outcome::Released).await;
    assert_eq!(expire(&rig).await, 1);
    rig.wait(secs(200));
    assert_eq!(expire(&rig).await, 0, "it is due for 100 s");
    rig.wait(secs(1));
    assert_eq!(expire(&rig).await, 1);
    assert_eq!(rig.pending().await, 0);
}

pub async fn what_waits_at_a_disabled_endpoint_is_kept_until_it_expires(
    factory: &impl StoreFactory,
) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a"]).await;
    let id = rig.endpoint_id(&url("a")).await;
    rig.change_endpoint(id, EndpointChange::Enabled(false))
        .await;
    assert_eq!(endpoint(&rig, "a").await.sick_since, Some(rig.now()));
    // That an attempt of before succeeds makes it no better.
    note(&rig, "a", Health::Well).await;
    assert!(endpoint(&rig, "a").await.sick_since.is_some());
    rig.wait(secs(90));
    rig.accept(rig.append_for(&url("a"), "later", JobEvent::queued()))
        .await;
    rig.wait(secs(11));
    assert_eq!(expire(&rig).await, 1);
    assert!(rig.claim().await.is_empty());
    // Enabled, it begins with its probe, and is well once that says so.
    rig.change_endpoint(id, EndpointChange::Enabled(true)).await;
    waiting(&rig, &["a", "a"]).await;
    let probe = rig.claim_one().await;
    assert_eq!(probe.delivery().lane.job.as_str(), "later");
    rig.settle(probe, Outcome::Delivered).await;
    note(&rig, "a", Health::Well).await;
    assert_eq!(endpoint(&rig, "a").await.sick_since, None);
    assert_eq!(rig.claim().await.len(), 2);
}

pub async fn a_receiver_that_is_gone_is_sick(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a", "a"]).await;
    let mut leased = rig.claim().await;
    let reason = DeadReason::Gone;
    rig.settle(leased.remove(0), Outcome::Dead { reason }).await;
    rig.settle(leased.remove(0), Outcome::Released).await;
    assert_eq!(endpoint(&rig, "a").await.sick_since, Some(rig.now()));
    rig.wait(secs(101));
    assert_eq!(expire(&rig).await, 1);
}

pub async fn a_failing_event_is_not_overtaken_while_its_endpoint_is_sick(
    factory: &impl StoreFactory,
) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let leased = rig.claim_one().await;
    rig.retry_in(leased, secs(1)).await;
    rig.accept(rig.append("job", completed())).await;
    note(&rig, "a", Health::Sick).await;
    rig.wait(secs(300));
    let probe = rig.claim_one().await;
    assert_eq!(probe.delivery().record.sequence(), 1);
    rig.retry_in(probe, secs(1)).await;
    // The minute begins anew when it is well.
    note(&rig, "a", Health::Well).await;
    rig.wait(secs(60));
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().record.sequence(), 1);
    let written = rig.retry_in(leased, secs(1)).await;
    assert_eq!(written.died, [DeadReason::Overtaken]);
    assert_eq!(rig.claim_one().await.delivery().record.sequence(), 2);
}

pub async fn a_redelivery_expires_as_anything_does(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let id = rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
    note(&rig, "a", Health::Sick).await;
    let all = DeadFilter::default;
    let now = rig.now();
    assert_eq!(crate::Ask::redeliver(&rig.store, now, all()).await, Ok(1));
    rig.wait(secs(101));
    assert_eq!(expire(&rig).await, 1);
    let dead = rig.dead(all()).await;
    assert_eq!((dead[0].id, dead[0].reason), (id, DeadReason::Expired));
}

pub async fn what_is_sick_is_sick_after_a_restart(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        waiting(&rig, &["a", "a", "b", "x"]).await;
        note(&rig, "a", Health::Sick).await;
        note(&rig, "b", Health::Sick).await;
        let x = rig.endpoint_id(&url("x")).await;
        rig.change_endpoint(x, EndpointChange::Enabled(false)).await;
        rig.wait(secs(50));
        note(&rig, "b", Health::Well).await;
        let before = [endpoint(&rig, "a").await, endpoint(&rig, "b").await];
        let rig = rig.restarted(factory, how).await;
        let after = [endpoint(&rig, "a").await, endpoint(&rig, "b").await];
        assert_eq!(before, after);
        // One of those that wait at the sick one is its probe.
        let leased = rig.claim().await;
        assert_eq!(leased.len(), 2);
        for leased in leased {
            rig.settle(leased, Outcome::Released).await;
        }
        rig.wait(secs(51));
        assert_eq!(expire(&rig).await, 3);
        assert_eq!(rig.claim_one().await.delivery().endpoint.url, url("b"));
    }
}

/// A store follows a clock that is set: an endpoint fell sick, or was well again, as
/// long ago as before, and never in what is now the future.
pub async fn health_goes_by_a_clock_that_is_set(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    waiting(&rig, &["a", "b"]).await;
    for name in ["a", "b"] {
        note(&rig, name, Health::Sick).await;
    }
    note(&rig, "b", Health::Well).await;
    rig.wait(secs(5));
    for to in [rig.now().minus(secs(86_400)), rig.now().plus(secs(86_400))] {
        let from = rig.now();
        rig.store.clock_set(ClockStep { from, to }).await.unwrap();
        rig.set(to);
        let five_secs_ago = Some(to.minus(secs(5)));
        assert_eq!(endpoint(&rig, "a").await.sick_since, five_secs_ago);
        assert_eq!(endpoint(&rig, "b").await.well_since, five_secs_ago);
    }
}

pub async fn what_fell_sick_in_the_future_expires_all_the_same(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        waiting(&rig, &["a"]).await;
        let right = rig.now();
        rig.set(right.plus(secs(86_400)));
        let id = rig.endpoint_id(&url("a")).await;
        rig.change_endpoint(id, EndpointChange::Enabled(false))
            .await;
        let rig = rig.restarted(factory, how).await;
        rig.set(right);
        assert_eq!(expire(&rig).await, 0);
        rig.wait(MAX_AGE + secs(1));
        assert_eq!(expire(&rig).await, 1, "{how:?}");
    }
}
