//! Order: what waits behind what in a lane, and what takes another's place.

use std::time::Duration;

use notify_core::delivery::{DeadReason, DeliveryState, Outcome};
use notify_core::lane::OVERTAKEN_AFTER;
use notify_core::store::{Append, Batch, DeadFilter, Store};
use notify_core::{JobEvent, JobStatus};

use super::StoreFactory;
use super::rig::{
    ATTEMPT_TAKES, INTERVAL, Rig, completed, event, everywhere, leased_sequences, secs, url,
};

use DeliveryState::{Dead, Delivered, Pending, Superseded};

/// A rig with one job that tells one endpoint, is processing, and has told so.
async fn processing<F: StoreFactory>(factory: &F) -> Rig<F::Store> {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::processing(0))).await;
    let leased = rig.claim_one().await;
    rig.settle(leased, Outcome::Delivered).await;
    rig
}

pub async fn only_the_head_is_leased(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    let events = [JobEvent::queued(), JobEvent::processing(1), completed()];
    let appends = events.map(|event| rig.append("job", event));
    let mut written = rig.write_and_lease(appends.into()).await;
    for sequence in 1..=3 {
        assert_eq!(leased_sequences(&written.leased), [sequence]);
        assert!(rig.claim().await.is_empty());
        // The head's settle brings the next one.
        let settles = vec![rig.end(written.leased.remove(0), Outcome::Delivered)];
        written = rig
            .write_batch(Batch {
                settles,
                may_lease: everywhere(),
                ..Batch::default()
            })
            .await;
    }
    assert!(written.leased.is_empty());
    assert_eq!(rig.pending().await, 0);
}

pub async fn an_event_behind_a_failing_one_waits(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    let written = rig
        .write_and_lease(vec![rig.append("job", JobEvent::processing(1))])
        .await;
    assert!(written.leased.is_empty());
    rig.retry_in(head, secs(3_600)).await;
    rig.wait(secs(3_599));
    assert!(rig.claim().await.is_empty());
    rig.wait(secs(1));
    assert_eq!(leased_sequences(&rig.claim().await), [1]);
}

pub async fn lanes_do_not_wait_for_each_other(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    rig.retry_in(head, secs(60)).await;
    let written = rig
        .write_and_lease(vec![
            rig.append_for(&url("named"), "job", JobEvent::processing(1)),
            rig.append_for(&url("own"), "other", JobEvent::queued()),
        ])
        .await;
    let mut to: Vec<_> = written
        .leased
        .iter()
        .map(|leased| leased.delivery().endpoint.url.clone())
        .collect();
    to.sort();
    assert_eq!(to, [url("named"), url("own")]);
}

pub async fn leasing_waits_for_the_whole_batch(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    let appends = [1, 2, 3].map(|progress| rig.append("job", JobEvent::processing(progress)));
    let written = rig.write_and_lease(appends.into()).await;
    assert_eq!(
        (leased_sequences(&written.leased), written.superseded),
        (vec![4], 2)
    );
}

pub async fn a_waiting_progress_gives_way_to_any_newer_event(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    let written = rig
        .write(vec![rig.append("job", JobEvent::processing(2))])
        .await;
    assert_eq!((written.superseded, written.died.len()), (1, 0));
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let states = rig.states("job").await;
    assert_eq!(
        states,
        [
            (1, Delivered),
            (2, Superseded),
            (3, Superseded),
            (4, Pending)
        ]
    );
    assert_eq!(rig.pending().await, 1);
    assert_eq!(leased_sequences(&rig.claim().await), [4]);
}

pub async fn a_progress_gives_way_wherever_it_waits(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    use JobStatus::{Completed, Processing, Queued};
    let statuses = [
        Queued, Queued, Processing, Processing, Processing, Queued, Queued, Completed,
    ];
    let written = rig
        .write(
            statuses
                .map(|status| rig.append("job", event(status)))
                .into(),
        )
        .await;
    assert_eq!(written.superseded, 2);
    let states = rig.states("job").await;
    let superseded: Vec<_> = states
        .iter()
        .filter(|(_, state)| *state == Superseded)
        .collect();
    assert_eq!(superseded, [&(4, Superseded), &(5, Superseded)]);
}

