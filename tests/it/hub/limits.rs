use notify_core::DeadReason;
use notify_hub::{DeadFilter, JobEvent, JobStatus, LimitsConfig, NotifyError};
use serde_json::json;

use super::*;

#[track_caller]
fn check_code(outcome: Result<notify_hub::EventId, NotifyError>, code: &str, field: Option<&str>) {
    let refused = outcome.unwrap_err();
    assert_eq!(
        (refused.code(), refused.field()),
        (code, field),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_refusal_names_its_field_and_changes_nothing() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let notify = |job: &'static str, event, webhook| notifier.notify(job, event, webhook);
    check_code(
        notify("a b", JobEvent::queued(), None).await,
        "job_id_invalid",
        Some("job_id"),
    );
    check_code(
        notify("..", JobEvent::queued(), None).await,
        "job_id_invalid",
        Some("job_id"),
    );
    check_code(
        notify("job-1", JobEvent::processing(101), None).await,
        "event_invalid",
        Some("progress"),
    );
    let big = JobEvent::failed("x".repeat(300_000));
    check_code(notify("job-1", big, None).await, "payload_too_large", None);
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    check_code(
        notify("job-1", JobEvent::completed(deep), None).await,
        "event_invalid",
        Some("result"),
    );
    assert!(notifier.job("job-1").await.unwrap().is_none());

    let last = notify("job-1", JobEvent::completed(json!(1)), None)
        .await
        .unwrap();
    let refused = notify("job-1", JobEvent::queued(), None).await.unwrap_err();
    assert_eq!(refused, NotifyError::JobFinished { terminal: last });
    assert_eq!(
        notifier.job("job-1").await.unwrap().unwrap().head.sequence,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_stands_for_one_event() {
    let rig = rig(&[]);
    let once =
        |event, webhook, key: &'static str| rig.notifier.notify_once("job-1", event, webhook, key);
    let first = once(JobEvent::processing(1), Some(URL), "k1")
        .await
        .unwrap();
    assert_eq!(
        once(JobEvent::processing(1), Some(URL), "k1").await,
        Ok(first)
    );
    let conflict = Err(NotifyError::IdempotencyConflict);
    assert_eq!(
        once(JobEvent::processing(2), Some(URL), "k1").await,
        conflict
    );
    assert_eq!(once(JobEvent::processing(1), None, "k1").await, conflict);
    let end = once(JobEvent::failed("x"), None, "k2").await.unwrap();
    // Looked at before the job's end.
    assert_eq!(once(JobEvent::failed("x"), None, "k2").await, Ok(end));
    assert_eq!(
        once(JobEvent::processing(1), Some(URL), "k1").await,
        Ok(first)
    );
    check_code(
        once(JobEvent::queued(), None, "k3").await,
        "job_finished",
        None,
    );
    for bad in ["", "é"] {
        let refused = rig
            .notifier
            .notify_once("job-1", JobEvent::queued(), None, bad)
            .await;
        check_code(refused, "idempotency_key_invalid", Some("idempotency_key"));
    }
    rig.run_for(Duration::from_secs(1)).await;
    assert_eq!(rig.sent.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_may_go_back_and_then_ends() {
    let rig = rig(&[]);
    for event in [
        JobEvent::processing(50),
        JobEvent::queued(),
        JobEvent::processing(10),
    ] {
        rig.notifier.notify("job-1", event, None).await.unwrap();
    }
    rig.notifier
        .notify("job-1", JobEvent::cancelled(), None)
        .await
        .unwrap();
    let job = rig.notifier.job("job-1").await.unwrap().unwrap();
    assert_eq!(
        (job.head.status, job.head.sequence),
        (Some(JobStatus::Cancelled), 4)
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_setting_is_said_by_every_call() {
    let config = NotifierConfig {
        timeout_secs: 0,
        ..Default::default()
    };
    assert_eq!(
        JobNotifier::builder(config.clone())
            .build()
            .unwrap_err()
            .field,
        "timeout_secs"
    );
    let notifier = JobNotifier::new(config);
    assert!(!notifier.is_ready());
    check_code(
        notifier.notify("job-1", JobEvent::queued(), None).await,
        "config_invalid",
        Some("timeout_secs"),
    );
    assert_eq!(
        notifier.register_job("job-1").await.unwrap_err().code(),
        "config_invalid"
    );
    assert!(!notifier.validate_job_token("job-1", "x").await);
    notifier.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_filter_is_never_everything() {
    let rig = rig(&[410]);
    let told = rig
        .notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL));
    told.await.unwrap();
    rig.run_for(Duration::from_secs(1)).await;
    let refused = rig.notifier.redeliver(DeadFilter::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "filter_empty");
    assert_eq!(refused.field(), Some("filter"));
    assert_eq!(rig.notifier.dead_letters().await.unwrap().len(), 1);
    assert_eq!(rig.notifier.redeliver_all().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn one_endpoints_backlog_costs_nobody_an_event() {
    const OTHER: &str = "https://another.example/hooks";
    let limits = LimitsConfig {
        pending_per_endpoint_max: 2,
        ..Default::default()
    };
    let rig = rig_with(NotifierConfig { limits, ..config() }, |_, _| 500);
    let tell = async |job, event, url| rig.notifier.notify(job, event, Some(url)).await.unwrap();
    for job in ["a", "b"] {
        tell(job, JobEvent::queued(), URL).await;
    }
    let beyond = tell("c", JobEvent::processing(1), URL).await;
    // Progress there would only be more of the same.
    tell("c", JobEvent::processing(2), URL).await;
    tell("d", JobEvent::queued(), OTHER).await;
    let letters = rig.notifier.dead_letters().await.unwrap();
    let letters: Vec<_> = letters.iter().map(|it| (it.event_id, it.reason)).collect();
    assert_eq!(letters, [(beyond, DeadReason::BacklogFull)]);
    let counters = rig.notifier.archive().unwrap().counters().await.unwrap();
    assert_eq!(counters.pending_deliveries, 3);
    let job = rig.notifier.job("c").await.unwrap().unwrap();
    assert_eq!(job.head.sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_beyond_a_limit_is_overloaded() {
    let limits = LimitsConfig {
        pending_deliveries_max: 4,
        subscriptions_max: 2,
        ..Default::default()
    };
    let rig = rig_with(NotifierConfig { limits, ..config() }, |_, _| 500);
    for job in ["a", "b", "c", "d"] {
        rig.notifier
            .notify(job, JobEvent::queued(), Some(URL))
            .await
            .unwrap();
    }
    check_code(
        rig.notifier
            .notify("e", JobEvent::queued(), Some(URL))
            .await,
        "overloaded",
        None,
    );
    assert!(rig.notifier.job("e").await.unwrap().is_none());
    // Who has no webhook has nothing to do with those who do.
    let told = rig.notifier.notify("f", JobEvent::failed("x"), None);
    told.await.unwrap();
    let _held = [
        rig.notifier.subscribe("a").await.unwrap(),
        rig.notifier.subscribe("a").await.unwrap(),
    ];
    assert_eq!(
        rig.notifier.subscribe("a").await.unwrap_err().code(),
        "overloaded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_is_forgotten_after_its_retention() {
    let rig = rig(&[500]);
    rig.notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL))
        .await
        .unwrap();
    let token = rig.notifier.register_job("job-1").await.unwrap();
    rig.notifier
        .notify("job-2", JobEvent::queued(), None)
        .await
        .unwrap();
    rig.run_for(Duration::from_secs(24 * 3_600 - 5)).await;
    assert!(rig.notifier.validate_job_token("job-1", &token).await);
    rig.run_for(Duration::from_secs(30)).await;
    assert!(!rig.notifier.validate_job_token("job-1", &token).await);
    assert!(rig.notifier.job("job-1").await.unwrap().is_none());
    assert!(rig.notifier.job("job-2").await.unwrap().is_some());
    let counters = rig.notifier.archive().unwrap().counters().await.unwrap();
    assert_eq!((counters.jobs, counters.pending_deliveries), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_streams_and_refuses_calls() {
    let rig = rig(&[]);
    let mut events = rig.notifier.subscribe("job-1").await.unwrap();
    rig.notifier.shutdown(Duration::from_secs(5)).await;
    assert!(events.recv().await.is_err());
    check_code(
        rig.notifier.notify("job-1", JobEvent::queued(), None).await,
        "not_ready",
        None,
    );
    assert!(!rig.notifier.is_ready());
    rig.notifier.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_attempts_in_flight() {
    struct Slow(std::sync::atomic::AtomicUsize);
    impl notify_core::Transport for Slow {
        async fn send(
            &self,
            _: WebhookRequest,
        ) -> Result<WebhookResponse, notify_core::TransportError> {
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(WebhookResponse {
                status: 204,
                ..Default::default()
            })
        }
    }
    let slow = Arc::new(Slow(Default::default()));
    let notifier = JobNotifier::builder(config())
        .transport(Arc::clone(&slow))
        .build()
        .unwrap();
    notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    notifier.shutdown(Duration::from_secs(5)).await;
    assert_eq!(slow.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    let counters = notifier.archive().unwrap().counters().await.unwrap();
    assert_eq!(counters.pending_deliveries, 0);
}
