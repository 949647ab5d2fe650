//! Receives webhooks with hyper: `NOTIFY_SECRET=whsec_… PORT=9000 receiver-hyper`.
//!
//! Prints `{"port":…,"ready":true}`, then each webhook once, as one line of JSON.

#![expect(
    clippy::print_stdout,
    reason = "what was received is this program's output"
)]

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use notify_verify::{
    BODY_BYTES_MAX_DEFAULT, MemoryReplayGuard, Notification, ReplayGuard, Verifier,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a whole body may take.
const BODY_WAIT_MAX: Duration = Duration::from_secs(10);

struct Receiver {
    verifier: Verifier,
    seen: MemoryReplayGuard,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("NOTIFY_SECRET")?;
    let port: u16 = env::var("PORT").map_or(Ok(9000), |port| port.parse())?;
    let receiver = Arc::new(Receiver {
        verifier: Verifier::new([secret])?,
        seen: MemoryReplayGuard::default(),
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let port = listener.local_addr()?.port();
    println!("{}", json!({ "ready": true, "port": port }));

    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let receiver = Arc::clone(&receiver);
        let service = service_fn(move |request| answer(Arc::clone(&receiver), request));
        // Within 30 s, hyper's default, a request's headers must be there.
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        connections.spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    receiver: Arc<Receiver>,
    request: Request<Incoming>,
) -> Result<Response<String>, Infallible> {
    let (status, text) = receiver.receive(request).await;
    let mut response = Response::new(text);
    *response.status_mut() = status;
    Ok(response)
}

impl Receiver {
    async fn receive(&self, request: Request<Incoming>) -> (StatusCode, String) {
        let (head, body) = request.into_parts();
        if head.method != Method::POST || head.uri.path() != "/hook" {
            return (StatusCode::NOT_FOUND, String::new());
        }
        let body = Limited::new(body, BODY_BYTES_MAX_DEFAULT).collect();
        let body = match timeout(BODY_WAIT_MAX, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(why)) if why.is::<LengthLimitError>() => {
                return (StatusCode::PAYLOAD_TOO_LARGE, String::new());
            }
            Ok(Err(_)) => return (StatusCode::BAD_REQUEST, String::new()),
            Err(_) => return (StatusCode::REQUEST_TIMEOUT, String::new()),
        };
        match self.verifier.verify(&head.headers, &body) {
            Ok(webhook) => (self.handle_once(&webhook), String::new()),
            // The text names the check that failed, and nothing secret.
            Err(refused) => (status(refused.status()), format!("{refused}\n")),
        }
    }

    fn handle_once(&self, webhook: &Notification) -> StatusCode {
        let now = self.verifier.now();
        match self.seen.claim(&webhook.id.to_string(), now) {
            Ok(claim) => match handle(webhook) {
                Ok(()) => {
                    claim.handled();
                    StatusCode::NO_CONTENT
                }
                // The claim is dropped, so the next attempt is handled.
                Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            // 200 for what is handled already, 503 for what another request handles.
            Err(seen) => status(seen.status()),
        }
    }
}

/// The work. What must survive a restart belongs in a database, in one
/// transaction with the webhook's id under a unique key.
fn handle(webhook: &Notification) -> io::Result<()> {
    writeln!(io::stdout(), "{}", webhook.to_json())
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
