//! What a durable store still knows after it was closed, or abandoned, and
//! opened again: everything that it acknowledged, and no lease.

use crate::Ask;
use crate::rig::deliveries_of;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, DeliveryState, Outcome, Settle};
use notify_core::endpoint::EventFilter;
use notify_core::lane::OVERTAKEN_AFTER;
use notify_core::retention::Retention;
use notify_core::store::{
    DeadFilter, EndpointChange, Refusal, RegisterWebhook, Registration, Room, StaleLease, Store,
};
use notify_core::{DeliveryId, JobEvent, JobStatus, Keyring, Secret};

use super::endpoints::rotation;
use super::rig::{Rig, completed, everywhere, job, leased_sequences, secs, telling, url};
use super::snapshot::{endpoint_lines, snapshot};
use super::{DurableFactory, Restart};

/// A rig with something of everything, nothing leased, and its deliveries.
async fn full_house<F: DurableFactory>(factory: &F) -> (Rig<F::Store>, Vec<DeliveryId>) {
    let rig = Rig::fresh(factory).await;
    let webhook = RegisterWebhook {
        filter: EventFilter::only([JobStatus::Processing]),
        secret: Some(Secret::from_random([9; 32])),
        ..telling(&url("own"))
    };
    rig.register(Registration {
        webhook: Some(webhook),
        ..rig.registration("rich")
    })
    .await
    .unwrap();
    rig.bury(&url("gone"), "sad", DeadReason::Gone).await;
    let mut deliveries = vec![rig.bury(&url("bad"), "sad", DeadReason::Exhausted).await];
    rig.wait(secs(1));
    for progress in 0..7 {
        let append = rig.append_for(&url("named"), "rich", JobEvent::processing(progress));
        let accepted = rig.accept(append).await;
        deliveries.extend(deliveries_of(accepted.record.id()));
    }
    for (leased, outcome) in rig
        .claim()
        .await
        .into_iter()
        .zip([Outcome::Retry { after: secs(77) }, Outcome::Delivered])
    {
        rig.settle(leased, outcome).await;
    }
    rig.accept(rig.append_once("key", "rich", JobEvent::queued()))
        .await;
    rig.accept(rig.append("done", completed())).await;
    rig.wait(secs(1));
    (rig, deliveries)
}

pub async fn everything_that_can_be_read_is_kept(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let (mut rig, deliveries) = full_house(factory).await;
        let before = snapshot(&rig.store, rig.now(), &deliveries).await;
        let endpoints = endpoint_lines(&rig.store).await;
        for _ in 0..2 {
            rig = rig.restarted(factory, how).await;
            assert_eq!(
                snapshot(&rig.store, rig.now(), &deliveries).await,
                before,
                "{how:?}"
            );
            assert_eq!(endpoint_lines(&rig.store).await, endpoints, "{how:?}");
        }
    }
}

pub async fn an_acknowledged_event_survives_at_once(factory: &impl DurableFactory) {
    let mut rig = Rig::fresh(factory).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(
            rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
                .await
                .record
                .id(),
        );
        rig = rig.restarted(factory, Restart::Crash).await;
        let kept: Vec<_> = rig
            .events("job")
            .await
            .iter()
            .map(|record| record.id())
            .collect();
        assert_eq!(kept, ids);
        assert_eq!(rig.pending().await, ids.len() as u64);
    }
    // One epoch, no gap, no reuse.
    assert!(ids.iter().all(|id| id.epoch() == ids[0].epoch()));
    assert_eq!(rig.sequences("job").await, [1, 2, 3, 4, 5]);
}

pub async fn a_sequence_that_left_the_log_is_not_reused(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        for progress in 0..20 {
            rig.accept(rig.append("job", JobEvent::processing(progress)))
                .await;
        }
        let rig = rig.restarted(factory, how).await;
        assert_eq!(
            rig.accept(rig.append("job", JobEvent::processing(99)))
                .await
                .record
                .sequence(),
            21
        );
        let end = rig.accept(rig.append("job", completed())).await.record.id();
        let rig = rig.restarted(factory, how).await;
        let refused = rig.refuse(rig.append("job", JobEvent::queued())).await;
        assert_eq!(refused, Refusal::Finished { terminal: end });
        assert_eq!(rig.sequences("job").await, [1, 21, 22]);
    }
}

