//! Leases: who may attempt what, and when.

use crate::Ask;
use crate::ask;
use notify_core::Archive;
use notify_core::delivery::{DeadReason, Delivery, DeliveryState, Leased, Outcome};
use notify_core::map::IdMap;
use notify_core::store::{Batch, EndpointChange, Room};
use notify_core::{JobEvent, Store, Timestamp};

use super::StoreFactory;
use super::rig::{PLENTY, Rig, completed, everywhere, secs, url};

use DeliveryState::{Dead, Pending};

/// A rig with one event for one endpoint.
pub(super) async fn pending<F: StoreFactory>(factory: &F) -> Rig<F::Store> {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
        .await;
    rig
}

pub async fn what_is_leased_is_whole(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let appended = rig
        .accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    let accepted_at = rig.now();
    rig.wait(secs(5));
    let leased = rig.claim_one().await;
    let delivery = leased.delivery();
    assert_eq!(delivery.record, appended.record);
    assert_eq!(
        (&delivery.lane, &delivery.endpoint.url),
        (&appended.lanes[0], &url("a"))
    );
    assert_eq!(
        (delivery.accepted_at, delivery.due_at),
        (accepted_at, accepted_at)
    );
    assert_eq!((delivery.generation, delivery.attempts_made), (0, 0));
    let view = rig.delivery(delivery.id).await;
    assert_eq!((view.event_id, view.state), (appended.record.id(), Pending));
}

pub async fn a_delivery_is_leased_once(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let _held = rig.claim_one().await;
    rig.wait(secs(86_400));
    assert!(rig.claim().await.is_empty());
    let other = rig
        .write_and_lease(vec![rig.append_for(&url("a"), "other", JobEvent::queued())])
        .await;
    assert_eq!(other.leased.len(), 1);
    assert!(rig.claim().await.is_empty());
}

pub async fn nothing_is_leased_before_it_is_due(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let due_at = Timestamp::from_millis(rig.now().as_millis() + 30_017);
    let settles = vec![rig.end(
        leased,
        Outcome::Retry {
            after: due_at.since(rig.now()),
        },
    )];
    let written = rig
        .write_batch(Batch {
            settles,
            may_lease: everywhere(),
            ..Batch::default()
        })
        .await;
    assert!(written.leased.is_empty());
    assert_eq!(rig.next_due().await, Some(due_at));
    rig.wait(due_at.since(rig.now()) - std::time::Duration::from_millis(1));
    assert!(rig.claim().await.is_empty());
    rig.wait(std::time::Duration::from_millis(1));
    // What is due is no longer what falls due next.
    assert_eq!(rig.next_due().await, None);
    assert_eq!(rig.claim_one().await.delivery().due_at, due_at);
}

pub async fn next_due_is_the_earliest_of_heads_to_come(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    assert_eq!(rig.next_due().await, None);
    for (name, span) in [("a", 30), ("b", 10), ("c", 20)] {
        rig.accept(rig.append_for(&url(name), name, JobEvent::queued()))
            .await;
        let leased = rig.claim_one().await;
        assert_eq!(rig.next_due().await.is_some(), name != "a");
        rig.retry_in(leased, secs(span)).await;
        rig.accept(rig.append_for(&url(name), name, completed()))
            .await;
    }
    let start = rig.now();
    for (passed, next) in [(0, Some(10)), (10, Some(20)), (10, Some(30)), (10, None)] {
        rig.wait(secs(passed));
        assert_eq!(
            rig.next_due().await,
            next.map(|next| start.plus(secs(next)))
        );
    }
    assert_eq!(
        rig.store.counters().await.unwrap().oldest_due_at,
        Some(start.plus(secs(10)))
    );
}

pub async fn a_clock_that_jumps_back_leases_nothing_early(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let due_at = rig.now();
    rig.settle(leased, Outcome::Released).await;
    let before = Timestamp::from_millis(due_at.as_millis() - 60_000);
    let early = rig.store.claim(before, everywhere(), PLENTY).await.unwrap();
    assert!(early.leased.is_empty());
    assert_eq!(rig.store.next_due(before).await.unwrap(), Some(due_at));
    assert_eq!(rig.claim().await.len(), 1);
}

pub async fn a_claim_keeps_to_the_room_of_each_endpoint(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for number in 0..5 {
        for name in ["a", "b", "c"] {
            rig.accept(rig.append_for(&url(name), &format!("{name}-{number}"), JobEvent::queued()))
                .await;
            rig.wait(secs(1));
        }
    }
    let left = IdMap::from_iter([
        (rig.endpoint_id(&url("b")).await, 3),
        (rig.endpoint_id(&url("c")).await, 0),
    ]);
    let room = Room {
        each: 2,
        left,
        ..Room::default()
    };
    let jobs = |leased: Vec<Leased>| -> Vec<String> {
        leased
            .iter()
            .map(|leased| leased.delivery().lane.job.to_string())
            .collect()
    };
    // The oldest due first within an endpoint.
    let leased = rig.claim_with(room, PLENTY).await;
    assert_eq!(jobs(leased), ["a-0", "a-1", "b-0", "b-1", "b-2"]);
    assert!(rig.claim_with(Room::default(), PLENTY).await.is_empty());
    assert_eq!(rig.claim_with(everywhere(), 3).await.len(), 3);
    assert_eq!(rig.claim_with(everywhere(), 0).await.len(), 0);
    assert_eq!(rig.claim().await.len(), 15 - 5 - 3);
}

