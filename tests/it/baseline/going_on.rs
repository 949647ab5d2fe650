//! A notifier goes on with it: tokens and keys hold, and what waits is delivered.

use std::time::Duration;

use notify_conformance::Ask as _;
use notify_core::signing::{self, Accepts, Received};
use notify_core::store::EndpointChange;
use notify_core::{EndpointId, Secret, WebhookRequest};
use notify_hub::NotifyError;
use serde_json::{Value, json};

use super::{Baseline, list, text};

/// By when every retry that waits is due.
const LATER: Duration = Duration::from_secs(2 * 3_600);

#[tokio::test]
async fn tokens_and_idempotency_keys_still_hold() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let (notifier, _) = baseline.notifier(Duration::ZERO);
        let (mut tokens, mut keys) = (0, 0);
        for (id, job) in baseline.jobs() {
            if let Some(token) = job["token"].as_str() {
                tokens += 1;
                assert!(notifier.validate_job_token(id, token).await, "{id}");
                assert!(!notifier.validate_job_token("exhausted", token).await);
            }
            if let Some(old) = job.get("old_token") {
                let old = text(old);
                assert!(!notifier.validate_job_token(id, old).await, "{id}");
            }
            for key in list(&job["keys"]) {
                keys += 1;
                let notify = async |event: &Value| {
                    let event = event.to_string();
                    let url = key["webhook_url"].as_str();
                    let once = Some(text(&key["key"]));
                    notifier.notify_json(id, event.as_bytes(), url, once).await
                };
                let again = notify(&key["event"]).await.unwrap();
                assert_eq!(again.id.to_string(), text(&key["id"]));
                let other = notify(&json!({"status": "processing", "progress": 1})).await;
                assert!(
                    matches!(other, Err(NotifyError::IdempotencyConflict)),
                    "{other:?}"
                );
            }
        }
        assert!(tokens > 8 && keys > 1, "{tokens} tokens, {keys} keys");
        notifier.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn what_waits_is_delivered() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let is_open = |lane: &Vec<&Value>| baseline.is_enabled(lane[0]);
        let (open, parked): (Vec<_>, Vec<_>) = baseline.lanes().into_iter().partition(is_open);
        assert!(!open.is_empty() && !parked.is_empty());

        let (notifier, sent) = baseline.notifier(LATER);
        notifier.start().await.unwrap();
        let requests = sent.wait_for(open.iter().map(Vec::len).sum()).await;
        check_delivered(&baseline, &requests, &open);
        notifier.shutdown(Duration::from_secs(5)).await;
        // Two can't have the directory at once.
        drop(notifier);
        let (store, now) = (baseline.open(), baseline.made_at().plus(LATER));
        for lane in &parked {
            let endpoint: EndpointId = text(&lane[0]["endpoint_id"]).parse().unwrap();
            let enable = EndpointChange::Enabled(true);
            let changed = store.change_endpoint(now, endpoint, enable).await;
            assert!(changed.unwrap().is_ok());
        }
        drop(store);

        let (notifier, sent) = baseline.notifier(LATER);
        notifier.start().await.unwrap();
        let requests = sent.wait_for(parked.iter().map(Vec::len).sum()).await;
        check_delivered(&baseline, &requests, &parked);
        notifier.shutdown(Duration::from_secs(5)).await;
        let counters = notifier.archive().unwrap().counters().await.unwrap();
        assert_eq!(counters.pending_deliveries, 0);
        drop(notifier);
        let report = notify_sqlite::check(baseline.dir.path()).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

/// That these lanes were delivered and nothing else: each in its order, with the
/// very bytes, signed with the endpoint's own secrets or else the operator's.
fn check_delivered(baseline: &Baseline, requests: &[WebhookRequest], lanes: &[Vec<&Value>]) {
    let mut rest: Vec<&WebhookRequest> = requests.iter().collect();
    for lane in lanes {
        let mut earlier = 0;
        for delivery in lane {
            let place = rest.iter().position(|request| {
                request.url == *text(&delivery["url"])
                    && header(request, "webhook-id") == text(&delivery["event_id"])
            });
            let place = place.unwrap_or_else(|| panic!("{delivery} is missing"));
            assert!(place >= earlier, "{delivery} came too early");
            let request = rest.remove(place);
            earlier = place;
            assert_eq!(request.body, text(&delivery["body"]));
            check_signed(baseline, request, &delivery["url"]);
        }
    }
    assert!(rest.is_empty(), "{rest:?}");
}

fn check_signed(baseline: &Baseline, request: &WebhookRequest, url: &Value) {
    let mut secrets = list(&baseline.endpoint(url)["secrets"]).clone();
    if secrets.is_empty() {
        secrets.push(baseline.story["signing_secret"].clone());
    }
    let received = Received {
        id: Some(header(request, "webhook-id")),
        timestamp: Some(header(request, "webhook-timestamp")),
        standard: Some(header(request, "webhook-signature")),
        timestamped: None,
        body: &request.body,
    };
    for secret in secrets {
        let secret = [Secret::parse(text(&secret)).unwrap()];
        let now = baseline.made_at().plus(LATER);
        let accepts = Accepts::Either;
        signing::check(&secret, &received, accepts, now, Duration::from_secs(60)).unwrap();
    }
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> &'a str {
    let mut headers = request.headers.iter();
    &headers.find(|(other, _)| *other == name).unwrap().1
}