pub async fn a_lifecycle_event_never_gives_way(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    for status in [
        JobStatus::Queued,
        JobStatus::Queued,
        JobStatus::Processing,
        JobStatus::Failed,
    ] {
        rig.accept(rig.append("job", event(status))).await;
    }
    for sequence in 1..=4 {
        let head = rig.claim_one().await;
        assert_eq!(head.delivery().record.sequence(), sequence);
        rig.settle(head, Outcome::Delivered).await;
    }
}

pub async fn a_leased_progress_is_left_alone(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    rig.wait(INTERVAL);
    let leased = rig.claim_one().await;
    rig.accept(rig.append("job", completed())).await;
    assert_eq!(rig.states("job").await[1..], [(2, Pending), (3, Pending)]);
    rig.settle(leased, Outcome::Delivered).await;
    assert_eq!(rig.states("job").await[1..], [(2, Delivered), (3, Pending)]);
    assert_eq!(leased_sequences(&rig.claim().await), [3]);
}

pub async fn a_progress_that_failed_gives_way_too(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    rig.wait(INTERVAL);
    let leased = rig.claim_one().await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let written = rig.retry_in(leased, secs(60)).await;
    assert_eq!(written.superseded, 1);
    assert_eq!(
        rig.states("job").await[1..],
        [(2, Superseded), (3, Pending)]
    );
    assert_eq!(leased_sequences(&rig.claim().await), [3]);
}

pub async fn a_newer_progress_inherits_the_due_time(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    rig.wait(INTERVAL);
    let leased = rig.claim_one().await;
    rig.retry_in(leased, secs(30)).await;
    let due_at = rig.now().plus(secs(30));
    for progress in 2..5 {
        rig.wait(secs(1));
        rig.accept(rig.append("job", JobEvent::processing(progress)))
            .await;
        assert_eq!(rig.next_due().await, Some(due_at));
        assert!(rig.claim().await.is_empty());
    }
    rig.wait(secs(27));
    let heir = rig.claim_one().await;
    assert_eq!(
        (heir.delivery().record.sequence(), heir.delivery().due_at),
        (5, due_at)
    );
    // Attempts are a delivery's own.
    assert_eq!(heir.delivery().attempts_made, 0);
}

pub async fn any_other_event_is_due_at_once(factory: &impl StoreFactory) {
    for next in [JobEvent::queued(), completed()] {
        let rig = processing(factory).await;
        rig.accept(rig.append("job", JobEvent::processing(1))).await;
        rig.wait(INTERVAL);
        let leased = rig.claim_one().await;
        rig.retry_in(leased, secs(30)).await;
        let written = rig.write_and_lease(vec![rig.append("job", next)]).await;
        assert_eq!(leased_sequences(&written.leased), [3]);
    }
}

pub async fn a_progress_given_back_hands_its_due_time_on(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    rig.wait(INTERVAL);
    let ready = rig.claim_one().await;
    let due_at = ready.delivery().due_at;
    rig.accept(rig.append("job", JobEvent::processing(2))).await;
    let settles = vec![rig.end(ready, Outcome::Superseded)];
    let batch = Batch {
        settles,
        may_lease: everywhere(),
        ..Batch::default()
    };
    let mut written = rig.write_batch(batch).await;
    // It was due already: without the inheritance it would wait for the interval.
    assert_eq!(written.superseded, 1);
    let heir = written.leased.remove(0);
    assert_eq!(
        (heir.delivery().record.sequence(), heir.delivery().due_at),
        (3, due_at)
    );
}

pub async fn progress_keeps_its_distance(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    // The first event was no progress, so that this is the lane's first.
    let written = rig
        .write_and_lease(vec![rig.append("job", JobEvent::processing(1))])
        .await;
    assert_eq!(leased_sequences(&written.leased), [2]);
    rig.wait(ATTEMPT_TAKES);
    for leased in written.leased {
        rig.settle(leased, Outcome::Delivered).await;
    }
    let sent_at = rig.now().minus(ATTEMPT_TAKES);
    rig.wait(Duration::from_millis(80));
    let close = rig.append("job", JobEvent::processing(2));
    assert!(rig.write_and_lease(vec![close]).await.leased.is_empty());
    assert_eq!(rig.next_due().await, Some(sent_at.plus(INTERVAL)));
    rig.wait(Duration::from_millis(399));
    assert!(rig.claim().await.is_empty());
    rig.wait(Duration::from_millis(1));
    assert_eq!(leased_sequences(&rig.claim().await), [3]);
}

