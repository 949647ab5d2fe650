//! Endpoints that are down: left alone, tried now and then, and caught up with.

use std::collections::BTreeMap;

use notify_core::EndpointUrl;
use notify_core::breaker::BreakerState;
use notify_core::transport::RetryAfter;
use notify_hub::{DeadLetter, DeadReason, EndpointHealth, EndpointId, JobEvent, Span};
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The server's own schedule.
fn patient() -> NotifierConfig {
    let waits = [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000];
    NotifierConfig {
        retry_schedule: Some(waits.map(|secs| Span(SECOND * secs)).to_vec()),
        ..config()
    }
}

/// A receiver that is down for so long, and then well.
fn down_for(config: NotifierConfig, outage: Duration) -> Rig {
    let began = Instant::now();
    rig_with(
        config,
        move |_, _| {
            if began.elapsed() < outage { 503 } else { 204 }
        },
    )
}

async fn notify(rig: &Rig, jobs: std::ops::Range<usize>) {
    for nth in jobs {
        let event = JobEvent::failed("x");
        let job = format!("job-{nth}");
        rig.notifier.notify(&job, event, Some(URL)).await.unwrap();
    }
}

async fn endpoint(rig: &Rig) -> EndpointId {
    let store = rig.notifier.archive().unwrap();
    let endpoint = store
        .endpoint_at(&EndpointUrl::parse(URL).unwrap())
        .await
        .unwrap();
    endpoint.unwrap().id
}

async fn health(rig: &Rig) -> EndpointHealth {
    let id = endpoint(rig).await;
    rig.notifier.endpoint_health(id).unwrap()
}

async fn pending(rig: &Rig) -> u64 {
    let store = rig.notifier.archive().unwrap();
    store.counters().await.unwrap().pending_deliveries
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_two_minutes_burns_nothing() {
    for config in [patient(), config()] {
        let rig = down_for(config, SECOND * 120);
        notify(&rig, 0..40).await;
        rig.run_for(SECOND * 20).await;
        let health = health(&rig).await;
        assert_eq!(health.breaker, BreakerState::Open);
        assert_eq!(health.last_success_at, None);
        // No more than were in flight when it was seen to be down.
        let tried = rig.sent.requests().len();
        assert!((5..=16).contains(&tried), "{tried}");
        notify(&rig, 40..100).await;
        rig.run_for(SECOND * 90).await;
        let probes = rig.sent.requests().len() - tried;
        assert!((1..=3).contains(&probes), "{probes}");
        rig.run_for(SECOND * 300).await;
        assert_eq!(pending(&rig).await, 0);
        assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
        let mut delivered = BTreeMap::new();
        for request in rig.sent.requests() {
            *delivered
                .entry(header(&request, "webhook-id").to_owned())
                .or_insert(0) += 1;
        }
        assert_eq!(delivered.len(), 100);
        assert!(delivered.values().all(|&attempts| attempts <= 4));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_receiver_that_is_down_for_good_expires() {
    let mut config = patient();
    config.max_age = Some(Span(SECOND * 3_600));
    let rig = down_for(config, Duration::MAX);
    notify(&rig, 0..100).await;
    rig.run_for(SECOND * 3_500).await;
    assert_eq!(pending(&rig).await, 100);
    // In an hour: some until it was seen, and then one after 30 s, 60 s, 120 s, …
    let tried = rig.sent.requests().len();
    assert!(tried <= 24, "{tried}");
    // Some of those that were probes are due only hours later.
    rig.run_for(SECOND * 3_600 * 48).await;
    assert_eq!(pending(&rig).await, 0);
    let dead = rig.notifier.dead_letters().await.unwrap();
    assert_eq!(dead.len(), 100);
    // But for those that had an attempt whenever they were due, and have none left.
    let (expired, rest): (Vec<_>, Vec<_>) = dead
        .iter()
        .partition(|letter| letter.reason == DeadReason::Expired);
    assert!(expired.len() >= 90, "{}", expired.len());
    let is_used_up =
        |letter: &&DeadLetter| (letter.reason, letter.attempts) == (DeadReason::Exhausted, 9);
    assert!(rest.iter().all(is_used_up), "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_time_is_left_alone_as_a_whole() {
    let began = Instant::now();
    let sent = Arc::new(RecordingTransport::answering(move |_, _| {
        let is_over = began.elapsed() >= SECOND * 60;
        Ok(WebhookResponse {
            status: if is_over { 204 } else { 429 },
            retry_after: (!is_over).then_some(RetryAfter::Delay(SECOND * 60)),
            ..Default::default()
        })
    }));
    let builder = JobNotifier::builder(config()).transport(Arc::clone(&sent));
    let rig = Rig {
        notifier: builder.clock(TokioClock::new()).build().unwrap(),
        sent,
    };
    notify(&rig, 0..1).await;
    rig.run_for(SECOND).await;
    assert_eq!(health(&rig).await.breaker, BreakerState::Paced);
    notify(&rig, 1..30).await;
    rig.run_for(SECOND * 55).await;
    assert_eq!(rig.sent.requests().len(), 1);
    rig.run_for(SECOND * 10).await;
    assert_eq!(rig.sent.requests().len(), 31);
    let health = health(&rig).await;
    assert_eq!(health.breaker, BreakerState::Closed);
    assert!(health.last_success_at.is_some());
}
