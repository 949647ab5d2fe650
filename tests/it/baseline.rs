//! A data directory of version 1, made by the program of that version and kept in
//! `tests/data/v1`: whatever comes later reads all of it and goes on with it.

mod going_on;
mod program;
mod reading;
mod shape;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify_core::transport::RecordingTransport;
use notify_core::{Timestamp, WebhookRequest, WebhookResponse};
use notify_hub::{Clock, JobNotifier, NotifierConfig};
use notify_sqlite::{SqliteOptions, SqliteStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

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
