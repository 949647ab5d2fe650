//! Reading: pages of events, lists with cursors, what a job and a store look like.

use notify_core::Archive;
use notify_core::delivery::{DeadReason, Outcome};
use notify_core::store::{Append, Counters, List, Webhook};
use notify_core::{DeliveryId, EventRecord, JobEvent, JobStatus};

use super::rig::{PLENTY, Rig, completed, event, job, paged, secs, url};
use super::{Bounds, StoreFactory};

pub async fn events_are_read_after_a_sequence(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for _ in 0..5 {
        rig.accept(rig.append("job", JobEvent::queued())).await;
    }
    let read = async |after, limit| -> Vec<u64> {
        let page = rig
            .store
            .read(&job("job"), after, limit)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((page.head.sequence, page.head.lifecycle_events), (5, 5));
        page.events.iter().map(|record| record.sequence()).collect()
    };
    assert_eq!(read(0, PLENTY).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, 2).await, [3, 4]);
    assert_eq!(read(4, 2).await, [5]);
    for beyond in [5, 6, u64::MAX] {
        assert!(read(beyond, PLENTY).await.is_empty());
    }
}

pub async fn a_page_ends_where_it_would_be_large(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for _ in 0..7 {
        let large = JobEvent {
            error: Some("x".repeat(200_000)),
            ..JobEvent::queued()
        };
        rig.accept(rig.append("job", large)).await;
    }
    let read = async |after| {
        let page = rig.store.read(&job("job"), after, PLENTY).await.unwrap();
        let events = page.unwrap().events;
        events.iter().map(EventRecord::sequence).collect::<Vec<_>>()
    };
    assert_eq!(read(0).await, [1, 2, 3, 4, 5]);
    assert_eq!(read(5).await, [6, 7]);
    assert!(read(7).await.is_empty());
}