pub async fn leases_are_void_after_a_restart(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        for name in ["a", "b", "c"] {
            rig.accept(rig.append_for(&url(name), name, completed()))
                .await;
        }
        let held = rig.claim().await;
        let lines: Vec<_> = held
            .iter()
            .map(|leased| leased.delivery().clone())
            .collect();
        let old: Vec<Settle> = held
            .into_iter()
            .map(|leased| rig.end(leased, Outcome::Delivered))
            .collect();
        let rig = rig.restarted(factory, how).await;
        assert_eq!(
            rig.settle_all(old.clone()).await.settles,
            [Err(StaleLease); 3]
        );
        let again = rig.claim().await;
        let claimed: Vec<_> = again
            .iter()
            .map(|leased| leased.delivery().clone())
            .collect();
        assert_eq!(claimed, lines, "{how:?}");
        // Nor are they good again once someone else holds the deliveries.
        assert_eq!(rig.settle_all(old).await.settles, [Err(StaleLease); 3]);
        assert_eq!(rig.pending().await, 3);
        let settles = again
            .into_iter()
            .map(|leased| rig.end(leased, Outcome::Delivered));
        assert_eq!(rig.settle_all(settles.collect()).await.settles, [Ok(()); 3]);
    }
}

pub async fn what_waited_is_as_large_as_it_was(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        let large = |event: JobEvent| JobEvent {
            error: Some("x".repeat(1_000)),
            ..event
        };
        let append = rig.append_for(&url("again"), "again", large(JobEvent::queued()));
        rig.accept(append).await;
        let leased = rig.claim_one().await;
        let reason = DeadReason::Exhausted;
        rig.settle(leased, Outcome::Dead { reason }).await;
        assert_eq!(
            rig.store
                .redeliver(rig.now(), DeadFilter::default())
                .await
                .unwrap(),
            1
        );
        for (name, event) in [("a", JobEvent::queued()), ("b", JobEvent::processing(1))] {
            rig.accept(rig.append_for(&url(name), name, large(event)))
                .await;
        }
        let rig = rig.restarted(factory, how).await;
        for _ in 0..3 {
            let room = Room {
                bytes: 1_000,
                ..everywhere()
            };
            assert_eq!(rig.claim_with(room, 9).await.len(), 1, "{how:?}");
        }
    }
}

pub async fn a_settled_delivery_stays_settled(factory: &impl DurableFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    for event in [JobEvent::queued(), JobEvent::queued(), completed()] {
        rig.accept(rig.append("job", event)).await;
    }
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    let rig = rig.restarted(factory, Restart::Crash).await;
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().record.sequence(), 2);
    rig.settle(
        leased,
        Outcome::Dead {
            reason: DeadReason::Exhausted,
        },
    )
    .await;
    let rig = rig.restarted(factory, Restart::Crash).await;
    assert_eq!(leased_sequences(&rig.claim().await), [3]);
    use DeliveryState::{Dead, Delivered, Pending};
    assert_eq!(
        rig.states("job").await,
        [(1, Delivered), (2, Dead), (3, Pending)]
    );
}

pub async fn a_retry_keeps_its_due_time_and_attempts(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
            .await;
        let leased = rig.claim_one().await;
        rig.retry_in(leased, secs(30)).await;
        let due_at = rig.now().plus(secs(30));
        let rig = rig.restarted(factory, how).await;
        assert!(rig.claim().await.is_empty());
        assert_eq!(rig.next_due().await, Some(due_at));
        rig.wait(secs(30));
        let leased = rig.claim_one().await;
        assert_eq!(
            (leased.delivery().attempts_made, leased.delivery().due_at),
            (1, due_at)
        );
        assert_eq!(rig.delivery(leased.delivery().id).await.attempts.len(), 1);
    }
}

pub async fn the_minute_of_a_failing_event_runs_on(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        rig.tell("job", &url("a")).await;
        rig.accept(rig.append("job", JobEvent::queued())).await;
        let head = rig.claim_one().await;
        rig.accept(rig.append("job", completed())).await;
        rig.retry_in(head, secs(30)).await;
        let rig = rig.restarted(factory, how).await;
        rig.wait(secs(40));
        let head = rig.claim_one().await;
        rig.retry_in(head, secs(15)).await;
        rig.wait(OVERTAKEN_AFTER - secs(39));
        let written = rig.store.claim(rig.now(), everywhere(), 10).await.unwrap();
        assert_eq!(written.died, [DeadReason::Overtaken]);
        assert_eq!(leased_sequences(&written.leased), [2]);
    }
}

