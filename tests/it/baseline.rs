//! A data directory of version 1, made by the program of that version and kept in
//! `tests/data/v1`: whatever comes later reads all of it and goes on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::{Attempt, DeadLetter, DeliveryView, Leased};
use notify_core::endpoint::Endpoint;
use notify_core::job::EventKind;
use notify_core::signing::{self, Accepts, Received};
use notify_core::store::{DeadFilter, EndpointChange, JobView, List, Room};
use notify_core::transport::RecordingTransport;
use notify_core::{
    EndpointId, JobId, JobStatus, Secret, Store, Timestamp, WebhookRequest, WebhookResponse,
};
use notify_hub::{Clock, JobNotifier, NotifierConfig, NotifyError};
use notify_sqlite::{SqliteOptions, SqliteStore};
use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use notify_tests::sse_client::StreamRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// By when every retry that waits is due.
const LATER: Duration = Duration::from_secs(2 * 3_600);

/// A copy of the directory, and what must be readable in it.
struct Baseline {
    dir: TempDir,
    /// Of the story as a whole.
    story: Value,
    /// Of this copy.
    expected: Value,
}

impl Baseline {
    /// As an orderly shutdown left it.
    fn closed() -> Self {
        Self::copied("closed", &["notify.db", "api-key.sha256"])
    }

    /// As a killed process left it, with what only the log has.
    fn killed() -> Self {
        Self::copied("killed", &["notify.db", "notify.db-wal", "api-key.sha256"])
    }

    fn copied(which: &str, files: &[&str]) -> Self {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/v1");
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            fs::copy(kept.join(name), dir.path().join(name)).unwrap();
        }
        let story = fs::read(kept.join("expected.json")).unwrap();
        let story: Value = serde_json::from_slice(&story).unwrap();
        let expected = story[which].clone();
        Self {
            dir,
            story,
            expected,
        }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.dir.path(), SqliteOptions::default()).unwrap()
    }

    /// A notifier over it in which it is `after` the time it was made, and the
    /// record of what it sends.
    fn notifier(&self, after: Duration) -> (JobNotifier, Sent) {
        let config = NotifierConfig {
            signing_secret: text(&self.story["signing_secret"]).into(),
            ..NotifierConfig::default()
        };
        let sent = Sent::default();
        let builder = JobNotifier::builder(config)
            .store(self.open())
            .transport(sent.transport())
            .clock(Stopped(self.made_at().plus(after)));
        (builder.build().unwrap(), sent)
    }

    fn made_at(&self) -> Timestamp {
        millis(&self.story["made_at"])
    }

    fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        let jobs = self.expected["jobs"].as_object().unwrap();
        jobs.iter().map(|(id, job)| (id.as_str(), job))
    }

    /// The deliveries that wait, by lane, each lane in its order.
    fn lanes(&self) -> Vec<Vec<&Value>> {
        let mut lanes: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
        for delivery in list(&self.expected["pending"]) {
            let redelivery = (delivery["generation"] != 0).then(|| text(&delivery["id"]));
            let lane = (
                text(&delivery["job_id"]),
                text(&delivery["endpoint_id"]),
                redelivery,
            );
            lanes.entry(lane).or_default().push(delivery);
        }
        lanes.into_values().collect()
    }

    /// The endpoints, by URL.
    fn endpoint(&self, url: &Value) -> &Value {
        let mut endpoints = list(&self.expected["endpoints"]).iter();
        endpoints.find(|known| known["url"] == *url).unwrap()
    }

    fn is_enabled(&self, delivery: &Value) -> bool {
        self.endpoint(&delivery["url"])["enabled"] == true
    }
}

/// A wall clock that stands still, so that nothing of the data ages.
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn wall_now(&self) -> Timestamp {
        self.0
    }
}

/// What was sent, and how much of it.
#[derive(Default)]
struct Sent {
    requests: Arc<watch::Sender<Vec<WebhookRequest>>>,
}

impl Sent {
    /// Answers 204 to everything.
    fn transport(&self) -> RecordingTransport {
        let requests = Arc::clone(&self.requests);
        RecordingTransport::answering(move |_, request| {
            requests.send_modify(|requests| requests.push(request.clone()));
            Ok(WebhookResponse {
                status: 204,
                ..WebhookResponse::default()
            })
        })
    }

