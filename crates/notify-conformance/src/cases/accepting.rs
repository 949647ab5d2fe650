//! Appending: what is accepted is kept as it is, what is refused was never there.

use crate::ask;
use crate::rig::deliveries_of;
use notify_core::Archive;
use notify_core::delivery::{DeliveryState, Outcome};
use notify_core::job::{EventKind, JobHead};
use notify_core::store::{Append, Batch, Refusal, Webhook};
use notify_core::{EventId, JobEvent, JobStatus, Store};

use super::rig::{PLENTY, Rig, completed, event, job, secs, url};
use super::snapshot::{endpoint_lines, snapshot};
use super::{Bounds, StoreFactory};

pub async fn an_accepted_event_reads_back_as_it_is(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let text = "\u{0}\"\\\n\u{2028}é𝄞";
    let result = serde_json::json!({"b": 1.5e300, "a": [null, true, text], "": {}});
    for event in [JobEvent::processing(7), JobEvent::completed(result)] {
        let append = rig.append("job", event.clone());
        let (json, epoch) = (append.draft.json.clone(), append.fresh.epoch);
        let record = rig.accept(append).await.record;
        assert_eq!(record.json(), json);
        let kept = rig.events("job").await.pop().unwrap();
        assert_eq!(kept, record);
        assert_eq!((kept.id(), kept.kind()), (record.id(), record.kind()));
        assert_eq!(kept.event().result, event.result);
        if record.sequence() == 1 {
            assert_eq!(record.id(), EventId::new(epoch, 1));
        }
    }
}

pub async fn an_event_as_large_as_events_may_be_is_kept(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let large = rig.append("job", JobEvent::failed("x".repeat(250_000)));
    let record = rig
        .accept(Append {
            webhook: Some(Webhook::To(url("a"))),
            ..large
        })
        .await
        .record;
    assert_eq!(rig.events("job").await, std::slice::from_ref(&record));
    assert_eq!(rig.claim_one().await.delivery().record, record);
}

pub async fn sequences_are_dense_over_interleaved_jobs(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for _ in 0..3 {
        let jobs = ["a", "b", "a", "c", "b", "a"];
        let appends = jobs.map(|job| rig.append(job, JobEvent::queued()));
        let written = rig.write(appends.into()).await;
        assert!(ask::appended(&written).iter().all(Result::is_ok));
    }
    for (job, count) in [("a", 9), ("b", 6), ("c", 3)] {
        assert_eq!(rig.sequences(job).await, (1..=count).collect::<Vec<_>>());
        let events = rig.events(job).await;
        assert!(
            events
                .iter()
                .all(|record| record.id().epoch() == events[0].id().epoch())
        );
    }
}

pub async fn a_refused_append_takes_no_sequence(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let once = || rig.append_once("key", "job", JobEvent::queued());
    let written = rig
        .write(vec![once(), once(), once(), rig.append("job", completed())])
        .await;
    assert!(ask::appended(&written)[1].is_err() && ask::appended(&written)[2].is_err());
    assert_eq!(rig.sequences("job").await, [1, 2]);
}

pub async fn a_progress_is_processing_after_processing(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let mut kinds = Vec::new();
    for status in [
        JobStatus::Queued,
        JobStatus::Processing,
        JobStatus::Processing,
    ] {
        kinds.push(
            rig.accept(rig.append("job", event(status)))
                .await
                .record
                .kind(),
        );
    }
    let together = [JobStatus::Processing, JobStatus::Queued, JobStatus::Failed];
    let appends = together.map(|status| rig.append("job", event(status)));
    let written = rig.write(appends.into()).await;
    kinds.extend(
        ask::appended(&written)
            .into_iter()
            .map(|append| append.unwrap().record.kind()),
    );
    use EventKind::{Lifecycle, Progress, Terminal};
    assert_eq!(
        kinds,
        [
            Lifecycle, Lifecycle, Progress, Progress, Lifecycle, Terminal
        ]
    );
    let view = rig.store.job(&job("job")).await.unwrap().unwrap();
    assert_eq!((view.head.sequence, view.head.lifecycle_events), (6, 4));
    assert_eq!(view.head.status, Some(JobStatus::Failed));
}

pub async fn nothing_follows_a_terminal_event(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for (name, status) in ["a", "b", "c"].into_iter().zip([
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Cancelled,
    ]) {
        let appends = [JobStatus::Queued, status, JobStatus::Processing, status];
        let written = rig
            .write(appends.map(|status| rig.append(name, event(status))).into())
            .await;
        let terminal = ask::appended(&written)[1].as_ref().unwrap().record.id();
        let finished = Err(Refusal::Finished { terminal });
        assert_eq!(ask::appended(&written)[2..], [finished.clone(), finished]);
        for status in JobStatus::ALL {
            let refused = rig.refuse(rig.append(name, event(status))).await;
            assert_eq!(refused, Refusal::Finished { terminal });
        }
        assert_eq!(rig.sequences(name).await, [1, 2]);
    }
}

pub async fn a_job_has_a_thousand_lifecycle_events_and_an_end(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let max = usize::try_from(JobHead::LIFECYCLE_EVENTS_MAX).unwrap();
    for _ in 0..4 {
        let appends = (0..max / 4).map(|_| rig.append("job", JobEvent::queued()));
        let written = rig.write(appends.collect()).await;
        assert!(ask::appended(&written).iter().all(Result::is_ok));
    }
    for status in [JobStatus::Queued, JobStatus::Processing] {
        check_refused_without_a_trace(&rig, rig.append("job", event(status)), Refusal::TooMany)
            .await;
    }
    let end = rig.accept(rig.append("job", completed())).await.record;
    assert_eq!((end.sequence(), end.kind()), (1_001, EventKind::Terminal));
    assert_eq!(rig.events("job").await.len(), max + 1);
}

