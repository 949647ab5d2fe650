//! The product: jobs that queue and complete, each telling a receiver of both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify_core::transport::{
    Transport, TransportError, VetError, WebhookRequest, WebhookResponse,
};
use notify_core::{EndpointUrl, Span};
use notify_http::egress::Policy;
use notify_http::{HttpConfig, HttpTransport};
use notify_hub::{JobEvent, JobNotifier, NotifierConfig};
use notify_sqlite::{SqliteOptions, SqliteStore};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::{IN_FLIGHT, Kind, Measured, Outcome};
use super::{SendOptions, Tally};

/// As many as it takes to have [`IN_FLIGHT`] requests in flight with a window of
/// 8 each.
const ENDPOINTS: usize = IN_FLIGHT / 8;

/// Who tells of jobs at once, each of one after the other.
const CALLERS: usize = 256;

/// How many webhooks may wait or be in flight: enough that there is always one to
/// send, and no backlog that grows.
const UNDELIVERED_MAX: usize = 1_024;

/// Short, so that forgetting finished jobs is paid for too.
const RETENTION: Duration = Duration::from_secs(5);

pub(super) fn config() -> NotifierConfig {
    let mut config = NotifierConfig {
        signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
        ..NotifierConfig::default()
    };
    config.store.retention = Span(RETENTION);
    config
}

/// Receivers are on this machine, at any port.
fn to_this_machine() -> Outcome<HttpConfig> {
    let mut config = HttpConfig::default();
    let policy = Policy::default().allow_cidrs(["127.0.0.0/8"])?;
    config.egress = policy.allow_ports(["1-65535"])?;
    Ok(config)
}

pub(super) fn endpoint(to: SocketAddr, number: usize) -> String {
    format!("http://{to}/hooks/{number}")
}

pub(super) fn last_event() -> JobEvent {
    JobEvent::completed(crate::store::result())
}

pub(super) async fn run(options: &SendOptions) -> Outcome<Measured> {
    let tally = Arc::new(Tally::default());
    let room = Arc::new(Semaphore::new(UNDELIVERED_MAX));
    let builder = JobNotifier::builder(config()).transport(Counting {
        inner: HttpTransport::new(to_this_machine()?)?,
        tally: Arc::clone(&tally),
        room: Arc::clone(&room),
    });
    let builder = match options.kind {
        Kind::Durable => builder.store(SqliteStore::open(&options.dir, SqliteOptions::default())?),
        _ => builder,
    };
    let notifier = Arc::new(builder.build()?);

    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (notifier, room, stop) = (Arc::clone(&notifier), Arc::clone(&room), Arc::clone(&stop));
        let url = endpoint(options.to, caller % ENDPOINTS);
        callers.spawn(async move {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let job = format!("job-{caller}-{number}");
                for event in [JobEvent::queued(), last_event()] {
                    room.acquire().await?.forget();
                    notifier.notify(&job, event, Some(&url)).await?;
                }
                number += 1;
            }
            Outcome::Ok(())
        });
    }
    let measured = tally.measure(options).await;
    let jobs_kept = notifier.archive()?.counters().await?.jobs;
    stop.store(true, Ordering::Relaxed);
    for ended in callers.join_all().await {
        ended?;
    }
    // Every webhook gives its place back; whoever has them all has seen the last.
    let all = u32::try_from(UNDELIVERED_MAX)?;
    let all = tokio::time::timeout(Duration::from_secs(30), room.acquire_many(all)).await;
    drop(all.map_err(|_| "not all was delivered")??);
    notifier.shutdown(Duration::from_secs(10)).await;
    tally.close(Measured {
        jobs_kept,
        ..measured?
    })
}

/// The product's own transport, and a look at what comes back.
struct Counting {
    inner: HttpTransport,
    tally: Arc<Tally>,
    room: Arc<Semaphore>,
}

impl Transport for Counting {
    async fn send(&self, request: WebhookRequest) -> Result<WebhookResponse, TransportError> {
        let outcome = self.inner.send(request).await;
        let is_delivered = outcome.as_ref().is_ok_and(|answer| answer.status == 204);
        self.tally.note(is_delivered);
        if is_delivered {
            self.room.add_permits(1);
        }
        outcome
    }

    fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        Transport::vet(&self.inner, text)
    }
}