pub async fn an_unknown_job_is_none(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append("job", JobEvent::queued())).await;
    for unknown in ["jo", "job1", "JOB", "~"] {
        let unknown = job(unknown);
        assert!(rig.store.read(&unknown, 0, 1).await.unwrap().is_none());
        assert!(rig.store.job(&unknown).await.unwrap().is_none());
        assert!(rig.store.token(&unknown).await.unwrap().is_none());
        let list = List {
            limit: 1,
            cursor: None,
        };
        assert!(
            rig.store
                .deliveries(&unknown, list)
                .await
                .unwrap()
                .items
                .is_empty()
        );
    }
    assert!(
        rig.store
            .delivery(DeliveryId::from_random(7))
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn a_running_job_keeps_its_newest_progress(factory: &impl StoreFactory) {
    let rig = Rig::bounded(
        factory,
        Bounds {
            progress_events_max: 3,
            ..Bounds::default()
        },
    )
    .await;
    use JobStatus::{Processing, Queued};
    for status in [
        Queued, Processing, Processing, Processing, Queued, Processing,
    ] {
        rig.accept(rig.append("job", event(status))).await;
    }
    assert_eq!(rig.sequences("job").await, [1, 2, 3, 4, 5, 6]);
    let mut kept = vec![1, 2, 5, 6];
    // One by one, and many in one batch.
    for count in [1, 1, 1, 1, 5] {
        let appends = (0..count).map(|_| rig.append("job", JobEvent::processing(1)));
        rig.write(appends.collect()).await;
    }
    kept.extend([13, 14, 15]);
    assert_eq!(rig.sequences("job").await, kept);
    let page = rig.store.read(&job("job"), 2, 3).await.unwrap().unwrap();
    let sequences: Vec<_> = page.events.iter().map(|record| record.sequence()).collect();
    assert_eq!(sequences, [5, 6, 13]);
}

pub async fn a_finished_job_keeps_its_last_progress(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for progress in 0..4 {
        rig.accept(rig.append("job", JobEvent::processing(progress)))
            .await;
    }
    rig.accept(rig.append("job", completed())).await;
    assert_eq!(rig.sequences("job").await, [1, 4, 5]);
}

pub async fn a_delivery_outlives_its_events_place_in_the_log(factory: &impl StoreFactory) {
    let rig = Rig::bounded(
        factory,
        Bounds {
            progress_events_max: 1,
            ..Bounds::default()
        },
    )
    .await;
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    let named = rig.append_for(&url("a"), "job", JobEvent::processing(2));
    let record = rig.accept(named).await.record;
    rig.accept(rig.append("job", JobEvent::processing(3))).await;
    rig.accept(rig.append("job", completed())).await;
    assert_eq!(rig.sequences("job").await, [1, 3, 4]);
    let leased = rig.claim_one().await;
    assert_eq!(leased.delivery().record, record);
    let id = leased.delivery().id;
    rig.settle(
        leased,
        Outcome::Dead {
            reason: DeadReason::Exhausted,
        },
    )
    .await;
    assert_eq!(rig.delivery(id).await.event_id, record.id());
}

pub async fn a_job_is_seen_as_it_stands(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let created_at = rig.now();
    rig.accept(rig.append("job", JobEvent::queued())).await;
    rig.wait(secs(5));
    let last = rig
        .accept(rig.append("job", JobEvent::processing(40)))
        .await
        .record;
    let view = rig.store.job(&job("job")).await.unwrap().unwrap();
    assert_eq!(
        (view.id, view.registered, view.webhook),
        (job("job"), false, None)
    );
    assert_eq!(
        (view.head.sequence, view.head.status),
        (2, Some(JobStatus::Processing))
    );
    assert_eq!(view.last, Some(last));
    assert_eq!((view.created_at, view.updated_at), (created_at, rig.now()));
}

pub async fn jobs_are_listed_newest_first(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let names: Vec<String> = (0..11)
        .map(|number| format!("job-{}", number * 7 % 11))
        .collect();
    for name in &names {
        rig.accept(rig.append(name, JobEvent::queued())).await;
    }
    for name in names.iter().step_by(3) {
        rig.accept(rig.append(name, completed())).await;
    }
    let list = async |status, limit| -> Vec<String> {
        let jobs = paged(limit, async |list| {
            rig.store.jobs(status, list).await.unwrap()
        })
        .await;
        jobs.iter().map(|view| view.id.to_string()).collect()
    };
    let newest_first: Vec<String> = names.iter().rev().cloned().collect();
    let ended: Vec<String> = newest_first
        .iter()
        .filter(|name| names.iter().step_by(3).any(|other| other == *name))
        .cloned()
        .collect();
    for limit in [1, 4, 11, 100] {
        assert_eq!(list(None, limit).await, newest_first);
        assert_eq!(list(Some(JobStatus::Completed), limit).await, ended);
        assert_eq!(
            list(Some(JobStatus::Queued), limit).await.len(),
            11 - ended.len()
        );
        assert!(list(Some(JobStatus::Failed), limit).await.is_empty());
    }
}

pub async fn a_job_without_an_event_is_listed_as_queued(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.register(rig.registration("job")).await.unwrap();
    let list = || List {
        limit: 5,
        cursor: None,
    };
    assert_eq!(rig.store.jobs(None, list()).await.unwrap().items.len(), 1);
    assert_eq!(
        rig.store
            .jobs(Some(JobStatus::Queued), list())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert!(
        rig.store
            .jobs(Some(JobStatus::Processing), list())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub async fn a_cursor_holds_while_jobs_come(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for name in ["a", "b", "c"] {
        rig.accept(rig.append(name, JobEvent::queued())).await;
    }
    let first = rig
        .store
        .jobs(
            None,
            List {
                limit: 2,
                cursor: None,
            },
        )
        .await
        .unwrap();
    rig.accept(rig.append("d", JobEvent::queued())).await;
    rig.accept(rig.append("a", JobEvent::queued())).await;
    let rest = rig
        .store
        .jobs(
            None,
            List {
                limit: 2,
                cursor: first.next,
            },
        )
        .await
        .unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&rest.items)
        .map(|view| view.id.as_str())
        .collect();
    assert_eq!((names, rest.next), (vec!["c", "b", "a"], None));
}

pub async fn deliveries_are_listed_newest_first(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    for number in 0..6 {
        let append = rig.append("job", JobEvent::queued());
        rig.accept(Append {
            webhook: (number % 2 == 0).then(|| Webhook::To(url("named"))),
            ..append
        })
        .await;
        rig.accept(rig.append_for(&url("own"), "other", JobEvent::queued()))
            .await;
    }
    for leased in rig.claim().await {
        rig.settle(leased, Outcome::Delivered).await;
    }
    for limit in [1, 4, 9, 100] {
        let page = async |list| rig.store.deliveries(&job("job"), list).await.unwrap();
        let views = paged(limit, page).await;
        let sequences: Vec<_> = views.iter().map(|view| view.event_id.sequence()).collect();
        assert_eq!(sequences, [6, 5, 5, 4, 3, 3, 2, 1, 1]);
        let mut ids: Vec<_> = views.iter().map(|view| view.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 9);
    }
}

pub async fn counters_count_what_is_held(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    assert_eq!(rig.store.counters().await.unwrap(), Counters::default());
    let start = rig.now();
    rig.bury(&url("a"), "dead", DeadReason::Exhausted).await;
    rig.accept(rig.append_for(&url("a"), "waits", JobEvent::queued()))
        .await;
    rig.wait(secs(5));
    rig.register(rig.registration("silent")).await.unwrap();
    rig.accept(rig.append_for(&url("b"), "waits", completed()))
        .await;
    let counters = rig.store.counters().await.unwrap();
    let expected = Counters {
        jobs: 3,
        pending_deliveries: 2,
        dead_letters: 1,
        oldest_due_at: Some(start),
    };
    assert_eq!(counters, expected);
    // What is leased is pending, but waits for nobody.
    let _held = rig.claim().await;
    let counters = rig.store.counters().await.unwrap();
    assert_eq!(
        counters,
        Counters {
            oldest_due_at: None,
            ..expected
        }
    );
}
