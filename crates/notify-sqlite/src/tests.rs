//! What only this store can be asked: its files, its refusals, its damage. What
//! every store does alike is asked by the suite, `notify-conformance`.

mod bugs;
mod crowded;
mod damage;
mod damaged_rows;
mod log;
mod migrating;
mod opening;
mod restarting;
mod rows;
mod sharing;
mod space;
mod threads;
mod unnamed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::{Attempt, Leased, Outcome, Settle};
use notify_core::endpoint::EventFilter;
use notify_core::event::{EventDraft, Fingerprint};
use notify_core::store::{
    Answer, Append, Appended, Archive, Batch, EndpointChange, FreshIds, List, Operation, Refusal,
    RegisterWebhook, Registered, Registration, Room, Store, StoreError, Sweep, Webhook, Written,
};
use notify_core::{
    DeadReason, EndpointId, EndpointUrl, Epoch, EventLimits, IdempotencyKey, JobEvent, JobId,
    Secret, Timestamp,
};
use tempfile::TempDir;

use crate::{OpenError, SqliteOptions, SqliteStore};

/// A data directory that goes with the test.
struct Bench {
    dir: TempDir,
    next: std::cell::Cell<u128>,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            next: std::cell::Cell::new(1),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.path().join("notify.db")
    }

    #[track_caller]
    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path(), options()).unwrap()
    }

    #[track_caller]
    fn refused(&self) -> OpenError {
        SqliteStore::open(self.path(), options()).unwrap_err()
    }

    /// Writes to the database behind the store's back.
    #[track_caller]
    fn tamper(&self, sql: &str) {
        let conn = rusqlite::Connection::open(self.database()).unwrap();
        let changed = conn.execute(sql, []).unwrap();
        assert!(changed > 0, "{sql}");
    }

    fn fresh(&self) -> FreshIds {
        let random = || {
            let next = self.next.get() + 1;
            self.next.set(next);
            // Spread over all characters of an id.
            next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        FreshIds {
            epoch: Epoch::from_random(random()),
            endpoint: EndpointId::from_random(random()),
        }
    }

    fn append(&self, to: &str, event: JobEvent) -> Append {
        Append {
            job: job(to),
            draft: draft(event),
            idempotency: None,
            webhook: None,
            has_global_secret: true,
            progress_min_interval: Duration::from_millis(500),
            fresh: self.fresh(),
        }
    }

    fn append_for(&self, webhook: &str, to: &str, event: JobEvent) -> Append {
        Append {
            webhook: Some(Webhook::To(url(webhook))),
            ..self.append(to, event)
        }
    }

    fn registration(&self, of: &str, webhook: Option<&str>) -> Registration {
        Registration {
            job: job(of),
            token: [7; 32],
            replace_token: false,
            webhook: webhook.map(|name| RegisterWebhook {
                url: url(name),
                filter: EventFilter::ALL,
                secret: None,
                secret_if_new: Some(Secret::parse("a secret of its own").unwrap()),
            }),
            fresh: self.fresh(),
        }
    }
}

fn options() -> SqliteOptions {
    SqliteOptions {
        progress_events_max: 4,
        min_free_bytes: 0,
        ..SqliteOptions::default()
    }
}

/// Copies a data directory as a crash would leave it: nothing is closed.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["notify.db", "notify.db-wal"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

async fn write(store: &SqliteStore, now: Timestamp, batch: Batch) -> Written {
    store.write(now, Arc::new(batch)).await.unwrap()
}

/// One operation for each, in one batch.
fn asking(operations: impl IntoIterator<Item = Operation>) -> Batch {
    Batch {
        operations: operations.into_iter().collect(),
        ..Batch::default()
    }
}

async fn ask(store: &SqliteStore, now: Timestamp, operation: Operation) -> Result<Answer, Refusal> {
    let written = write(store, now, asking([operation])).await;
    written.answers.into_iter().next().unwrap()
}

async fn accept(store: &SqliteStore, append: Append) -> Appended {
    appended(ask(store, NOW, Operation::Append(append)).await).unwrap()
}

#[track_caller]
fn appended(answer: Result<Answer, Refusal>) -> Result<Appended, Refusal> {
    answer.map(|answer| match answer {
        Answer::Appended(appended) => appended,
        other => panic!("{other:?}"),
    })
}

async fn register(store: &SqliteStore, registration: Registration) -> Registered {
    match ask(store, NOW, Operation::Register(Box::new(registration))).await {
        Ok(Answer::Registered(registered)) => registered,
        other => panic!("{other:?}"),
    }
}

/// Redelivers every dead letter; how many those were.
async fn redeliver(store: &SqliteStore, now: Timestamp) -> u64 {
    match ask(store, now, Operation::Redeliver(Sweep::all())).await {
        Ok(Answer::Swept(swept)) => swept.count,
        other => panic!("{other:?}"),
    }
}

async fn settle(store: &SqliteStore, now: Timestamp, settles: Vec<Settle>) -> Written {
    let batch = Batch {
        settles,
        ..Batch::default()
    };
    write(store, now, batch).await
}

fn enable(endpoint: EndpointId, enabled: bool) -> Operation {
    let change = EndpointChange::Enabled(enabled);
    Operation::ChangeEndpoint { endpoint, change }
}

fn plenty() -> Room {
    Room {
        each: 1_000,
        ..Room::default()
    }
}

async fn claim(store: &SqliteStore, now: Timestamp) -> Vec<Leased> {
    store.claim(now, plenty(), 1_000).await.unwrap().leased
}

fn attempt(number: u32, status: u16) -> Attempt {
    Attempt {
        number,
        at: NOW,
        duration: Duration::from_millis(20),
        status: Some(status),
        error: None,
        snippet: None,
        next_attempt_at: None,
    }
}

fn dead(leased: Leased, reason: DeadReason) -> Settle {
    leased.settle(Outcome::Dead { reason }, Some(attempt(1, 500)))
}

fn job(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

fn url(name: &str) -> EndpointUrl {
    EndpointUrl::parse(&format!("https://{name}.example/hook")).unwrap()
}

fn fingerprint(event: &JobEvent) -> Fingerprint {
    let content = event.clone().content(EventLimits::default());
    content.unwrap().fingerprint(None)
}

fn draft(event: JobEvent) -> EventDraft {
    event.draft(1_712_534_400, EventLimits::default()).unwrap()
}

fn all() -> List {
    List {
        limit: 1_000,
        cursor: None,
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_712_534_400);