/// A bound in bytes is for all endpoints together, in a claim and in passing.
pub async fn nothing_is_leased_once_the_bytes_are_used_up(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let text = "x".repeat(1_000);
    let large = || JobEvent {
        error: Some(text.clone()),
        ..JobEvent::queued()
    };
    for name in ["a", "b", "c"] {
        rig.accept(rig.append_for(&url(name), name, large())).await;
        rig.wait(secs(1));
    }
    let room = |bytes| Room {
        bytes,
        ..everywhere()
    };
    assert!(rig.claim_with(room(0), PLENTY).await.is_empty());
    // What is begun is used up.
    assert_eq!(rig.claim_with(room(1), PLENTY).await.len(), 1);
    let written = rig
        .write_batch(Batch {
            operations: ask::appends(
                ["d", "e", "f"].map(|name| rig.append_for(&url(name), name, large())),
            ),
            may_lease: room(2 * Delivery::BYTES_MIN + 1_000),
            ..Batch::default()
        })
        .await;
    let leased = |of: &[Leased]| -> Vec<String> {
        let jobs = of.iter().map(|leased| &leased.delivery().lane.job);
        jobs.map(ToString::to_string).collect()
    };
    assert_eq!(leased(&written.leased), ["d", "e"]);
    let rest = rig
        .claim_with(room(2 * Delivery::BYTES_MIN + 1_000), PLENTY)
        .await;
    assert_eq!(leased(&rest), ["b", "c"]);
    assert_eq!(leased(&rig.claim().await), ["f"]);
}

pub async fn a_write_leases_where_there_is_room(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let a = rig.endpoint_id(&url("a")).await;
    rig.settle(leased, Outcome::Delivered).await;
    let names = ["a", "a", "a", "b", "b", "b"];
    let appends = names.iter().zip(0..).map(|(name, number)| {
        rig.append_for(&url(name), &format!("{name}-{number}"), JobEvent::queued())
    });
    let may_lease = Room {
        each: 1,
        left: IdMap::from_iter([(a, 2)]),
        ..Room::default()
    };
    let written = rig
        .write_batch(Batch {
            operations: ask::appends(appends),
            may_lease,
            ..Batch::default()
        })
        .await;
    let to_a = written
        .leased
        .iter()
        .filter(|leased| leased.delivery().endpoint.url == url("a"));
    assert_eq!((to_a.count(), written.leased.len()), (2, 3));
    assert_eq!(rig.claim().await.len(), 3);
}

pub async fn a_disabled_endpoint_is_not_attempted(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    rig.accept(rig.append_for(&url("b"), "other", JobEvent::queued()))
        .await;
    let a = rig.endpoint_id(&url("a")).await;
    let change = |enabled| {
        rig.store
            .change_endpoint(rig.now(), a, EndpointChange::Enabled(enabled))
    };
    assert!(!change(false).await.unwrap().unwrap().enabled);
    let written = rig
        .write_and_lease(vec![rig.append_for(&url("a"), "third", JobEvent::queued())])
        .await;
    assert!(written.leased.is_empty());
    assert_eq!(rig.claim_one().await.delivery().endpoint.url, url("b"));
    assert_eq!(rig.pending().await, 3);
    assert!(change(true).await.unwrap().unwrap().enabled);
    // It is asked gently: the next one comes when the first has been settled.
    for _ in 0..2 {
        rig.settle(rig.claim_one().await, Outcome::Delivered).await;
    }
}

pub async fn a_receiver_that_is_gone_is_disabled_at_once(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let settles = vec![rig.end(
        leased,
        Outcome::Dead {
            reason: DeadReason::Gone,
        },
    )];
    let appends = vec![
        rig.append_for(&url("a"), "other", JobEvent::queued()),
        rig.append_for(&url("a"), "job", completed()),
    ];
    let written = rig
        .write_batch(Batch {
            settles,
            operations: ask::appends(appends),
            may_lease: everywhere(),
            ..Batch::default()
        })
        .await;
    assert_eq!(written.died, [DeadReason::Gone]);
    assert!(written.leased.is_empty());
    assert!(rig.claim().await.is_empty());
    assert!(
        !rig.store
            .endpoint_at(&url("a"))
            .await
            .unwrap()
            .unwrap()
            .enabled
    );
    assert_eq!(rig.states("job").await, [(1, Dead), (2, Pending)]);
}

pub async fn only_gone_disables_an_endpoint(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for reason in DeadReason::ALL {
        let name = reason.as_str().replace('_', "-");
        rig.bury(&url(&name), &name, reason).await;
        let endpoint = rig.store.endpoint_at(&url(&name)).await.unwrap().unwrap();
        assert_eq!(endpoint.enabled, reason != DeadReason::Gone, "{reason}");
    }
}
