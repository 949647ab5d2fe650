//! One idempotency key, one event.

use crate::ask;
use notify_core::Archive;
use notify_core::job::JobHead;
use notify_core::retention::Retention;
use notify_core::store::{Append, Refusal};
use notify_core::{EventLimits, IdempotencyKey, JobEvent};

use super::StoreFactory;
use super::rig::{Rig, completed, job, secs, url};

pub async fn a_repetition_returns_the_first_event(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let first = rig
        .accept(rig.append_once("key", "job", JobEvent::queued()))
        .await
        .record
        .id();
    rig.accept(rig.append("job", JobEvent::processing(1))).await;
    for _ in 0..3 {
        rig.wait(secs(3_600));
        let again = rig.append_once("key", "job", JobEvent::queued());
        assert_eq!(
            rig.refuse(again).await,
            Refusal::Duplicate {
                first,
                unsent: None
            }
        );
    }
    assert_eq!(rig.sequences("job").await, [1, 2]);
}

pub async fn a_repetition_is_delivered_once(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.tell("job", &url("own")).await;
    for _ in 0..3 {
        let append = rig.append_once("key", "job", JobEvent::queued());
        rig.write(vec![append]).await;
    }
    assert_eq!(rig.deliveries("job").await.len(), 1);
}

pub async fn other_content_is_a_conflict(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    rig.accept(rig.append_once("key", "job", JobEvent::processing(1)))
        .await;
    for other in [JobEvent::processing(2), JobEvent::queued(), completed()] {
        let append = rig.append_once("key", "job", other);
        assert_eq!(rig.refuse(append).await, Refusal::Conflict);
    }
    let content = JobEvent::processing(1).content(EventLimits::default());
    let elsewhere = content.unwrap().fingerprint(Some(url("a").as_str()));
    let append = Append {
        idempotency: Some((IdempotencyKey::parse("key").unwrap(), elsewhere)),
        ..rig.append_for(&url("a"), "job", JobEvent::processing(1))
    };
    assert_eq!(rig.refuse(append).await, Refusal::Conflict);
}

pub async fn a_key_is_looked_at_before_the_jobs_end(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let first = rig
        .accept(rig.append_once("begin", "job", JobEvent::queued()))
        .await
        .record
        .id();
    let last = rig
        .accept(rig.append_once("end", "job", completed()))
        .await
        .record
        .id();
    let again = |key, event| rig.append_once(key, "job", event);
    assert_eq!(
        rig.refuse(again("begin", JobEvent::queued())).await,
        Refusal::Duplicate {
            first,
            unsent: None
        }
    );
    assert_eq!(
        rig.refuse(again("end", completed())).await,
        Refusal::Duplicate {
            first: last,
            unsent: None
        }
    );
    assert_eq!(
        rig.refuse(again("end", JobEvent::queued())).await,
        Refusal::Conflict
    );
    assert_eq!(
        rig.refuse(again("new", JobEvent::queued())).await,
        Refusal::Finished { terminal: last }
    );
}

pub async fn a_key_counts_within_its_own_batch(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let once = |event| rig.append_once("key", "job", event);
    let written = rig
        .write(vec![
            once(completed()),
            once(completed()),
            once(JobEvent::queued()),
        ])
        .await;
    let first = ask::appended(&written)[0].as_ref().unwrap().record.id();
    let refused = [
        Err(Refusal::Duplicate {
            first,
            unsent: None,
        }),
        Err(Refusal::Conflict),
    ];
    assert_eq!(ask::appended(&written)[1..], refused);
}

pub async fn a_key_is_its_jobs_own(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    for name in ["a", "b"] {
        rig.accept(rig.append_once("key", name, JobEvent::queued()))
            .await;
    }
    // Keys are bytes: neither case nor trailing space is mended.
    for key in ["KEY", "key ", "k"] {
        rig.accept(rig.append_once(key, "a", JobEvent::queued()))
            .await;
    }
    assert_eq!(rig.sequences("a").await, [1, 2, 3, 4]);
}

pub async fn a_refused_append_leaves_its_key_free(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let max = JobHead::LIFECYCLE_EVENTS_MAX;
    rig.write(
        (0..max)
            .map(|_| rig.append("job", JobEvent::queued()))
            .collect(),
    )
    .await;
    let refused = rig
        .refuse(rig.append_once("key", "job", JobEvent::queued()))
        .await;
    assert_eq!(refused, Refusal::TooMany);
    rig.accept(rig.append_once("key", "job", completed())).await;
}

pub async fn a_key_is_kept_as_long_as_its_job(factory: &impl StoreFactory) {
    let rig = Rig::fresh(factory).await;
    let old = rig
        .accept(rig.append_once("key", "job", completed()))
        .await
        .record
        .id();
    let retention = Retention {
        jobs: secs(60),
        dead_letters: secs(60),
        ..Retention::DEFAULT
    };
    rig.wait(secs(59));
    assert_eq!(rig.trim(retention).await, 0);
    let again = rig.append_once("key", "job", completed());
    assert_eq!(
        rig.refuse(again).await,
        Refusal::Duplicate {
            first: old,
            unsent: None
        }
    );
    rig.wait(secs(1));
    assert_eq!(rig.trim(retention).await, 1);
    assert!(rig.store.job(&job("job")).await.unwrap().is_none());
    let new = rig
        .accept(rig.append_once("key", "job", completed()))
        .await
        .record
        .id();
    assert_eq!(new.sequence(), 1);
    assert_ne!(new.epoch(), old.epoch());
}
