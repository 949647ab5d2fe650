//! Jobs and endpoints that are deleted while something of them is under way.

use std::sync::atomic::{AtomicUsize, Ordering};

use notify_core::TransportError;
use notify_hub::{EndReason, JobEvent, JobSpec, StartFrom, WebhookSpec};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A job that tells [`URL`].
async fn telling(rig: &Rig, job: &str) -> notify_hub::CreatedJob {
    let spec = JobSpec {
        job_id: Some(job.into()),
        webhook: Some(WebhookSpec {
            url: URL.into(),
            ..Default::default()
        }),
    };
    rig.notifier.create_job(spec).await.unwrap()
}

async fn endpoint_id(notifier: &JobNotifier) -> notify_core::EndpointId {
    let url = notify_core::EndpointUrl::parse(URL).unwrap();
    let archive = notifier.archive().unwrap();
    archive.endpoint_at(&url).await.unwrap().unwrap().id
}

#[tokio::test(start_paused = true)]
async fn the_subscriptions_of_a_deleted_job_end_and_its_token_opens_nothing() {
    let rig = rig(&[]);
    let notifier = &rig.notifier;
    let token = telling(&rig, "job-1").await.token;
    notifier
        .notify("job-1", JobEvent::processing(1), None)
        .await
        .unwrap();
    let open = || notifier.subscribe_authorized("job-1", &token, StartFrom::Beginning);
    let mut with_token = open().await.unwrap().unwrap();
    let mut without = notifier.subscribe("job-1").await.unwrap();
    with_token.recv().await.unwrap();
    let running = notifier.delete_job("job-1", false).await;
    assert_eq!(running.unwrap_err().code(), "job_running");

    let ended = tokio::time::timeout(SECOND, with_token.recv());
    let (deleted, ended) = tokio::join!(notifier.delete_job("job-1", true), ended);
    assert_eq!((deleted, ended), (Ok(()), Ok(Err(notify_hub::Closed))));
    assert_eq!(with_token.end_reason(), Some(EndReason::Forgotten));
    // One that had not read all of it yet ends too.
    while without.recv().await.is_ok() {}
    assert_eq!(without.end_reason(), Some(EndReason::Forgotten));
    assert!(open().await.unwrap().is_none());
    assert!(!notifier.validate_job_token("job-1", &token).await);
    assert_eq!(notifier.live_log_bytes(), 0);
    let again = notifier.delete_job("job-1", true).await;
    assert_eq!(again.unwrap_err().code(), "job_unknown");
}

/// Answers 500 after ten seconds, and counts what it was asked.
#[derive(Default)]
struct Slow {
    begun: AtomicUsize,
}

impl notify_core::Transport for Slow {
    async fn send(&self, _: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(SECOND * 10).await;
        Ok(WebhookResponse {
            status: 500,
            ..Default::default()
        })
    }
}

/// A job at a hundred endpoints of one host, or an endpoint of a hundred jobs: some of it
/// is in flight, some ready to go. What is deleted, and how much was begun by then.
async fn check_is_never_sent(deletes_job: bool, in_flight: usize) {
    let sent = Arc::new(Slow::default());
    let builder = JobNotifier::builder(config()).transport(Arc::clone(&sent));
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    for nth in 0..100 {
        let (job, url) = if deletes_job {
            ("job".to_owned(), format!("{URL}/{nth}"))
        } else {
            (format!("job-{nth}"), URL.to_owned())
        };
        let event = JobEvent::queued();
        notifier.notify(&job, event, Some(&url)).await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!(sent.begun.load(Ordering::Relaxed), in_flight);
    if deletes_job {
        assert_eq!(notifier.delete_job("job", true).await, Ok(()));
    } else {
        let id = endpoint_id(&notifier).await;
        assert_eq!(notifier.delete_endpoint(id).await, Ok(()));
    }
    let counters = notifier.archive().unwrap().counters().await.unwrap();
    assert_eq!(counters.pending_deliveries, 0);
    tokio::time::sleep(SECOND * 100).await;
    assert_eq!(sent.begun.load(Ordering::Relaxed), in_flight);
    // What was in flight has come to nothing.
    let counters = notifier.archive().unwrap().counters().await.unwrap();
    assert_eq!((counters.pending_deliveries, counters.dead_letters), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_of_a_deleted_job_is_never_sent() {
    check_is_never_sent(true, 64).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_of_a_deleted_endpoint_is_never_sent() {
    check_is_never_sent(false, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_whose_caller_has_gone_away_goes_on_to_its_end() {
    let rig = rig_with(config(), |_, _| 500);
    let jobs = 3 * notify_core::store::Deletion::STEP_MAX;
    for nth in 0..jobs {
        let job = format!("job-{nth}");
        let event = JobEvent::queued();
        rig.notifier.notify(&job, event, Some(URL)).await.unwrap();
    }
    let id = endpoint_id(&rig.notifier).await;
    let mut deletion = Box::pin(rig.notifier.delete_endpoint(id));
    assert!(futures_util::poll!(&mut deletion).is_pending());
    drop(deletion);
    rig.run_for(SECOND).await;
    let archive = rig.notifier.archive().unwrap();
    assert!(archive.endpoint(id).await.unwrap().is_none());
    assert_eq!(archive.counters().await.unwrap().pending_deliveries, 0);
    let sent = rig.sent.requests().len();
    rig.run_for(SECOND * 100).await;
    assert_eq!(rig.sent.requests().len(), sent);
}