    async fn wait_for(&self, count: usize) -> Vec<WebhookRequest> {
        let mut requests = self.requests.subscribe();
        let enough = requests.wait_for(|requests| requests.len() >= count);
        let waited = tokio::time::timeout(Duration::from_secs(30), enough).await;
        let came = waited.is_ok();
        drop(waited);
        let requests = self.requests.borrow().clone();
        assert!(came, "{} of {count}: {requests:?}", requests.len());
        requests
    }
}

#[tokio::test]
async fn everything_that_was_closed_in_order_is_read_back() {
    check_read_back(Baseline::closed()).await;
}

#[tokio::test]
async fn everything_that_a_killed_program_left_is_read_back() {
    check_read_back(Baseline::killed()).await;
}

async fn check_read_back(baseline: Baseline) {
    let report = notify_sqlite::check(baseline.dir.path()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let store = baseline.open();
    let everything = List {
        limit: 1_000,
        cursor: None,
    };

    let jobs = store.jobs(None, everything.clone()).await.unwrap().items;
    let names: BTreeSet<_> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(names, baseline.jobs().map(|(id, _)| id).collect());
    for job in jobs {
        let expected = &baseline.expected["jobs"][job.id.as_str()];
        check_same(&job_json(&store, &job).await, expected, job.id.as_str());
    }
    for job in list(&baseline.story["forgotten_jobs"]) {
        let job: JobId = text(job).parse().unwrap();
        assert!(store.job(&job).await.unwrap().is_none(), "{job}");
    }

    let dead = store
        .dead_letters(DeadFilter::default(), everything.clone())
        .await;
    let mut dead = dead.unwrap().items;
    dead.reverse();
    let dead: Vec<Value> = dead.iter().map(dead_json).collect();
    let expected = list(&baseline.expected["dead_letters"]);
    assert_eq!(dead.len(), expected.len());
    for (found, expected) in dead.iter().zip(expected) {
        check_same(found, expected, text(&expected["id"]));
        let payload: Value = serde_json::from_str(text(&expected["body"])).unwrap();
        assert_eq!(found["payload"], payload);
    }

    for expected in list(&baseline.expected["pending"]) {
        let id = text(&expected["id"]);
        let view = store.delivery(id.parse().unwrap()).await.unwrap();
        check_same(&delivery_json(&view.unwrap()), expected, id);
    }

    let endpoints = store.endpoints(everything).await.unwrap().items;
    assert_eq!(endpoints.len(), list(&baseline.expected["endpoints"]).len());
    for endpoint in &endpoints {
        let expected = baseline.endpoint(&json!(endpoint.url.as_str()));
        check_same(&endpoint_json(endpoint), expected, endpoint.url.as_str());
    }
}

#[tokio::test]
async fn what_waits_is_due_when_it_was() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let store = baseline.open();
        let heads: Vec<&Value> = baseline.lanes().iter().map(|lane| lane[0]).collect();
        let expected = |from: Timestamp, to: Timestamp| {
            let due = move |head: &Value| (from..to).contains(&millis(&head["due_at"]));
            let due = heads.iter().filter(|head| due(head));
            let due = due.filter(|head| baseline.is_enabled(head));
            let due = due.map(|head| (text(&head["id"]).to_owned(), *head));
            due.collect::<BTreeMap<_, _>>()
        };
        let now = baseline.made_at();
        let mut before = Timestamp::EPOCH;
        // Each just before it is due, then when it is.
        let due_times: BTreeSet<_> = heads.iter().map(|head| millis(&head["due_at"])).collect();
        for due_at in due_times.into_iter().filter(|due_at| *due_at > now) {
            for at in [Timestamp::from_millis(due_at.as_millis() - 1), due_at] {
                let after = Timestamp::from_millis(at.as_millis() + 1);
                check_claimed(&store, at, &expected(before, after)).await;
                before = after;
            }
        }
    }
}

