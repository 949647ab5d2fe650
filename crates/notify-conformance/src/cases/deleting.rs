//! Deletion: a job or an endpoint is forgotten with all that it has.

use notify_core::delivery::{DeadReason, Outcome};
use notify_core::retention::Retention;
use notify_core::store::{
    Answer, Archive, Batch, Counters, DeadFilter, Deletion, Doomed, Operation, Refusal, Store,
    Sweep, Written,
};
use notify_core::{EndpointId, JobEvent};

use super::dead_letters::of;
use super::rig::{Rig, completed, everywhere, job, secs, url};
use super::{DurableFactory, Restart, StoreFactory};
use crate::ask::Ask;

use DeadReason::Exhausted;

pub async fn a_deleted_job_is_gone_with_all_that_it_has(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    // Something of everything: settled, given up, redelivered, retried, waiting.
    let redelivered = rig.bury(&url("a"), "job", Exhausted).await;
    rig.store
        .redeliver(rig.now(), of(redelivered))
        .await
        .unwrap();
    rig.tell("job", &url("b")).await;
    rig.accept(rig.append_once("key", "job", JobEvent::processing(1)))
        .await;
    for leased in rig.claim().await {
        rig.retry_in(leased, secs(30)).await;
    }
    let dead = rig.bury(&url("c"), "job", Exhausted).await;
    rig.accept(rig.append("job", completed())).await;
    let kept = rig.accept(rig.append_for(&url("a"), "other", JobEvent::queued()));
    let kept = kept.await.record;

    assert_eq!(rig.delete_job("job", false).await, Ok(()));
    assert!(rig.store.job(&job("job")).await.unwrap().is_none());
    assert_eq!(rig.store.token(&job("job")).await, Ok(None));
    assert!(rig.store.read(&job("job"), 0, 10).await.unwrap().is_none());
    assert!(rig.deliveries("job").await.is_empty());
    for id in [redelivered, dead] {
        assert_eq!(rig.store.delivery(id).await, Ok(None));
    }
    assert!(rig.dead(DeadFilter::default()).await.is_empty());
    rig.wait(secs(60));
    assert_eq!(rig.claim_one().await.delivery().record, kept);
    assert_eq!((rig.counters().await.jobs, rig.pending().await), (1, 1));
    assert_eq!(rig.delete_job("job", true).await, Err(Refusal::NoJob));
}

pub async fn a_running_job_is_deleted_only_by_force(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    assert_eq!(rig.delete_job("job", false).await, Err(Refusal::JobRunning));
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    assert_eq!(rig.delete_job("job", false).await, Err(Refusal::JobRunning));
    assert_eq!(
        (rig.sequences("job").await, rig.pending().await),
        (vec![1], 1)
    );
    assert_eq!(rig.delete_job("job", true).await, Ok(()));
    assert_eq!((rig.counters().await.jobs, rig.pending().await), (0, 0));
}

pub async fn what_is_unknown_is_not_deleted(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append("other", JobEvent::queued())).await;
    assert_eq!(rig.delete_job("job", true).await, Err(Refusal::NoJob));
    let endpoint = EndpointId::from_random(1);
    let deleted = rig.store.delete(rig.now(), Doomed::Endpoint(endpoint));
    assert_eq!(deleted.await, Ok(Err(Refusal::NoEndpoint)));
}

pub async fn a_lease_of_what_was_deleted_settles_nothing(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for deletes_job in [true, false] {
        rig.accept(rig.append_for(&url("a"), "job", completed()))
            .await;
        let leased = rig.claim_one().await;
        if deletes_job {
            assert_eq!(rig.delete_job("job", false).await, Ok(()));
        } else {
            assert_eq!(rig.delete_endpoint("a").await, Ok(()));
        }
        let dead = Outcome::Dead { reason: Exhausted };
        let written = rig.settle_all(vec![rig.end(leased, dead)]).await;
        assert!(written.settles[0].is_err());
        assert!(rig.dead(DeadFilter::default()).await.is_empty());
    }
}

