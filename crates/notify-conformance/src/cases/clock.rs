//! A clock that is set, or was wrong in an earlier life: nobody waits for it, and
//! nothing is older for it.

use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadReason, Outcome};
use notify_core::lane::OVERTAKEN_AFTER;
use notify_core::store::Store;
use notify_core::{JobEvent, Timestamp};

use super::rig::{INTERVAL, Rig, completed, everywhere, leased_sequences, secs, url};
use super::{DurableFactory, Restart, StoreFactory};

const DAY: Duration = secs(86_400);

/// Sets the clock back or forward by a day.
async fn set<S: Store>(rig: &Rig<S>, back: bool) {
    let from = rig.now();
    let to = if back {
        Timestamp::from_millis(from.as_millis() - 86_400_000)
    } else {
        from.plus(DAY)
    };
    rig.set(to);
    rig.store.clock_set(ClockStep { from, to }).await.unwrap();
}

pub async fn a_clock_set_back_lengthens_no_wait(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for name in ["a", "b"] {
        rig.accept(rig.append_for(&url(name), name, JobEvent::queued()))
            .await;
    }
    let mut leased = rig.claim().await;
    rig.retry_in(leased.pop().unwrap(), secs(5)).await;
    rig.retry_in(leased.pop().unwrap(), secs(30)).await;
    rig.wait(secs(10));
    set(&rig, true).await;
    assert_eq!(rig.next_due().await, Some(rig.now().plus(secs(20))));
    // What was due stays so.
    rig.claim_one().await;
    rig.wait(secs(19));
    assert!(rig.claim().await.is_empty());
    rig.wait(secs(1));
    rig.claim_one().await;
}

pub async fn a_clock_set_back_ends_no_lease(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
        .await;
    let leased = rig.claim_one().await;
    set(&rig, true).await;
    assert!(rig.claim().await.is_empty());
    rig.settle(leased, Outcome::Delivered).await;
    assert_eq!(rig.pending().await, 0);
}

pub async fn a_clock_set_back_holds_no_progress(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    for percent in [1, 2] {
        rig.accept(rig.append("job", JobEvent::processing(percent)))
            .await;
        let leased = rig.claim_one().await;
        rig.settle(leased, Outcome::Delivered).await;
    }
    set(&rig, true).await;
    rig.accept(rig.append("job", JobEvent::processing(3))).await;
    assert!(rig.claim().await.is_empty());
    rig.wait(INTERVAL);
    rig.claim_one().await;
}

pub async fn a_clock_set_forward_makes_due_what_has_fallen_due(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", JobEvent::queued()))
        .await;
    let leased = rig.claim_one().await;
    rig.retry_in(leased, secs(3_600)).await;
    set(&rig, false).await;
    rig.claim_one().await;
}

pub async fn an_event_is_overtaken_after_a_minute_by_any_clock(factory: &impl StoreFactory) {
    for back in [true, false] {
        let rig = Rig::fresh(factory).await;
        rig.tell("job", &url("a")).await;
        rig.accept(rig.append("job", JobEvent::queued())).await;
        let head = rig.claim_one().await;
        rig.accept(rig.append("job", completed())).await;
        rig.retry_in(head, secs(20)).await;
        rig.wait(secs(30));
        set(&rig, back).await;
        let head = rig.claim_one().await;
        assert_eq!(head.delivery().record.sequence(), 1, "back: {back}");
        rig.retry_in(head, secs(20)).await;
        rig.wait(OVERTAKEN_AFTER - secs(29));
        let written = rig.store.claim(rig.now(), everywhere(), 10).await.unwrap();
        assert_eq!(written.died, [DeadReason::Overtaken], "back: {back}");
        assert_eq!(leased_sequences(&written.leased), [2]);
    }
}

pub async fn a_wait_is_no_longer_for_a_clock_that_was_ahead(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        for name in ["a", "b"] {
            rig.accept(rig.append_for(&url(name), name, JobEvent::queued()))
                .await;
        }
        let right = rig.now();
        rig.set(right.plus(DAY));
        let mut leased = rig.claim().await;
        rig.retry_in(leased.pop().unwrap(), secs(5)).await;
        rig.retry_in(leased.pop().unwrap(), secs(30)).await;
        let rig = rig.restarted(factory, how).await;
        rig.set(right);
        assert_eq!(rig.next_due().await, Some(right.plus(secs(5))), "{how:?}");
        rig.wait(secs(4));
        // A second restart begins from what the first one left.
        let rig = rig.restarted(factory, how).await;
        assert!(rig.claim().await.is_empty());
        rig.wait(secs(1));
        rig.claim_one().await;
        rig.wait(secs(25));
        rig.claim_one().await;
    }
}

pub async fn nothing_is_overtaken_for_time_that_nobody_saw(factory: &impl DurableFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    rig.accept(rig.append("job", completed())).await;
    rig.retry_in(head, secs(1)).await;
    let rig = rig.restarted(factory, Restart::Crash).await;
    // The machine slept, or its clock is ahead.
    rig.wait(40 * DAY);
    let head = rig.claim_one().await;
    assert_eq!(head.delivery().record.sequence(), 1);
    rig.retry_in(head, secs(1)).await;
    rig.wait(OVERTAKEN_AFTER + secs(1));
    let written = rig.store.claim(rig.now(), everywhere(), 10).await.unwrap();
    assert_eq!(written.died, [DeadReason::Overtaken]);
    assert_eq!(leased_sequences(&written.leased), [2]);
}

pub async fn a_clock_that_was_ahead_holds_no_lane(factory: &impl DurableFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    let right = rig.now();
    rig.set(right.plus(DAY));
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    rig.accept(rig.append("job", completed())).await;
    rig.retry_in(head, secs(20)).await;
    let rig = rig.restarted(factory, Restart::Crash).await;
    rig.set(right);
    assert!(rig.claim().await.is_empty());
    rig.wait(OVERTAKEN_AFTER + secs(1));
    let written = rig.store.claim(rig.now(), everywhere(), 10).await.unwrap();
    assert_eq!(written.died, [DeadReason::Overtaken]);
    assert_eq!(leased_sequences(&written.leased), [2]);
}