async fn check_claimed(store: &SqliteStore, at: Timestamp, expected: &BTreeMap<String, &Value>) {
    let room = Room {
        each: 64,
        ..Room::default()
    };
    let claimed = store.claim(at, room, 1_000).await.unwrap();
    assert!(claimed.died.is_empty(), "{claimed:?}");
    let found = claimed.leased.iter().map(leased_json);
    let found: BTreeMap<_, _> = found
        .map(|found| (text(&found["id"]).to_owned(), found))
        .collect();
    assert!(found.keys().eq(expected.keys()), "{at:?}: {found:#?}");
    for (id, found) in &found {
        check_same(found, expected[id], id);
    }
}

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
                assert_eq!(again.to_string(), text(&key["id"]));
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
        let store = Arc::clone(notifier.store().unwrap());
        for lane in &parked {
            let endpoint: EndpointId = text(&lane[0]["endpoint_id"]).parse().unwrap();
            let enable = EndpointChange::Enabled(true);
            store.change_endpoint(endpoint, enable).await.unwrap();
        }
        notifier.shutdown(Duration::from_secs(5)).await;
        // Two notifiers can't have the directory at once.
        drop((store, notifier));

        let (notifier, sent) = baseline.notifier(LATER);
        notifier.start().await.unwrap();
        let requests = sent.wait_for(parked.iter().map(Vec::len).sum()).await;
        check_delivered(&baseline, &requests, &parked);
        notifier.shutdown(Duration::from_secs(5)).await;
        let counters = notifier.store().unwrap().counters().await.unwrap();
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