pub async fn another_job_begins_under_a_deleted_ones_id(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    rig.accept(rig.append_once("key", "job", JobEvent::processing(1)))
        .await;
    rig.accept(rig.append("job", JobEvent::processing(2))).await;
    let before = rig.events("job").await.remove(0).id().epoch();
    // It finds nothing of the other one, not even in the batch that deletes that.
    let first = rig.append_once("key", "job", JobEvent::processing(1));
    let second = rig.append("job", JobEvent::processing(2));
    let written = rig
        .write_batch(Batch {
            operations: vec![
                Operation::Append(first),
                deletion_of("job"),
                Operation::Append(second),
            ],
            may_lease: everywhere(),
            ..Batch::default()
        })
        .await;
    assert_eq!(written.answers[1], Ok(Answer::Deleted { rest: None }));
    assert!(written.answers.iter().all(Result::is_ok), "{written:?}");
    assert!(written.leased.is_empty());
    assert_eq!(rig.sequences("job").await, [1, 2]);
    assert_ne!(rig.events("job").await[0].id().epoch(), before);
    assert_eq!(rig.store.token(&job("job")).await, Ok(None));
    assert!(rig.deliveries("job").await.is_empty());
    assert_eq!((rig.counters().await.jobs, rig.pending().await), (1, 0));
}

pub async fn what_has_just_been_given_up_is_deleted_too(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for what in ["job", "endpoint"] {
        rig.accept(rig.append_for(&url("a"), "job", completed()))
            .await;
        let dead = Outcome::Dead { reason: Exhausted };
        let settle = rig.end(rig.claim_one().await, dead);
        let what = match what {
            "job" => deletion_of("job"),
            _ => Operation::Delete(Deletion::of(Doomed::Endpoint(
                rig.endpoint_id(&url("a")).await,
            ))),
        };
        let written = rig
            .write_batch(Batch {
                settles: vec![settle],
                operations: vec![what.clone()],
                ..Batch::default()
            })
            .await;
        // There was something left, or the dead letter went with the rest.
        assert_eq!(rig.finish(written).await, Ok(()));
        assert!(rig.dead(DeadFilter::default()).await.is_empty());
        let left = rig.counters().await;
        assert_eq!((left.dead_letters, left.pending_deliveries), (0, 0));
        let _ = rig.delete_job("job", true).await;
    }
}

pub async fn what_outlived_a_job_is_deleted_by_its_id(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let dead = rig.bury(&url("a"), "job", Exhausted).await;
    let redelivered = rig.bury(&url("b"), "job", Exhausted).await;
    rig.accept(rig.append("job", completed())).await;
    rig.wait(secs(100));
    let retention = Retention {
        jobs: secs(60),
        ..Retention::DEFAULT
    };
    assert_eq!(rig.trim(retention).await, 1);
    rig.store
        .redeliver(rig.now(), of(redelivered))
        .await
        .unwrap();
    assert_eq!(rig.dead(of(dead)).await.len(), 1);
    assert_eq!(rig.delete_job("job", false).await, Ok(()));
    assert_eq!((rig.pending().await, rig.claim().await.len()), (0, 0));
    assert!(rig.dead(DeadFilter::default()).await.is_empty());
    assert_eq!(rig.store.delivery(redelivered).await, Ok(None));
    assert_eq!(rig.delete_job("job", false).await, Err(Refusal::NoJob));
}

pub async fn a_large_job_is_there_until_it_is_wholly_gone(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let mut sequence = 2 * Deletion::STEP_MAX + 10;
    rig.scatter("job", sequence).await;
    for leased in rig.claim().await.into_iter().take(Sweep::STEP_MAX + 1) {
        rig.settle(leased, Outcome::Dead { reason: Exhausted })
            .await;
    }
    let mut operation = deletion_of("job");
    while let Answer::Deleted { rest: Some(rest) } =
        rig.store.ask(rig.now(), operation).await.unwrap().unwrap()
    {
        operation = Operation::Delete(rest);
        // What comes to it goes with it.
        let late = rig.append_for(&url("late"), "job", JobEvent::processing(99));
        sequence += 1;
        let late = rig.accept(late).await.record;
        assert_eq!(late.sequence(), sequence as u64);
    }
    let left = rig.counters().await;
    let expected = Counters {
        jobs: 0,
        pending_deliveries: 0,
        dead_letters: 0,
        oldest_due_at: None,
    };
    assert_eq!(left, expected);
    assert!(rig.claim().await.is_empty());
}

