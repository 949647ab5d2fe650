//! Redelivery: how a dead letter gets another chance.

use crate::Ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::retention::Retention;
use notify_core::store::{DeadFilter, EndpointChange, List};
use notify_core::{DeliveryId, JobEvent};

use super::StoreFactory;
use super::dead_letters::{filters, graveyard, of};
use super::rig::{PLENTY, Rig, completed, job, secs, url};

use DeadReason::{Exhausted, Expired, Gone};

pub async fn a_redelivery_is_the_next_generation(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let id = rig.bury(&url("a"), "job", Exhausted).await;
    let event = rig.events("job").await.remove(0);
    for generation in 1..4 {
        rig.wait(secs(60));
        assert_eq!(rig.store.redeliver(rig.now(), of(id)).await, Ok(1));
        // It left the list; a second call meanwhile finds nothing.
        assert_eq!(rig.store.redeliver(rig.now(), of(id)).await, Ok(0));
        assert!(rig.dead(DeadFilter::default()).await.is_empty());
        let view = rig.delivery(id).await;
        assert_eq!(
            (view.state, view.generation),
            (DeliveryState::Pending, generation)
        );
        assert!(view.attempts.is_empty());
        assert_eq!(rig.pending().await, 1);

        let leased = rig.claim_one().await;
        assert_eq!(rig.store.redeliver(rig.now(), of(id)).await, Ok(0));
        let delivery = leased.delivery();
        assert_eq!(
            (delivery.id, delivery.generation, delivery.attempts_made),
            (id, generation, 0)
        );
        assert_eq!(
            (&delivery.record, delivery.accepted_at, delivery.due_at),
            (&event, rig.now(), rig.now())
        );
        assert_eq!(delivery.lane.redelivery, Some(id));
        // It returns if it fails, with what happened to this generation.
        rig.settle(leased, Outcome::Dead { reason: Exhausted })
            .await;
        let letter = rig.dead(of(id)).await.remove(0);
        assert_eq!((letter.attempts, letter.died_at), (1, rig.now()));
    }
    assert_eq!(rig.deliveries("job").await.len(), 1);
}

pub async fn a_redelivery_may_succeed(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let id = rig.bury(&url("a"), "job", Expired).await;
    rig.store
        .redeliver(rig.now(), DeadFilter::default())
        .await
        .unwrap();
    let leased = rig.claim_one().await;
    rig.retry_in(leased, secs(5)).await;
    assert!(rig.claim().await.is_empty());
    rig.wait(secs(5));
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().attempts_made, 1);
    rig.settle(leased, Outcome::Delivered).await;
    let view = rig.delivery(id).await;
    assert_eq!(
        (view.state, view.generation, view.attempts.len()),
        (DeliveryState::Delivered, 1, 2)
    );
    assert_eq!(rig.store.redeliver(rig.now(), of(id)).await, Ok(0));
}

pub async fn redelivering_takes_what_matches(factory: &impl StoreFactory) {
    for which in 0..4 {
        let (rig, ids) = graveyard(factory).await;
        let (filter, matching) = filters(&ids, &job("one"))[which].clone();
        assert_eq!(
            rig.store.redeliver(rig.now(), filter).await,
            Ok(matching.len() as u64)
        );
        for (nth, &id) in ids.iter().enumerate() {
            let revived = rig.delivery(id).await.state == DeliveryState::Pending;
            assert_eq!(revived, matching.contains(&nth));
        }
    }
}

pub async fn a_redelivery_is_a_lane_of_its_own(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    let first = rig.claim_one().await;
    rig.settle(first, Outcome::Delivered).await;
    rig.accept(rig.append("job", JobEvent::processing(2))).await;
    let progress = rig.claim_one().await;
    let id = progress.delivery().id;
    rig.settle(progress, Outcome::Dead { reason: Exhausted })
        .await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    // It neither waits behind the head, nor gives way, nor holds anything up.
    rig.store.redeliver(rig.now(), of(id)).await.unwrap();
    let again = rig.claim_one().await;
    assert_eq!(again.delivery().id, id);
    rig.retry_in(again, secs(10)).await;
    rig.accept(rig.append("job", completed())).await;
    rig.settle(head, Outcome::Delivered).await;
    let end = rig.claim_one().await;
    assert_eq!(end.delivery().record.sequence(), 4);
    rig.settle(end, Outcome::Delivered).await;
    rig.wait(secs(3_600));
    assert_eq!(rig.claim_one().await.delivery().id, id);
}

pub async fn a_redelivery_keeps_no_progress_waiting(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    let first = rig.claim_one().await;
    rig.settle(first, Outcome::Delivered).await;
    rig.accept(rig.append("job", JobEvent::processing(2))).await;
    let progress = rig.claim_one().await;
    rig.settle(progress, Outcome::Dead { reason: Exhausted })
        .await;
    rig.wait(secs(60));
    rig.store
        .redeliver(rig.now(), DeadFilter::default())
        .await
        .unwrap();
    let _held = rig.claim_one().await;
    let written = rig
        .write_and_lease(vec![rig.append("job", JobEvent::processing(3))])
        .await;
    assert_eq!(written.leased.len(), 1);
}