#[tokio::test]
async fn the_program_finds_it_sound_and_serves_it() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let dir = baseline.dir.path().to_str().unwrap();
        let checked = Program::run(&["check", "--data-dir", dir], &[]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");

        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", dir];
        // The data is as old as it is; nothing of it is to be forgotten.
        let env = [
            (
                "NOTIFY_SIGNING_SECRET",
                text(&baseline.story["signing_secret"]),
            ),
            ("NOTIFY_STORE__RETENTION", "36500d"),
            ("NOTIFY_STORE__DEAD_LETTER_RETENTION", "36500d"),
        ];
        let program = Program::start(&args, &env);
        let address = program.address().await;
        for (id, job) in baseline.jobs() {
            let get = HttpRequest::get(format!("/v1/jobs/{id}"));
            let view = get.bearer(text(&baseline.story["api_key"]));
            let view = view.send(address).await.json();
            assert_eq!(view["sequence"], job["sequence"], "{view}");
            let last = list(&job["events"]).last();
            let last = last.map(|event| text(&event["id"]));
            assert_eq!(view["last_event"]["id"].as_str(), last, "{view}");
            let is_over = last.is_some() && ["completed", "failed"].contains(&text(&job["status"]));
            if let Some(token) = job["token"].as_str().filter(|_| is_over) {
                let stream = StreamRequest::of_job(id).bearer(token).send(address).await;
                let stream = stream.text().await;
                for event in list(&job["events"]) {
                    let block = format!("\ndata: {}\n", text(&event["json"]));
                    assert!(stream.contains(&block), "{id}: {stream}");
                }
            }
        }
        program.terminate().await;
        assert_eq!(program.ended().await.code, Some(0));
        let checked = Program::run(&["check", "--data-dir", dir], &[]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
}

/// The job with all that is read of it, in the shape of `expected.json`.
async fn job_json(store: &SqliteStore, view: &JobView) -> Value {
    let page = store.read(&view.id, 0, 1_000).await.unwrap().unwrap();
    let last = page.events.last().map(|record| record.json());
    assert_eq!(view.last.as_ref().map(|record| record.json()), last);
    let events = page.events.iter().map(|record| {
        json!({
            "id": record.id().to_string(),
            "kind": kind(record.kind()),
            "status": record.status().as_str(),
            "json": std::str::from_utf8(&record.json()).unwrap(),
        })
    });
    let list = List {
        limit: 1_000,
        cursor: None,
    };
    let deliveries = store.deliveries(&view.id, list).await.unwrap().items;
    for delivery in &deliveries {
        let alone = store.delivery(delivery.id).await.unwrap();
        assert_eq!(alone.as_ref(), Some(delivery));
    }
    let filter = [JobStatus::Queued, JobStatus::Processing];
    let webhook = view.webhook.as_ref().map(|(url, asked_for)| {
        let events = filter.iter().filter(|status| asked_for.wants(**status));
        let events: Vec<_> = events.map(|status| status.as_str()).collect();
        json!({"url": url.as_str(), "events": events})
    });
    json!({
        "epoch": page.head.epoch.to_string(),
        "sequence": page.head.sequence,
        "status": page.head.status.map(JobStatus::as_str),
        "created_at": view.created_at.as_millis(),
        "updated_at": view.updated_at.as_millis(),
        "webhook": webhook,
        "events": events.collect::<Vec<_>>(),
        "deliveries": deliveries.iter().map(delivery_json).collect::<Vec<_>>(),
    })
}

fn delivery_json(view: &DeliveryView) -> Value {
    json!({
        "id": view.id.to_string(),
        "event_id": view.event_id.to_string(),
        "endpoint_id": view.endpoint_id.to_string(),
        "url": view.url.as_str(),
        "generation": view.generation,
        "state": view.state.as_str(),
        "attempts": attempts_json(&view.attempts),
    })
}

fn leased_json(leased: &Leased) -> Value {
    let delivery = leased.delivery();
    let body = delivery.record.webhook_body(&delivery.lane.job);
    json!({
        "id": delivery.id.to_string(),
        "job_id": delivery.lane.job.as_str(),
        "event_id": delivery.record.id().to_string(),
        "endpoint_id": delivery.lane.endpoint.to_string(),
        "url": delivery.url.as_str(),
        "generation": delivery.generation,
        "accepted_at": delivery.accepted_at.as_millis(),
        "due_at": delivery.due_at.as_millis(),
        "attempts_made": delivery.attempts_made,
        "body": std::str::from_utf8(&body).unwrap(),
    })
}

fn dead_json(letter: &DeadLetter) -> Value {
    assert_eq!(letter.attempts as usize, letter.history.len());
    let last_error = letter.history.last().and_then(Attempt::failure);
    assert_eq!(letter.last_error, last_error.unwrap_or_default());
    json!({
        "id": letter.id.to_string(),
        "job_id": letter.job_id.as_str(),
        "event_id": letter.event_id.to_string(),
        "endpoint_id": letter.endpoint_id.to_string(),
        "url": letter.url.as_str(),
        "reason": letter.reason.as_str(),
        "died_at": letter.died_at.as_millis(),
        "attempts": attempts_json(&letter.history),
        "payload": letter.payload,
    })
}

fn attempts_json(attempts: &[Attempt]) -> Value {
    let attempt = |attempt: &Attempt| {
        json!({
            "number": attempt.number,
            "at": attempt.at.as_millis(),
            "duration_ns": u64::try_from(attempt.duration.as_nanos()).unwrap(),
            "status": attempt.status,
            "error": attempt.error,
            "snippet": attempt.snippet,
            "next_attempt_at": attempt.next_attempt_at.map(Timestamp::as_millis),
        })
    };
    attempts.iter().map(attempt).collect()
}

fn endpoint_json(endpoint: &Endpoint) -> Value {
    let keyring = endpoint.keyring.iter();
    let secrets = keyring.flat_map(|keyring| keyring.newest_first());
    json!({
        "id": endpoint.id.to_string(),
        "url": endpoint.url.as_str(),
        "enabled": endpoint.enabled,
        "secrets": secrets.map(|secret| secret.expose()).collect::<Vec<_>>(),
    })
}

/// That every field that both have is the same. What only one of them has is
/// looked at elsewhere.
#[track_caller]
fn check_same(found: &Value, expected: &Value, what: &str) {
    let expected = expected.as_object().unwrap();
    let mut same = 0;
    for (name, found) in found.as_object().unwrap() {
        if let Some(expected) = expected.get(name) {
            same += 1;
            assert_eq!(found, expected, "{what}: {name}");
        }
    }
    assert!(same > 3, "{what}: hardly anything was compared");
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> &'a str {
    let mut headers = request.headers.iter();
    &headers.find(|(other, _)| *other == name).unwrap().1
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Progress => "progress",
        EventKind::Lifecycle => "lifecycle",
        EventKind::Terminal => "terminal",
    }
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn millis(value: &Value) -> Timestamp {
    Timestamp::from_millis(value.as_u64().unwrap())
}
