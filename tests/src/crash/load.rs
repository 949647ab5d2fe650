//! Producers: they push jobs through their lives, note what was acknowledged,
//! and come back after every crash.

#![expect(
    clippy::unwrap_used,
    reason = "a rig that can't do its part has failed"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use notify_core::{EventId, JobStatus};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Ledger;
use super::server::KEY;

/// How long a producer waits for an answer before it asks again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Producers at work.
pub struct Load {
    shared: Arc<Shared>,
    producers: JoinSet<()>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    /// Where the server listens; `None` while there is none.
    server: watch::Sender<Option<SocketAddr>>,
    work: Work,
    next_job: AtomicU64,
    calls: Mutex<Calls>,
    stop: watch::Sender<bool>,
}

/// What producers send.
struct Work {
    /// What their jobs are called, up to a number.
    jobs: &'static str,
    /// What follows an event's path.
    query: String,
    /// What follows an event's status.
    result: String,
}

/// What became of the calls that were not simply accepted, and how long those
/// took that were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// Refused with a code.
    pub refused: u64,
    /// Of those, refused without saying when to come back.
    pub refused_bare: u64,
    /// Without an answer within 10 s, though the connection held.
    pub unanswered: u64,
    /// The longest that an accepted call took, or one without an answer.
    pub slowest: Duration,
}

/// What became of one call.
enum Answer {
    Accepted(EventId),
    /// Refused; nothing was recorded. Says whether a time to come back was named.
    Refused {
        retry_after: bool,
    },
    /// The connection broke: it may have been accepted or not.
    Unknown,
}

impl Load {
    /// Starts so many producers, who tell `webhook` of every event.
    pub fn start(producers: usize, webhook: &str) -> Self {
        let webhook: String = webhook.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let work = Work {
            jobs: "job",
            query: format!("?webhook_url={webhook}"),
            result: String::new(),
        };
        Self::of(producers, work)
    }

    /// Starts so many producers of large events that nobody is told of.
    pub fn bulky(producers: usize, result_bytes: usize) -> Self {
        let work = Work {
            jobs: "bulk",
            query: String::new(),
            result: format!(r#","result":"{}""#, "x".repeat(result_bytes)),
        };
        Self::of(producers, work)
    }

    fn of(producers: usize, work: Work) -> Self {
        let shared = Arc::new(Shared {
            ledger: Mutex::default(),
            server: watch::Sender::new(None),
            work,
            next_job: AtomicU64::new(0),
            calls: Mutex::default(),
            stop: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..producers {
            tasks.spawn(produce(Arc::clone(&shared)));
        }
        Self {
            shared,
            producers: tasks,
        }
    }

    /// Sends the producers to a server, or lets them wait for one.
    pub fn send_to(&self, server: Option<SocketAddr>) {
        self.shared.server.send_replace(server);
    }

    /// What was acknowledged so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// How many calls were refused with a code.
    pub fn refused(&self) -> u64 {
        self.calls().refused
    }

    /// What became of the calls so far.
    pub fn calls(&self) -> Calls {
        *self.shared.calls()
    }

    /// The same, of which the slowest is then forgotten.
    pub fn take_calls(&self) -> Calls {
        let mut calls = self.shared.calls();
        let taken = *calls;
        calls.slowest = Duration::ZERO;
        taken
    }

    /// Lets each producer finish its event, then ends them.
    pub async fn stop(mut self) -> Ledger {
        self.shared.stop.send_replace(true);
        let ended = async { while self.producers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(30), ended).await;
        self.producers.abort_all();
        self.ledger()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_refused(&self, retry_after: bool) {
        let mut calls = self.calls();
        calls.refused += 1;
        calls.refused_bare += u64::from(!retry_after);
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One producer: job after job, event after event, until it is told to stop.
async fn produce(shared: Arc<Shared>) {
    let mut connection = None;
    while !*shared.stop.borrow() {
        let number = shared.next_job.fetch_add(1, Ordering::Relaxed);
        let job = format!("{}-{number}", shared.work.jobs);
        let life = [
            "queued",
            "processing",
            "processing",
            "processing",
            "completed",
        ];
        for (step, status) in life.into_iter().enumerate() {
            let key = format!("{job}-{step}");
            loop {
                match post(&shared, &mut connection, &job, status, &key).await {
                    Answer::Accepted(id) => {
                        shared
                            .ledger()
                            .note(&job, id, status.parse::<JobStatus>().unwrap());
                        break;
                    }
                    Answer::Refused { retry_after } => {
                        shared.note_refused(retry_after);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    // The same key again: the same event, once.
                    Answer::Unknown => connection = None,
                }
                if *shared.stop.borrow() {
                    return;
                }
            }
        }
    }
}

async fn post(
    shared: &Shared,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    job: &str,
    status: &str,
    key: &str,
) -> Answer {
    if connection.is_none() {
        *connection = connect(shared).await;
    }
    let Some(sender) = connection else {
        return Answer::Unknown;
    };
    let Work { query, result, .. } = &shared.work;
    let request = Request::post(format!("/v1/jobs/{job}/events{query}"))
        .header("host", "notify")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Full::from(format!(r#"{{"status":"{status}"{result}}}"#)))
        .unwrap();
    let asked = Instant::now();
    let exchanged = tokio::time::timeout(ANSWER_WITHIN, exchange(sender, request)).await;
    let mut calls = shared.calls();
    if exchanged.is_err() {
        calls.unanswered += 1;
    }
    if matches!(exchanged, Err(_) | Ok(Some(Answer::Accepted(_)))) {
        calls.slowest = calls.slowest.max(asked.elapsed());
    }
    exchanged.ok().flatten().unwrap_or(Answer::Unknown)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Option<Answer> {
    sender.ready().await.ok()?;
    let response = sender.send_request(request).await.ok()?;
    let accepted = response.status() == 202;
    let retry_after = response.headers().contains_key("retry-after");
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).ok()?;
    if accepted {
        return Some(Answer::Accepted(body["id"].as_str()?.parse().ok()?));
    }
    match body["error"]["code"].as_str()? {
        // It says itself that it does not know.
        "outcome_unknown" => Some(Answer::Unknown),
        _ => Some(Answer::Refused { retry_after }),
    }
}

/// Waits for a server and connects to it.
async fn connect(shared: &Shared) -> Option<SendRequest<Full<Bytes>>> {
    let mut server = shared.server.subscribe();
    let mut stop = shared.stop.subscribe();
    let address = tokio::select! {
        found = server.wait_for(Option::is_some) => (*found.ok()?)?,
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    let Ok(stream) = TcpStream::connect(address).await else {
        // Between a kill and its news.
        tokio::time::sleep(Duration::from_millis(5)).await;
        return None;
    };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // Ends with the sender or the server, whichever goes first.
    tokio::spawn(connection);
    Some(sender)
}