pub async fn deletions_of_one_batch_take_turns(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for of in ["one", "two"] {
        rig.accept(rig.append_for(&url("a"), of, completed())).await;
    }
    let operations = vec![deletion_of("one"), deletion_of("two")];
    let written = rig
        .write_batch(Batch {
            operations,
            ..Batch::default()
        })
        .await;
    assert_eq!(written.answers[0], Ok(Answer::Deleted { rest: None }));
    assert_eq!(rig.finish(written).await, Ok(()));
    assert_eq!((rig.counters().await.jobs, rig.pending().await), (0, 0));
}

pub async fn a_deleted_endpoint_is_gone_with_all_that_it_has(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("a")).await;
    let shown = rig.accept(rig.append("job", JobEvent::queued())).await;
    rig.settle(rig.claim_one().await, Outcome::Delivered).await;
    let dead = rig.bury(&url("a"), "other", Exhausted).await;
    let redelivered = rig.bury(&url("a"), "other", Exhausted).await;
    let other = rig.bury(&url("b"), "other", Exhausted).await;
    rig.store
        .redeliver(rig.now(), of(redelivered))
        .await
        .unwrap();
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    let id = rig.endpoint_id(&url("a")).await;

    assert_eq!(rig.delete_endpoint("a").await, Ok(()));
    assert_eq!(rig.store.endpoint(id).await, Ok(None));
    assert_eq!(rig.store.endpoint_at(&url("a")).await, Ok(None));
    let letters = rig.dead(DeadFilter::default()).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].id, other);
    for id in [dead, redelivered] {
        assert_eq!(rig.store.delivery(id).await, Ok(None));
    }
    assert!(rig.deliveries("job").await.is_empty());
    let settled = notify_core::DeliveryId::of(shown.record.id(), 0);
    assert_eq!(rig.store.delivery(settled).await, Ok(None));
    assert_eq!((rig.pending().await, rig.claim().await.len()), (0, 0));

    // The job goes on and tells nobody; the URL stands for another endpoint.
    let view = rig.store.job(&job("job")).await.unwrap().unwrap();
    assert_eq!((view.webhook, view.head.sequence), (None, 2));
    rig.accept(rig.append("job", JobEvent::processing(2))).await;
    assert_eq!(rig.pending().await, 0);
    rig.accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    assert_ne!(rig.endpoint_id(&url("a")).await, id);
    assert_eq!(rig.claim().await.len(), 1);
    let again = rig.store.delete(rig.now(), Doomed::Endpoint(id)).await;
    assert_eq!(again, Ok(Err(Refusal::NoEndpoint)));
}

pub async fn a_large_endpoint_is_there_until_it_is_wholly_gone(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let jobs = Deletion::STEP_MAX + 10;
    for of in 0..jobs {
        let queued = rig.append_for(&url("a"), &format!("job-{of}"), JobEvent::queued());
        rig.accept(queued).await;
    }
    let id = rig.endpoint_id(&url("a")).await;
    let deletion = Operation::Delete(Deletion::of(Doomed::Endpoint(id)));
    let written = rig
        .write_batch(Batch {
            operations: vec![deletion],
            may_lease: everywhere(),
            ..Batch::default()
        })
        .await;
    // Nothing more is sent to it, and what comes to it goes with it.
    assert!(written.leased.is_empty());
    assert!(rig.claim().await.is_empty());
    if rig.pending().await > 0 {
        rig.accept(rig.append_for(&url("a"), "job-0", JobEvent::queued()))
            .await;
        assert_eq!(rig.endpoint_id(&url("a")).await, id);
    }
    assert_eq!(rig.finish(written).await, Ok(()));
    assert_eq!(rig.store.endpoint(id).await, Ok(None));
    let left = rig.counters().await;
    assert_eq!((left.jobs, left.pending_deliveries), (jobs as u64, 0));
}

pub async fn a_job_that_waits_for_a_deleted_endpoint_has_ended(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_for(&url("a"), "job", completed()))
        .await;
    rig.wait(secs(100));
    let retention = Retention {
        jobs: secs(60),
        ..Retention::DEFAULT
    };
    assert_eq!(rig.trim(retention).await, 0);
    assert_eq!(rig.delete_endpoint("a").await, Ok(()));
    rig.wait(secs(59));
    assert_eq!(rig.trim(retention).await, 0);
    rig.wait(secs(1));
    assert_eq!(rig.trim(retention).await, 1);
}

