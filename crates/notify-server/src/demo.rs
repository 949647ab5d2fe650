//! `notify demo`: the whole story on this machine, over real sockets.
//!
//! **Cast.** The server, as `notify serve` would start it. A customer: a receiver
//! that verifies its webhooks and fails one of them on purpose, and a reader of
//! the job's stream. A service that renders a video and tells the server how it
//! goes, over the same API as anyone's.
//!
//! **Flow.** The job is registered, which gives the customer a token and a secret
//! and nobody else. Then everyone does their part at the same time, and what each
//! of them sees comes to one place to be printed and, at the end, compared.

mod error;
mod service;
mod sight;
mod tally;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use notify_verify::Verifier;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, EventStream};
use crate::connections::Connections;
use crate::exit::{Exit, Stop, block_on};
use crate::print;
use crate::receiver::Receiver;
use crate::serve::{self, Keep, MadeKey, Server};
use crate::settings::{ServerConfig, Sources};
use error::DemoError;
use sight::Sight;
use tally::Tally;

/// When to give up: well above the second or two that it takes.
const GIVE_UP_AFTER: Duration = Duration::from_secs(9);

/// The type of the webhook that the receiver fails once.
const FAILED_ONCE: &str = "job.completed";

/// The demo's settings, as its environment would say them: retries that do not
/// keep anyone waiting, and every progress its own webhook.
const SETTINGS: [(&str, &str); 4] = [
    ("NOTIFY_LISTEN", "127.0.0.1:0"),
    ("NOTIFY_MAX_RETRIES", "3"),
    ("NOTIFY_RETRY_BASE_MS", "250"),
    ("NOTIFY_PROGRESS_MIN_INTERVAL_MS", "0"),
];

/// Runs the demo.
pub(crate) fn run() -> Result<Exit, Stop> {
    let story = async { tokio::time::timeout(GIVE_UP_AFTER, tell()).await };
    match block_on(story)? {
        Ok(Ok(())) => Ok(Exit::Success),
        Ok(Err(error)) => Err(Stop::failure(error)),
        Err(_) => Err(Stop::failure(DemoError::TooLong(GIVE_UP_AFTER))),
    }
}

async fn tell() -> Result<(), DemoError> {
    let start = Instant::now();
    print::line("notify demo: one job, its webhooks and its stream, on this machine\n");
    let (server, key) = start_server().await?;
    print::line(&format!(
        "server     http://{}, with everything in memory",
        server.address()
    ));

    let (sights, mut seen) = mpsc::channel(64);
    let receiver = CustomersReceiver::start(sights.clone()).await?;
    print::line(&format!(
        "receiver   {}, fails {FAILED_ONCE} once on purpose",
        receiver.url
    ));

    let service = Client::new(server.address(), key.expose());
    let job = service
        .post("/v1/jobs", &json!({ "webhook": { "url": receiver.url } }))
        .await
        .map_err(|error| DemoError::Call("POST /v1/jobs", error))?;
    let text_at = |name: &str| job.get(name).and_then(|it| it.as_str()).unwrap_or_default();
    let job_id = text_at("job_id").to_owned();
    receiver.expect_signed_with(text_at("webhook_secret"))?;
    print::line(&format!(
        "job        {job_id}, registered: a token for its stream, a secret for its webhooks\n"
    ));

    let customer = Client::new(server.address(), text_at("token"));
    let path = format!("/v1/jobs/{job_id}/events");
    let stream = customer
        .follow(&path)
        .await
        .map_err(|error| DemoError::Call("the stream", error))?;
    let mut parts = JoinSet::new();
    parts.spawn(follow(stream, sights.clone()));
    parts.spawn(service::run(service, path, sights));

    let tally = watch(&mut seen, &mut parts, start).await?;
    drop(parts);
    receiver.connections.close(Duration::from_secs(1)).await;
    server.stop().await;
    print::line(&format!("\n{}", tally.verdict()?));
    print::line(&format!("done in {:.1} s", start.elapsed().as_secs_f32()));
    Ok(())
}

async fn start_server() -> Result<(Server, MadeKey), DemoError> {
    let env = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sources = Sources {
        env: env.into(),
        ..Sources::default()
    };
    let config = ServerConfig::load(sources).map_err(DemoError::start)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(DemoError::start)?;
    let prepared = serve::prepare(config, Keep::InMemory, true).map_err(DemoError::start)?;
    let mut opened = prepared.open().map_err(DemoError::start)?;
    let key = opened.made_key.take().ok_or(DemoError::NoKey)?;
    let server = Server::start(listener, opened).map_err(DemoError::start)?;
    Ok((server, key))
}

/// The customer's receiver, and where it is.
struct CustomersReceiver {
    url: String,
    receiver: Arc<Receiver>,
    connections: Connections,
}

impl CustomersReceiver {
    async fn start(sights: mpsc::Sender<Sight>) -> Result<Self, DemoError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = TcpListener::bind(address).await.map_err(DemoError::start)?;
        let address = listener.local_addr().map_err(DemoError::start)?;
        let has_failed = AtomicBool::new(false);
        let receiver = Arc::new(Receiver {
            verifier: OnceLock::new(),
            fails: Box::new(move |kind| {
                kind == FAILED_ONCE && !has_failed.swap(true, Ordering::Relaxed)
            }),
            delay: Duration::ZERO,
            // There is more room than there are attempts in this story.
            tell: Box::new(move |webhook| drop(sights.try_send(Sight::Received(webhook)))),
        });
        Ok(Self {
            url: format!("http://{address}/hooks"),
            connections: Connections::accept(listener, Arc::clone(&receiver).routes(), 64),
            receiver,
        })
    }

    fn expect_signed_with(&self, secret: &str) -> Result<(), DemoError> {
        let verifier = Verifier::new([secret]).map_err(DemoError::start)?;
        self.receiver.verifier.get_or_init(|| verifier);
        Ok(())
    }
}

/// Follows the job's stream to its end.
async fn follow(mut stream: EventStream, sights: mpsc::Sender<Sight>) -> Result<(), DemoError> {
    let lost = |error| DemoError::Call("the stream", error);
    while let Some(block) = stream.next().await.map_err(lost)? {
        let _ = sights.send(Sight::Streamed(block)).await;
    }
    let _ = sights.send(Sight::StreamEnded).await;
    Ok(())
}

/// Prints what is seen until the story has ended at every door.
async fn watch(
    seen: &mut mpsc::Receiver<Sight>,
    parts: &mut JoinSet<Result<(), DemoError>>,
    start: Instant,
) -> Result<Tally, DemoError> {
    let mut tally = Tally::default();
    while !tally.is_complete() {
        tokio::select! {
            Some(sight) = seen.recv() => {
                if let Some(line) = tally.note(sight) {
                    print::line(&format!("{:>6.2} s  {line}", start.elapsed().as_secs_f32()));
                }
            }
            Some(ended) = parts.join_next() => ended.map_err(DemoError::start)??,
        }
    }
    Ok(tally)
}