pub async fn keys_tokens_and_secrets_are_kept(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        let registration = Registration {
            webhook: Some(telling(&url("a"))),
            ..rig.registration("job")
        };
        let token = registration.token;
        rig.register(registration).await.unwrap();
        let id = rig.endpoint_id(&url("a")).await;
        let until = rig.now().plus(secs(60));
        let [old, new] = ["old", "new"].map(|text| Secret::parse(text).unwrap());
        let ring = Keyring::rotating(new, old, Some(until));
        for change in [
            rotation("old"),
            rotation("new"),
            EndpointChange::Enabled(false),
        ] {
            rig.change_endpoint(id, change).await;
        }
        let first = rig
            .accept(rig.append_once("key", "job", completed()))
            .await
            .record
            .id();

        let rig = rig.restarted(factory, how).await;
        assert_eq!(rig.store.token(&job("job")).await, Ok(Some(token)));
        let endpoint = rig.store.endpoint_at(&url("a")).await.unwrap().unwrap();
        assert_eq!(
            (endpoint.id, endpoint.enabled, endpoint.keyring.clone()),
            (id, false, Some(ring))
        );
        assert!(rig.claim().await.is_empty());
        let again = rig.append_once("key", "job", completed());
        assert_eq!(
            rig.refuse(again).await,
            Refusal::Duplicate {
                first,
                unsent: None
            }
        );
        let other = rig.append_once("key", "job", JobEvent::queued());
        assert_eq!(rig.refuse(other).await, Refusal::Conflict);
    }
}

pub async fn a_redelivery_survives(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        let id = rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
        let dead = rig.dead(DeadFilter::default()).await;
        let rig = rig.restarted(factory, how).await;
        assert_eq!(rig.dead(DeadFilter::default()).await, dead);
        assert_eq!(
            rig.store.redeliver(rig.now(), DeadFilter::default()).await,
            Ok(1)
        );
        let rig = rig.restarted(factory, how).await;
        assert_eq!(
            rig.store.redeliver(rig.now(), DeadFilter::default()).await,
            Ok(0)
        );
        let leased = rig.claim_one().await;
        assert_eq!(
            (leased.delivery().id, leased.delivery().generation),
            (id, 1)
        );
        assert_eq!(leased.delivery().lane.redelivery, Some(id));
        assert_eq!(leased.delivery().record.id(), dead[0].event_id);
    }
}

pub async fn what_was_forgotten_stays_forgotten(factory: &impl DurableFactory) {
    let rig = Rig::fresh(factory).await;
    rig.bury(&url("a"), "job", DeadReason::Exhausted).await;
    assert_eq!(
        rig.store
            .drop_dead_letters(rig.now(), DeadFilter::default())
            .await,
        Ok(1)
    );
    let rig = rig.restarted(factory, Restart::Crash).await;
    assert!(rig.dead(DeadFilter::default()).await.is_empty());
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(60));
    let retention = Retention {
        jobs: secs(60),
        dead_letters: secs(60),
        ..Retention::DEFAULT
    };
    assert_eq!(rig.trim(retention).await, 1);
    let rig = rig.restarted(factory, Restart::Crash).await;
    assert!(rig.store.job(&job("job")).await.unwrap().is_none());
    assert!(rig.deliveries("job").await.is_empty());
}

pub async fn retention_counts_from_before_the_restart(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        rig.accept(rig.append("job", completed())).await;
        rig.wait(secs(30));
        let rig = rig.restarted(factory, how).await;
        rig.wait(secs(29));
        let retention = Retention {
            jobs: secs(60),
            dead_letters: secs(60),
            ..Retention::DEFAULT
        };
        assert_eq!(rig.trim(retention).await, 0);
        rig.wait(secs(1));
        assert_eq!(rig.trim(retention).await, 1);
    }
}

pub async fn dead_letters_of_before_the_restart_make_room(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        for of in ["one", "two", "three"] {
            rig.bury(&url("a"), of, DeadReason::Exhausted).await;
        }
        let rig = rig.restarted(factory, how).await;
        rig.bury(&url("a"), "four", DeadReason::Exhausted).await;
        let retention = Retention {
            dead_letters_per_endpoint_max: 2,
            ..Retention::DEFAULT
        };
        assert_eq!(rig.trim(retention).await, 2, "{how:?}");
        let left = rig.dead(DeadFilter::default()).await;
        let left = left.iter().map(|letter| letter.job_id.as_str());
        assert_eq!(left.collect::<Vec<_>>(), ["four", "three"]);
    }
}

pub async fn a_crash_during_recovery_loses_nothing(factory: &impl DurableFactory) {
    let (mut rig, deliveries) = full_house(factory).await;
    for name in ["a", "b", "c"] {
        rig.accept(rig.append_for(&url(name), name, completed()))
            .await;
    }
    rig.wait(secs(3_600));
    let pending = rig.pending().await;
    let states = snapshot(&rig.store, rig.now(), &deliveries).await;
    let mut claimed = Vec::new();
    for limit in [0, 1, 2, 100] {
        rig = rig.restarted(factory, Restart::Crash).await;
        assert_eq!(rig.pending().await, pending);
        assert_eq!(snapshot(&rig.store, rig.now(), &deliveries).await, states);
        claimed = rig.claim_with(everywhere(), limit).await;
        assert!(claimed.len() <= limit);
    }
    // Everything but what waits behind another in its lane.
    assert!(claimed.len() >= 5, "{claimed:?}");
}
