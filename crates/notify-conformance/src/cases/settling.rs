//! Settles: who may say how an attempt ended, and what is kept of it.

use crate::ask;
use notify_core::Archive;
use std::time::Duration;

use notify_core::delivery::{DeadReason, DeliveryState, Lease, Outcome, Settle};
use notify_core::store::{Batch, StaleLease};
use notify_core::{Attempt, DeliveryId, JobEvent, Timestamp};

use super::StoreFactory;
use super::leasing::pending;
use super::rig::{Rig, completed, leased_sequences, secs, url};

use DeliveryState::{Dead, Delivered, Pending};

#[track_caller]
fn check_stale(settles: &[Result<(), StaleLease>]) {
    assert!(
        settles.iter().all(|settle| *settle == Err(StaleLease)),
        "{settles:?}"
    );
}

pub async fn a_lease_settles_once(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let id = leased.delivery().id;
    let settle = rig.end(leased, Outcome::Delivered);
    let gone = Settle {
        outcome: Outcome::Dead {
            reason: DeadReason::Gone,
        },
        ..settle.clone()
    };
    // Twice in one batch, and again later.
    let written = rig.settle_all(vec![settle.clone(), gone.clone()]).await;
    assert_eq!(written.settles, [Ok(()), Err(StaleLease)]);
    check_stale(&rig.settle_all(vec![settle, gone]).await.settles);
    let view = rig.delivery(id).await;
    assert_eq!((view.state, view.attempts.len()), (Delivered, 1));
    assert_eq!(rig.store.counters().await.unwrap().dead_letters, 0);
}

pub async fn an_old_lease_settles_nothing(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    for outcome in [
        Outcome::Retry {
            after: Duration::ZERO,
        },
        Outcome::Released,
        Outcome::Superseded,
    ] {
        let old = rig.claim_one().await;
        let id = old.delivery().id;
        let old = rig.end(old, outcome);
        assert_eq!(rig.settle_all(vec![old.clone()]).await.settles, [Ok(())]);
        let before = rig.delivery(id).await;
        let old = Settle {
            outcome: Outcome::Delivered,
            ..old
        };
        // Neither while nobody holds it, nor while someone else does.
        check_stale(&rig.settle_all(vec![old.clone()]).await.settles);
        let held = rig.claim_one().await;
        check_stale(&rig.settle_all(vec![old]).await.settles);
        assert_eq!(rig.delivery(id).await, before);
        rig.settle(held, Outcome::Released).await;
    }
}

pub async fn a_foreign_lease_settles_nothing(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    rig.accept(rig.append_for(&url("b"), "other", JobEvent::queued()))
        .await;
    let mut leased = rig.claim().await;
    let [other, own] =
        [leased.remove(1), leased.remove(0)].map(|leased| rig.end(leased, Outcome::Delivered));
    let forged = [
        Settle {
            lease: other.lease,
            ..own.clone()
        },
        Settle {
            lease: Lease::new(0),
            ..own.clone()
        },
        Settle {
            lease: Lease::new(u128::MAX),
            ..own.clone()
        },
        Settle {
            lease: Lease::new(own.lease.token() ^ (1 << 100)),
            ..own.clone()
        },
        Settle {
            delivery: DeliveryId::from_random(7),
            ..own.clone()
        },
    ];
    check_stale(&rig.settle_all(forged.into()).await.settles);
    assert_eq!(rig.pending().await, 2);
    assert_eq!(
        rig.settle_all(vec![own, other]).await.settles,
        [Ok(()), Ok(())]
    );
}

pub async fn a_stale_lease_leaves_the_rest_of_its_batch_alone(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    rig.accept(rig.append_for(&url("b"), "other", JobEvent::queued()))
        .await;
    let mut leased = rig.claim().await;
    let stale = rig.end(leased.remove(0), Outcome::Delivered);
    rig.settle_all(vec![stale.clone()]).await;
    let settles = vec![stale, rig.end(leased.remove(0), Outcome::Delivered)];
    let appends = vec![rig.append("third", JobEvent::queued())];
    let written = rig
        .write_batch(Batch {
            settles,
            operations: ask::appends(appends),
            ..Batch::default()
        })
        .await;
    assert_eq!(written.settles, [Err(StaleLease), Ok(())]);
    assert!(ask::appended(&written)[0].is_ok());
}

pub async fn what_is_given_back_can_be_leased_again(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    for outcome in [Outcome::Released, Outcome::Superseded] {
        let leased = rig.claim_one().await;
        let delivery = leased.delivery().clone();
        rig.settle(leased, outcome).await;
        assert!(rig.delivery(delivery.id).await.attempts.is_empty());
        let again = rig.claim_one().await;
        assert_eq!(*again.delivery(), delivery);
        rig.settle(again, Outcome::Released).await;
    }
}