pub async fn a_redelivery_waits_for_its_endpoint(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.bury(&url("a"), "job", Gone).await;
    assert_eq!(
        rig.store.redeliver(rig.now(), DeadFilter::default()).await,
        Ok(1)
    );
    assert!(rig.claim().await.is_empty());
    let endpoint = rig.endpoint_id(&url("a")).await;
    let enable = EndpointChange::Enabled(true);
    rig.change_endpoint(endpoint, enable).await;
    assert_eq!(rig.claim().await.len(), 1);
}

/// A rig with a dead letter whose job is forgotten.
async fn orphan<F: StoreFactory>(factory: &F) -> (Rig<F::Store>, DeliveryId) {
    let rig = Rig::fresh(factory).await;
    let id = rig.bury(&url("a"), "job", Exhausted).await;
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(60));
    let retention = Retention {
        jobs: secs(60),
        dead_letters: secs(3_600),
        ..Retention::DEFAULT
    };
    assert_eq!(rig.trim(retention).await, 1);
    (rig, id)
}

pub async fn a_dead_letter_outlives_its_job(factory: &impl StoreFactory) {
    let (rig, id) = orphan(factory).await;
    assert!(rig.store.job(&job("job")).await.unwrap().is_none());
    let before = rig.dead(of(id)).await.remove(0);
    for _ in 0..2 {
        assert_eq!(rig.store.redeliver(rig.now(), of(id)).await, Ok(1));
        let leased = rig.claim_one().await;
        assert_eq!(leased.delivery().record.id(), before.event_id);
        assert_eq!(leased.delivery().endpoint.url, url("a"));
        rig.settle(leased, Outcome::Dead { reason: Exhausted })
            .await;
        let after = rig.dead(of(id)).await.remove(0);
        assert_eq!(
            (&after.payload, &after.job_id),
            (&before.payload, &before.job_id)
        );
    }
    rig.store.redeliver(rig.now(), of(id)).await.unwrap();
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    assert_eq!(rig.pending().await, 0);
    assert!(rig.store.job(&job("job")).await.unwrap().is_none());
}

pub async fn a_redelivery_goes_to_the_endpoint_of_today(factory: &impl StoreFactory) {
    let (rig, _) = orphan(factory).await;
    // Whether the endpoint was forgotten with the job or not: there is one at a URL.
    rig.accept(rig.append_for(&url("a"), "other", JobEvent::queued()))
        .await;
    let today = rig.endpoint_id(&url("a")).await;
    rig.store
        .redeliver(rig.now(), DeadFilter::default())
        .await
        .unwrap();
    let leased = rig.claim().await;
    assert_eq!(leased.len(), 2);
    assert!(
        leased
            .iter()
            .all(|leased| leased.delivery().lane.endpoint == today)
    );
    for leased in leased {
        rig.settle(leased, Outcome::Delivered).await;
    }
    assert_eq!(rig.endpoint_id(&url("a")).await, today);
    let endpoints = rig
        .store
        .endpoints(List {
            limit: PLENTY,
            cursor: None,
        })
        .await
        .unwrap();
    assert_eq!(endpoints.items.len(), 1);
}

pub async fn a_redelivery_does_not_touch_a_later_job_of_that_name(factory: &impl StoreFactory) {
    for job_comes_first in [true, false] {
        let (rig, id) = orphan(factory).await;
        if !job_comes_first {
            rig.store.redeliver(rig.now(), of(id)).await.unwrap();
        }
        let new = rig
            .accept(rig.append_for(&url("b"), "job", completed()))
            .await
            .record;
        if job_comes_first {
            rig.store.redeliver(rig.now(), of(id)).await.unwrap();
        }
        let (mut own, mut again) = (None, None);
        for leased in rig.claim().await {
            let is_own = leased.delivery().record == new;
            if is_own {
                own = Some(leased)
            } else {
                again = Some(leased)
            }
        }
        rig.settle(again.unwrap(), Outcome::Delivered).await;
        // What the later job has under way keeps it, and is its own.
        rig.wait(secs(86_400));
        let retention = Retention {
            jobs: secs(60),
            dead_letters: secs(60),
            ..Retention::DEFAULT
        };
        assert_eq!(rig.trim(retention).await, 0);
        assert_eq!(rig.sequences("job").await, [1]);
        assert_eq!(rig.states("job").await, [(1, DeliveryState::Pending)]);
        rig.settle(own.unwrap(), Outcome::Delivered).await;
        assert_eq!(rig.pending().await, 0);
        rig.wait(secs(60));
        assert_eq!(rig.trim(retention).await, 1);
    }
}
