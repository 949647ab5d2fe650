use notify_core::signing::{self, Accepts, Received, Scheme};
use notify_core::store::List;
use notify_core::{DeadReason, Secret};
use notify_hub::{Clock as _, DeadFilter, JobEvent, JobSpec, JobStatus, WebhookSpec};
use serde_json::json;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_webhook_is_signed_and_carries_the_events_id() {
    let rig = rig(&[]);
    let id = rig
        .notifier
        .notify(
            "job-1",
            JobEvent::completed(json!({"b": 1, "a": 2})),
            Some(URL),
        )
        .await
        .unwrap();
    rig.run_for(SECOND).await;
    let [request] = &rig.sent.requests()[..] else {
        panic!()
    };
    assert_eq!(request.url, URL);
    assert_eq!(header(request, "webhook-id"), id.to_string());
    assert_eq!(header(request, "x-job-id"), "job-1");
    assert_eq!(header(request, "content-type"), "application/json");
    assert_eq!(
        request.body,
        format!(
            r#"{{"id":"{id}","type":"job.completed","job_id":"job-1","sequence":1,"event":{{"status":"completed","result":{{"b":1,"a":2}},"timestamp":1712534400}}}}"#
        )
    );
    let received = Received {
        id: Some(header(request, "webhook-id")),
        timestamp: Some(header(request, "webhook-timestamp")),
        standard: Some(header(request, "webhook-signature")),
        timestamped: Some(header(request, "x-webhook-signature")),
        body: &request.body,
    };
    let secrets = [Secret::parse("operator-hmac-key").unwrap()];
    let check = |received| {
        signing::check(
            &secrets,
            &received,
            Accepts::Either,
            TokioClock::START,
            Duration::ZERO,
        )
    };
    assert_eq!(check(received), Ok(Scheme::Standard));
    assert_eq!(
        check(Received {
            standard: None,
            ..received
        }),
        Ok(Scheme::Timestamped)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_webhook_is_retried_with_the_same_body_and_a_new_timestamp() {
    let rig = rig(&[500, 503]);
    rig.notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 10).await;
    let requests = rig.sent.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|request| request.body == requests[0].body)
    );
    let times: Vec<u64> = requests
        .iter()
        .map(|request| header(request, "webhook-timestamp").parse().unwrap())
        .collect();
    // Retries after 1 s and 2 s, plus at most 20 %.
    assert_eq!(times[1] - times[0], 1);
    assert!((2..=3).contains(&(times[2] - times[1])), "{times:?}");
    assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_falls_due_as_something_is_written_is_made() {
    let clock = TokioClock::new();
    let rig = rig_with(config(), |nth, _| if nth % 2 == 0 { 500 } else { 204 });
    // Which of the two the notifier sees to first is not decided, so often.
    for nth in 1..=32 {
        let job = format!("job-{nth}");
        let event = JobEvent::failed("x");
        // An endpoint each: one that fails every other time would be left alone.
        let url = format!("{URL}/{nth}");
        rig.notifier.notify(&job, event, Some(&url)).await.unwrap();
        rig.run_for(SECOND / 2).await;
        let list = List {
            limit: 1,
            cursor: None,
        };
        let store = rig.notifier.archive().unwrap();
        let deliveries = store.deliveries(&job.parse().unwrap(), list).await.unwrap();
        let due_at = deliveries.items[0].attempts[0].next_attempt_at.unwrap();
        rig.run_for(due_at.since(clock.wall_now())).await;
        let event = JobEvent::queued();
        rig.notifier.notify("another", event, None).await.unwrap();
        rig.run_for(SECOND).await;
        assert_eq!(rig.sent.requests().len(), 2 * nth, "{job}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_keeps_failing_is_a_dead_letter() {
    let rig = rig_with(config(), |_, _| 500);
    let id = rig
        .notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 30).await;
    let [letter] = &rig.notifier.dead_letters().await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(
        (letter.job_id.as_str(), letter.event_id, letter.attempts),
        ("job-1", id, 4)
    );
    assert_eq!(
        (letter.reason, letter.last_error.as_str()),
        (DeadReason::Exhausted, "HTTP status 500")
    );
    assert_eq!(letter.url, URL);
    assert_eq!(letter.payload["event"]["error"], "x");
    assert_eq!(rig.sent.requests().len(), 4);
    rig.notifier.clear_dead_letters().await.unwrap();
    assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_one_before_it() {
    let rig = rig(&[500]);
    for event in [
        JobEvent::queued(),
        JobEvent::processing(1),
        JobEvent::completed(json!(1)),
    ] {
        rig.notifier
            .notify("job-1", event, Some(URL))
            .await
            .unwrap();
    }
    // Another job's events do not wait.
    rig.notifier
        .notify("job-2", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 5).await;
    assert_eq!(
        rig.events(),
        [
            "1:queued",
            "1:queued",
            "1:queued",
            "2:processing",
            "3:completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_progress_goes_out_and_not_too_often() {
    let rig = rig(&[]);
    rig.notifier
        .notify("job-1", JobEvent::processing(0), Some(URL))
        .await
        .unwrap();
    for progress in 1..=40 {
        rig.notifier
            .notify("job-1", JobEvent::processing(progress), Some(URL))
            .await
            .unwrap();
        rig.run_for(Duration::from_millis(50)).await;
    }
    rig.run_for(SECOND).await;
    let sent: Vec<u64> = rig
        .sent
        .requests()
        .iter()
        .map(|request| {
            serde_json::from_slice::<serde_json::Value>(&request.body).unwrap()["event"]["progress"]
                .as_u64()
                .unwrap()
        })
        .collect();
    // Two seconds at one in 500 ms, the first, and the last whatever happens.
    assert!((5..=7).contains(&sent.len()), "{sent:?}");
    assert!(sent.is_sorted());
    assert_eq!(sent.last(), Some(&40));
}

#[tokio::test(start_paused = true)]
async fn progress_keeps_its_distance_from_behind_a_queue_too() {
    struct Slow(Arc<std::sync::Mutex<Vec<(String, tokio::time::Instant)>>>);
    impl notify_core::Transport for Slow {
        async fn send(
            &self,
            request: WebhookRequest,
        ) -> Result<WebhookResponse, notify_core::TransportError> {
            let job = header(&request, "x-job-id").to_owned();
            let is_slow = job == "slow";
            let now = tokio::time::Instant::now();
            self.0.lock().unwrap().push((job, now));
            tokio::time::sleep(Duration::from_millis(if is_slow { 3_000 } else { 5 })).await;
            Ok(WebhookResponse {
                status: 204,
                ..Default::default()
            })
        }
    }
    let sent = Arc::default();
    let mut config = config();
    config.delivery.window = 1;
    let builder = JobNotifier::builder(config).transport(Slow(Arc::clone(&sent)));
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    let at = |millis| tokio::time::sleep(Duration::from_millis(millis));
    let tell = async |job, event| notifier.notify(job, event, Some(URL)).await.unwrap();
    tell("job", JobEvent::processing(0)).await;
    at(1_000).await;
    // It occupies the window for three seconds, and the next progress waits for it.
    tell("slow", JobEvent::queued()).await;
    at(100).await;
    tell("job", JobEvent::processing(1)).await;
    at(2_940).await;
    tell("job", JobEvent::processing(2)).await;
    at(5_000).await;
    let sent = sent.lock().unwrap();
    let of_job = sent.iter().filter(|(job, _)| job == "job");
    let times: Vec<_> = of_job.map(|(_, at)| *at).collect();
    assert_eq!(times.len(), 3);
    let distance = times[2] - times[1];
    let (least, most) = (Duration::from_millis(500), Duration::from_millis(520));
    assert!((least..most).contains(&distance), "{distance:?}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_event_is_not_held_up_for_longer_than_a_minute() {
    let schedule = vec![notify_hub::Span(SECOND * 20); 50];
    let config = NotifierConfig {
        retry_schedule: Some(schedule),
        ..config()
    };
    let rig = rig_with(config, |_, request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if body.contains("queued") { 500 } else { 204 }
    });
    rig.notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND).await;
    rig.notifier
        .notify("job-1", JobEvent::completed(json!(1)), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 61).await;
    assert_eq!(rig.events().last().unwrap(), "2:completed");
    let [letter] = &rig.notifier.dead_letters().await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(letter.reason, DeadReason::Overtaken);
}

#[tokio::test(start_paused = true)]
async fn a_registered_endpoint_is_told_what_it_asks_for() {
    let rig = rig(&[]);
    let spec = JobSpec {
        job_id: Some("job-1".into()),
        webhook: Some(WebhookSpec {
            url: URL.into(),
            secret: Some("customers-own".into()),
            events: Some(vec![JobStatus::Queued]),
        }),
    };
    let created = rig.notifier.create_job(spec.clone()).await.unwrap();
    assert!(created.webhook_secret.is_none());
    assert_eq!(
        rig.notifier.create_job(spec).await.unwrap_err().code(),
        "job_exists"
    );
    for event in [
        JobEvent::queued(),
        JobEvent::processing(1),
        JobEvent::completed(json!(1)),
    ] {
        rig.notifier.notify("job-1", event, None).await.unwrap();
    }
    rig.run_for(SECOND).await;
    assert_eq!(rig.events(), ["1:queued", "3:completed"]);
    // Signed with its own secret, not the operator's.
    let request = &rig.sent.requests()[0];
    let own = notify_core::Keyring::new(Secret::parse("customers-own").unwrap());
    let timestamp: u64 = header(request, "webhook-timestamp").parse().unwrap();
    let signed = signing::sign(
        &own,
        header(request, "webhook-id"),
        timestamp,
        &request.body,
    );
    assert_eq!(header(request, "webhook-signature"), signed.standard);
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_without_any_secret_gets_one() {
    let rig = rig_with(NotifierConfig::default(), |_, _| 204);
    let webhook = WebhookSpec {
        url: URL.into(),
        ..Default::default()
    };
    let spec = JobSpec {
        job_id: None,
        webhook: Some(webhook.clone()),
    };
    let created = rig.notifier.create_job(spec.clone()).await.unwrap();
    assert!(created.job_id.as_str().starts_with("job_"));
    let secret = created.webhook_secret.unwrap();
    assert!(secret.expose().starts_with("whsec_"));
    // It is made once: the next job at the same endpoint shares it.
    assert!(
        rig.notifier
            .create_job(spec)
            .await
            .unwrap()
            .webhook_secret
            .is_none()
    );
    let other = WebhookSpec {
        secret: Some("another".into()),
        ..webhook
    };
    let conflict = rig
        .notifier
        .create_job(JobSpec {
            job_id: None,
            webhook: Some(other),
        })
        .await;
    assert_eq!(conflict.unwrap_err().code(), "endpoint_secret_conflict");
    // Known with a secret of its own: an event may name it.
    rig.notifier
        .notify("job-9", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_never_sent_unsigned() {
    let rig = rig_with(NotifierConfig::default(), |_, _| 204);
    rig.notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 60).await;
    let [letter] = &rig.notifier.dead_letters().await.unwrap()[..] else {
        panic!()
    };
    assert_eq!(
        (letter.reason, letter.attempts),
        (DeadReason::SecretMissing, 0)
    );
    assert!(rig.sent.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn gone_means_gone() {
    let rig = rig(&[410]);
    rig.notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    rig.notifier
        .notify("job-1", JobEvent::processing(1), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 60).await;
    assert_eq!(rig.events(), ["1:queued"]);
    assert_eq!(
        rig.notifier.dead_letters().await.unwrap()[0].reason,
        DeadReason::Gone
    );
}

#[tokio::test(start_paused = true)]
async fn one_slow_receiver_does_not_hold_up_others() {
    struct BlackHole;
    impl notify_core::Transport for BlackHole {
        async fn send(
            &self,
            request: WebhookRequest,
        ) -> Result<WebhookResponse, notify_core::TransportError> {
            if request.url.host() == "hole.example" {
                tokio::time::sleep(request.timeout).await;
                return Err(notify_core::TransportError::Timeout);
            }
            Ok(WebhookResponse {
                status: 204,
                ..Default::default()
            })
        }
    }
    let builder = JobNotifier::builder(config()).transport(BlackHole);
    let notifier = builder.clock(TokioClock::new()).build().unwrap();
    for n in 0..200 {
        notifier
            .notify(
                &format!("hole-{n}"),
                JobEvent::queued(),
                Some("https://hole.example/"),
            )
            .await
            .unwrap();
    }
    notifier
        .notify("job-1", JobEvent::queued(), Some(URL))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let store = notifier.archive().unwrap();
    let job = "job-1".parse().unwrap();
    let list = List {
        limit: 1,
        cursor: None,
    };
    let delivery = &store.deliveries(&job, list).await.unwrap().items[0];
    assert_eq!(
        delivery.state,
        notify_core::delivery::DeliveryState::Delivered
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_redelivered_once_with_the_same_id() {
    let rig = rig_with(config(), |nth, _| if nth < 4 { 500 } else { 204 });
    let id = rig
        .notifier
        .notify("job-1", JobEvent::failed("x"), Some(URL))
        .await
        .unwrap();
    rig.run_for(SECOND * 30).await;
    let filter = DeadFilter {
        job: Some("job-1".parse().unwrap()),
        ..DeadFilter::default()
    };
    assert_eq!(rig.notifier.redeliver(filter.clone()).await, Ok(1));
    assert_eq!(rig.notifier.redeliver(filter).await, Ok(0));
    assert_eq!(rig.notifier.redeliver_all().await, Ok(0));
    assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
    rig.run_for(SECOND * 30).await;
    let requests = rig.sent.requests();
    let again: Vec<_> = requests
        .iter()
        .filter(|request| header(request, "webhook-id") == id.to_string())
        .collect();
    assert_eq!(again.len(), 5);
    assert!(rig.notifier.dead_letters().await.unwrap().is_empty());
}