pub async fn a_refused_append_changes_nothing(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("ended", &url("own")).await;
    let first = rig
        .accept(rig.append_once("key", "ended", JobEvent::queued()))
        .await
        .record
        .id();
    let terminal = rig
        .accept(rig.append("ended", completed()))
        .await
        .record
        .id();
    rig.wait(secs(1));

    let finished = Refusal::Finished { terminal };
    check_refused_without_a_trace(
        &rig,
        rig.append("ended", JobEvent::queued()),
        finished.clone(),
    )
    .await;
    let keyed = rig.append_once("other", "ended", JobEvent::queued());
    check_refused_without_a_trace(&rig, keyed, finished).await;
    let again = rig.append_once("key", "ended", JobEvent::queued());
    check_refused_without_a_trace(
        &rig,
        again,
        Refusal::Duplicate {
            first,
            unsent: None,
        },
    )
    .await;
    let other = rig.append_once("key", "ended", JobEvent::processing(3));
    check_refused_without_a_trace(&rig, other, Refusal::Conflict).await;
}

pub async fn a_full_store_refuses_without_a_trace(factory: &impl StoreFactory) {
    let rig = Rig::bounded(
        factory,
        Bounds {
            pending_deliveries_max: 6,
            ..Bounds::default()
        },
    )
    .await;
    let refused = fill(&rig).await;
    assert_eq!(refused, Refusal::Full);
    let keyed = rig.append_once("key", "new", JobEvent::queued());
    check_refused_without_a_trace(&rig, keyed, Refusal::Full).await;
    assert!(rig.store.job(&job("new")).await.unwrap().is_none());

    let leased = rig.claim().await;
    rig.settle_all(
        leased
            .into_iter()
            .map(|leased| rig.end(leased, Outcome::Delivered))
            .collect(),
    )
    .await;
    // Neither job nor key was kept back by the refusal.
    let keyed = rig.append_once("key", "new", JobEvent::queued());
    assert_eq!(rig.accept(keyed).await.record.sequence(), 1);
}

pub async fn a_settle_makes_room_for_an_append_of_its_batch(factory: &impl StoreFactory) {
    let rig = Rig::bounded(
        factory,
        Bounds {
            pending_deliveries_max: 6,
            ..Bounds::default()
        },
    )
    .await;
    fill(&rig).await;
    let leased = rig.claim().await;
    let written = rig
        .write_batch(Batch {
            settles: leased
                .into_iter()
                .map(|leased| rig.end(leased, Outcome::Delivered))
                .collect(),
            operations: ask::appends(vec![rig.append_for(&url("a"), "late", JobEvent::queued())]),
            ..Batch::default()
        })
        .await;
    assert!(written.settles.iter().all(Result::is_ok));
    assert!(
        ask::appended(&written)[0].is_ok(),
        "{:?}",
        ask::appended(&written)
    );
}

pub async fn a_refusal_leaves_the_rest_of_its_batch_alone(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let terminal = rig
        .accept(rig.append("ended", completed()))
        .await
        .record
        .id();
    let written = rig
        .write(vec![
            rig.append("before", JobEvent::queued()),
            rig.append_for(&url("a"), "ended", JobEvent::queued()),
            rig.append_for(&url("b"), "after", JobEvent::queued()),
        ])
        .await;
    assert_eq!(
        ask::appended(&written)[1],
        Err(Refusal::Finished { terminal })
    );
    assert_eq!(rig.sequences("before").await, [1]);
    assert_eq!(rig.states("after").await, [(1, DeliveryState::Pending)]);
    assert_eq!(rig.store.endpoint_at(&url("a")).await.unwrap(), None);
}

pub async fn an_empty_batch_writes_nothing(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let written = rig.write_batch(Batch::default()).await;
    assert!(
        written.settles.is_empty()
            && ask::appended(&written).is_empty()
            && written.leased.is_empty()
    );
    assert_eq!(
        rig.store.counters().await.unwrap(),
        notify_core::store::Counters::default()
    );
}

/// Appends for one endpoint, a job each, until one is refused.
async fn fill<S: Store>(rig: &Rig<S>) -> Refusal {
    for number in 0..PLENTY {
        let append = rig.append_for(&url("full"), &format!("job-{number}"), JobEvent::queued());
        if let Err(refused) = ask::appended(&rig.write(vec![append]).await).remove(0) {
            assert!((4..=6).contains(&number), "{number}");
            assert_eq!(rig.pending().await, number as u64);
            return refused;
        }
    }
    panic!("the store has no bound");
}

/// The append also names an endpoint that nobody has named yet.
async fn check_refused_without_a_trace<S: Store>(rig: &Rig<S>, append: Append, why: Refusal) {
    let append = Append {
        webhook: Some(Webhook::To(url("never-heard-of"))),
        ..append
    };
    let deliveries = deliveries_of(EventId::new(append.fresh.epoch, 1));
    let all = async || {
        let mut lines = snapshot(&rig.store, rig.now(), &deliveries).await;
        lines.extend(endpoint_lines(&rig.store).await);
        lines
    };
    let before = all().await;
    assert_eq!(rig.refuse(append).await, why);
    assert_eq!(all().await, before);
    assert_eq!(
        rig.store.endpoint_at(&url("never-heard-of")).await.unwrap(),
        None
    );
}
