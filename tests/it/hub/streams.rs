use futures_util::StreamExt;
use notify_hub::{EndReason, EventId, JobEvent, JobStatus, StartFrom};
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_what_was_then_what_comes_then_the_end() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let first = notifier
        .notify("job-1", JobEvent::queued(), None)
        .await
        .unwrap();
    let mut events = notifier.subscribe("job-1").await.unwrap();
    assert_eq!(events.recv_record().await.unwrap().id(), first);
    let reading = async {
        assert_eq!(events.recv().await.unwrap().progress, Some(42));
        assert_eq!(events.recv().await.unwrap().status, JobStatus::Completed);
        assert_eq!(events.recv().await, Err(notify_hub::Closed));
        assert_eq!(events.end_reason(), Some(EndReason::Terminal));
    };
    let writing = async {
        notifier
            .notify("job-1", JobEvent::processing(42), None)
            .await
            .unwrap();
        notifier
            .notify("job-1", JobEvent::completed(json!(1)), None)
            .await
            .unwrap();
    };
    tokio::join!(reading, writing);
}

#[tokio::test(start_paused = true)]
async fn several_subscribers_see_the_same_bytes() {
    let rig = rig(&[]);
    let early: Vec<_> =
        futures_util::future::join_all((0..3).map(|_| rig.notifier.subscribe("job-1"))).await;
    for event in [JobEvent::queued(), JobEvent::failed("x")] {
        rig.notifier.notify("job-1", event, None).await.unwrap();
    }
    let late = rig.notifier.subscribe("job-1").await;
    let mut blocks = Vec::new();
    for subscription in early.into_iter().chain([late]) {
        let records: Vec<_> = subscription.unwrap().collect().await;
        blocks.push(
            records
                .iter()
                .map(notify_hub::EventRecord::block)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(blocks[0].len(), 2);
    assert!(blocks.iter().all(|other| *other == blocks[0]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_skips_progress_but_no_lifecycle_event() {
    let rig = rig(&[]);
    let mut slow = rig.notifier.subscribe("job-1").await.unwrap();
    let mut lifecycle = Vec::new();
    for round in 0..5 {
        lifecycle.push(
            rig.notifier
                .notify("job-1", JobEvent::queued(), None)
                .await
                .unwrap(),
        );
        for progress in 0..100 {
            let id = rig
                .notifier
                .notify("job-1", JobEvent::processing(progress), None)
                .await
                .unwrap();
            if progress == 0 {
                lifecycle.push(id);
            }
        }
        if round == 2 {
            slow.recv().await.unwrap();
        }
    }
    lifecycle.push(
        rig.notifier
            .notify("job-1", JobEvent::cancelled(), None)
            .await
            .unwrap(),
    );
    let read: Vec<EventId> = slow.by_ref().map(|record| record.id()).collect().await;
    assert!(read.is_sorted());
    assert!(lifecycle[1..].iter().all(|id| read.contains(id)));
    assert!(read.len() < lifecycle.len() + 2 * 16);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_resumes_and_a_foreign_one_is_a_gap() {
    let rig = rig(&[]);
    let mut ids = Vec::new();
    for event in [
        JobEvent::queued(),
        JobEvent::processing(1),
        JobEvent::processing(2),
        JobEvent::failed("x"),
    ] {
        ids.push(rig.notifier.notify("job-1", event, None).await.unwrap());
    }
    let from = |text: String| rig.notifier.subscribe_from("job-1", StartFrom::After(text));
    for (position, id) in ids.iter().enumerate() {
        let resumed = from(id.to_string()).await.unwrap();
        assert_eq!((resumed.gap(), resumed.is_at_end()), (None, position == 3));
        let rest: Vec<_> = resumed.map(|record| record.id()).collect().await;
        assert_eq!(rest, ids[position + 1..]);
    }
    for bad in ["", "x", "aaaaaaaaaaaa-1", &format!("{}9", ids[3])] {
        let afresh = from(bad.to_owned()).await.unwrap();
        assert_eq!(afresh.gap(), Some(bad));
        assert_eq!(
            afresh.map(|record| record.id()).collect::<Vec<_>>().await,
            ids
        );
    }
    let latest = rig
        .notifier
        .subscribe_from("job-1", StartFrom::Latest)
        .await
        .unwrap();
    assert_eq!(
        latest.map(|record| record.id()).collect::<Vec<_>>().await,
        ids[3..]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_token_ends_what_the_old_one_opened() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let old = notifier.register_job("job-1").await.unwrap();
    assert!(notifier.validate_job_token("job-1", &old).await);
    for (job, token) in [
        ("job-2", &*old),
        ("job-1", "x"),
        ("job 1", &*old),
        ("job-1", ""),
    ] {
        assert!(!notifier.validate_job_token(job, token).await);
        assert!(
            notifier
                .subscribe_authorized(job, token, StartFrom::Beginning)
                .await
                .unwrap()
                .is_none()
        );
    }
    let bound = notifier
        .subscribe_authorized("job-1", &old, StartFrom::Beginning)
        .await
        .unwrap();
    let mut bound = bound.unwrap();
    let mut free = notifier.subscribe("job-1").await.unwrap();
    let new = notifier.register_job("job-1").await.unwrap();
    assert!(!notifier.validate_job_token("job-1", &old).await);
    assert!(notifier.validate_job_token("job-1", &new).await);
    assert!(bound.recv().await.is_err());
    assert_eq!(bound.end_reason(), Some(EndReason::TokenReplaced));
    notifier
        .notify("job-1", JobEvent::queued(), None)
        .await
        .unwrap();
    assert!(free.recv().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn channels_are_counted_until_their_job_ends() {
    let rig = rig(&[]);
    let a = rig.notifier.subscribe("job-1").await.unwrap();
    let b = rig.notifier.subscribe("job-1").await.unwrap();
    let c = rig.notifier.subscribe("job-2").await.unwrap();
    assert_eq!(rig.notifier.active_channels().await, 2);
    rig.notifier
        .notify("job-1", JobEvent::completed(json!(1)), None)
        .await
        .unwrap();
    assert_eq!(rig.notifier.active_channels().await, 1);
    drop((a, b, c));
    assert_eq!(rig.notifier.active_channels().await, 0);
}

#[tokio::test]
async fn no_event_is_missed_however_subscribing_and_publishing_interleave() {
    for round in 0..200 {
        let notifier = Arc::new(rig(&[]).notifier);
        let job = format!("job-{round}");
        let writer = tokio::spawn({
            let (notifier, job) = (Arc::clone(&notifier), job.clone());
            async move {
                for event in [
                    JobEvent::queued(),
                    JobEvent::processing(1),
                    JobEvent::queued(),
                    JobEvent::failed("x"),
                ] {
                    notifier.notify(&job, event, None).await.unwrap();
                }
            }
        });
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        let subscription = notifier.subscribe(&job).await.unwrap();
        let read: Vec<u64> = subscription.map(|record| record.sequence()).collect().await;
        assert_eq!(read, [1, 2, 3, 4], "round {round}");
        writer.await.unwrap();
    }
}