pub async fn a_retry_counts_its_attempt(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    for made in 0..4 {
        let leased = rig.claim_one().await;
        let id = leased.delivery().id;
        assert_eq!(leased.delivery().attempts_made, made);
        let settle = rig.end(leased, Outcome::Retry { after: secs(1) });
        let attempt = Attempt {
            next_attempt_at: Some(rig.now().plus(secs(1))),
            ..settle.attempt.clone().unwrap()
        };
        rig.settle_all(vec![settle]).await;
        let view = rig.delivery(id).await;
        assert_eq!(
            (view.state, view.attempts.len()),
            (Pending, made as usize + 1)
        );
        assert_eq!(view.attempts.last(), Some(&attempt));
        rig.wait(secs(1));
    }
    let leased = rig.claim_one().await;
    let id = leased.delivery().id;
    rig.settle(leased, Outcome::Delivered).await;
    let view = rig.delivery(id).await;
    let numbers: Vec<_> = view.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!((view.state, numbers), (Delivered, vec![1, 2, 3, 4, 5]));
    assert_eq!(rig.deliveries("job").await, [view]);
}

pub async fn our_own_failure_counts_as_no_attempt(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let failed = rig.claim_one().await;
    let id = failed.delivery().id;
    rig.retry_in(failed, secs(1)).await;
    rig.wait(secs(1));
    // The job's end waits behind it, for far longer than it would for a receiver.
    rig.accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    let before = rig.delivery(id).await;
    for _ in 0..3 {
        let leased = rig.claim_one().await;
        assert_eq!(
            (leased.delivery().id, leased.delivery().attempts_made),
            (id, 1)
        );
        let due_at = rig.now().plus(secs(15));
        rig.settle(
            leased,
            Outcome::Postponed {
                after: due_at.since(rig.now()),
            },
        )
        .await;
        assert_eq!(rig.delivery(id).await, before);
        assert_eq!(rig.next_due().await, Some(due_at));
        rig.wait(secs(14));
        assert!(rig.claim().await.is_empty());
        rig.wait(secs(1));
    }
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().attempts_made, 1);
    rig.settle(leased, Outcome::Delivered).await;
    let view = rig.delivery(id).await;
    assert_eq!((view.state, view.attempts.len()), (Delivered, 2));
}

pub async fn what_only_failed_at_our_end_is_not_overtaken(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    for _ in 0..4 {
        let leased = rig.claim_one().await;
        assert_eq!(leased.delivery().record.sequence(), 1);
        let due_at = rig.now().plus(secs(60));
        rig.settle(
            leased,
            Outcome::Postponed {
                after: due_at.since(rig.now()),
            },
        )
        .await;
        rig.wait(secs(60));
    }
    assert_eq!(rig.states("job").await, [(1, Pending), (2, Pending)]);
    assert_eq!(rig.store.counters().await.unwrap().dead_letters, 0);
}

pub async fn an_attempt_is_kept_as_it_is(factory: &impl StoreFactory) {
    let rig = pending(factory).await;
    let leased = rig.claim_one().await;
    let id = leased.delivery().id;
    let attempt = Attempt {
        number: 1,
        at: Timestamp::from_millis(1_712_534_399_001),
        duration: Duration::from_millis(10_003),
        status: None,
        error: Some("connect: \"refused\"\u{fffd}\n".into()),
        snippet: Some("é".repeat(512)),
        next_attempt_at: None,
    };
    let after = secs(5);
    let settle = leased.settle(Outcome::Retry { after }, Some(attempt.clone()));
    let attempt = Attempt {
        next_attempt_at: Some(attempt.at.plus(attempt.duration + after)),
        ..attempt
    };
    rig.settle_all(vec![settle]).await;
    assert_eq!(rig.delivery(id).await.attempts, [attempt]);
}

pub async fn what_is_settled_is_no_longer_pending(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    for event in [JobEvent::queued(), JobEvent::queued(), completed()] {
        rig.accept(rig.append("job", event)).await;
    }
    for (sequence, outcome) in [
        (1, Outcome::Delivered),
        (
            2,
            Outcome::Dead {
                reason: DeadReason::Exhausted,
            },
        ),
    ] {
        let leased = rig.claim().await;
        assert_eq!(leased_sequences(&leased), [sequence]);
        for leased in leased {
            rig.settle(leased, outcome).await;
        }
    }
    assert_eq!(
        rig.states("job").await,
        [(1, Delivered), (2, Dead), (3, Pending)]
    );
    let counters = rig.store.counters().await.unwrap();
    assert_eq!((counters.pending_deliveries, counters.dead_letters), (1, 1));
}