pub async fn a_deletion_survives(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        rig.tell("gone", &url("a")).await;
        rig.tell("stays", &url("a")).await;
        for of in ["gone", "stays"] {
            rig.accept(rig.append_once("key", of, JobEvent::queued()))
                .await;
        }
        rig.settle(
            rig.claim().await.remove(0),
            Outcome::Dead { reason: Exhausted },
        )
        .await;
        assert_eq!(rig.delete_job("gone", true).await, Ok(()));
        assert_eq!(rig.delete_endpoint("a").await, Ok(()));
        let rig = rig.restarted(factory, how).await;
        assert!(rig.store.job(&job("gone")).await.unwrap().is_none());
        assert_eq!(rig.store.endpoint_at(&url("a")).await, Ok(None));
        assert!(rig.dead(DeadFilter::default()).await.is_empty());
        assert_eq!((rig.pending().await, rig.claim().await.len()), (0, 0));
        rig.accept(rig.append("stays", completed())).await;
        let view = rig.store.job(&job("stays")).await.unwrap().unwrap();
        assert_eq!((view.webhook, rig.pending().await), (None, 0));
        let again = rig.append_once("key", "gone", JobEvent::queued());
        assert_eq!(rig.accept(again).await.record.sequence(), 1);
    }
}

pub async fn a_deletion_that_was_cut_short_is_finished_by_another(factory: &impl DurableFactory) {
    for how in Restart::ALL {
        let rig = Rig::fresh(factory).await;
        let lanes = Deletion::STEP_MAX + 10;
        rig.scatter("job", lanes).await;
        for of in 0..lanes {
            let queued = rig.append_for(&url("a"), &format!("job-{of}"), JobEvent::queued());
            rig.accept(queued).await;
        }
        let endpoint = Doomed::Endpoint(rig.endpoint_id(&url("a")).await);
        for operation in [
            deletion_of("job"),
            Operation::Delete(Deletion::of(endpoint.clone())),
        ] {
            let answer = rig.store.ask(rig.now(), operation).await.unwrap();
            assert!(matches!(answer, Ok(Answer::Deleted { .. })));
        }
        let pending = rig.pending().await;
        let rig = rig.restarted(factory, how).await;
        assert_eq!(rig.pending().await, pending);
        // The endpoint is disabled since the first step.
        assert!(rig.claim().await.len() as u64 <= pending / 2);
        let is_whole = |deleted: Result<(), Refusal>, known: bool| {
            assert_eq!(deleted.is_ok(), known, "{deleted:?}");
        };
        let is_left = rig.store.job(&job("job")).await.unwrap().is_some();
        is_whole(rig.delete_job("job", true).await, is_left);
        let is_left = rig.store.endpoint_at(&url("a")).await.unwrap().is_some();
        let deleted = rig.store.delete(rig.now(), endpoint).await.unwrap();
        is_whole(deleted, is_left);
        assert_eq!(rig.pending().await, 0);
        assert!(rig.deliveries("job-1").await.is_empty());
    }
}

fn deletion_of(id: &str) -> Operation {
    Operation::Delete(Deletion::of(Doomed::Job {
        id: job(id),
        force: true,
    }))
}

impl<S: Store> Rig<S> {
    async fn delete_job(&self, of: &str, force: bool) -> Result<(), Refusal> {
        let what = Doomed::Job { id: job(of), force };
        self.store.delete(self.now(), what).await.unwrap()
    }

    async fn delete_endpoint(&self, name: &str) -> Result<(), Refusal> {
        let what = Doomed::Endpoint(self.endpoint_id(&url(name)).await);
        self.store.delete(self.now(), what).await.unwrap()
    }

    /// Does what a batch has left of its deletions.
    async fn finish(&self, written: Written) -> Result<(), Refusal> {
        for answer in written.answers {
            let mut answer = answer?;
            while let Answer::Deleted { rest: Some(rest) } = answer {
                let step = self.store.ask(self.now(), Operation::Delete(rest));
                answer = step.await.unwrap()?;
            }
        }
        Ok(())
    }

    /// Events of a running job, each for an endpoint of its own.
    async fn scatter(&self, of: &str, events: usize) {
        let event = |nth| self.append_for(&url(&format!("e{nth}")), of, JobEvent::processing(1));
        self.write((0..events).map(event).collect()).await;
    }

    async fn counters(&self) -> Counters {
        self.store.counters().await.unwrap()
    }
}