pub async fn progress_keeps_its_distance_from_send_to_send(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    let mut sequence = 2;
    for outcome in [
        Outcome::Delivered,
        Outcome::Retry {
            after: Duration::ZERO,
        },
        Outcome::Dead {
            reason: DeadReason::Exhausted,
        },
    ] {
        rig.wait(secs(1));
        let first = rig.append("job", JobEvent::processing(1));
        let mut written = rig.write_and_lease(vec![first]).await;
        assert_eq!(leased_sequences(&written.leased), [sequence]);
        // It has waited for its turn, and so has the next.
        rig.wait(secs(3));
        rig.accept(rig.append("job", JobEvent::processing(2))).await;
        rig.settle(written.leased.remove(0), outcome).await;
        let next_at = rig.now().minus(ATTEMPT_TAKES).plus(INTERVAL);
        assert!(rig.claim().await.is_empty(), "{outcome:?}");
        assert_eq!(rig.next_due().await, Some(next_at), "{outcome:?}");
        rig.wait(INTERVAL - ATTEMPT_TAKES);
        let next = rig.claim_one().await;
        assert_eq!(next.delivery().record.sequence(), sequence + 1);
        rig.settle(next, Outcome::Delivered).await;
        sequence += 2;
    }
}

pub async fn progress_that_was_not_sent_keeps_nobody_waiting(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    for sequence in 2..5 {
        let append = rig.append("job", JobEvent::processing(1));
        let mut written = rig.write_and_lease(vec![append]).await;
        assert_eq!(leased_sequences(&written.leased), [sequence]);
        rig.settle(written.leased.remove(0), Outcome::Released)
            .await;
    }
}

pub async fn progress_may_keep_no_distance(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    for sequence in 2..5 {
        let append = rig.append("job", JobEvent::processing(1));
        let append = Append {
            progress_min_interval: Duration::ZERO,
            ..append
        };
        let mut written = rig.write_and_lease(vec![append]).await;
        assert_eq!(leased_sequences(&written.leased), [sequence]);
        rig.settle(written.leased.remove(0), Outcome::Delivered)
            .await;
    }
}

pub async fn each_lane_keeps_its_own_distance(factory: &impl StoreFactory) {
    let rig = processing(factory).await;
    let written = rig
        .write_and_lease(vec![rig.append("job", JobEvent::processing(1))])
        .await;
    assert_eq!(written.leased.len(), 1);
    let written = rig
        .write_and_lease(vec![rig.append_for(
            &url("named"),
            "job",
            JobEvent::processing(2),
        )])
        .await;
    assert_eq!(written.leased.len(), 1);
    assert_eq!(written.leased[0].delivery().endpoint.url, url("named"));
}

pub async fn a_failing_event_is_overtaken_by_the_end(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    rig.retry_in(head, secs(10)).await;
    rig.wait(secs(10));
    let head = rig.claim_one().await;
    rig.accept(rig.append("job", completed())).await;
    let give_up_at = rig.now().plus(OVERTAKEN_AFTER);

    rig.retry_in(head, OVERTAKEN_AFTER).await;
    assert_eq!(rig.next_due().await, Some(give_up_at));
    rig.wait(OVERTAKEN_AFTER + Duration::from_millis(1));
    let written = rig.store.claim(rig.now(), everywhere(), 10).await.unwrap();
    assert_eq!(written.died, [DeadReason::Overtaken]);
    assert_eq!(leased_sequences(&written.leased), [2]);
    assert_eq!(rig.states("job").await, [(1, Dead), (2, Pending)]);
    let dead = rig.dead(DeadFilter::default()).await;
    assert_eq!(
        (dead[0].reason, dead[0].attempts),
        (DeadReason::Overtaken, 2)
    );
}

pub async fn a_retry_that_comes_too_late_is_overtaken_at_once(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    let head = rig.claim_one().await;
    rig.accept(rig.append("job", completed())).await;
    let due_at = rig.now().plus(OVERTAKEN_AFTER + secs(1));
    let settles = vec![rig.end(
        head,
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
    assert_eq!(written.died, [DeadReason::Overtaken]);
    assert_eq!(leased_sequences(&written.leased), [2]);
}

pub async fn an_event_that_never_failed_is_not_overtaken(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(3_600));
    let head = rig.claim_one().await;
    assert_eq!(head.delivery().record.sequence(), 1);
    rig.settle(head, Outcome::Released).await;
    assert_eq!(leased_sequences(&rig.claim().await), [1]);
}
