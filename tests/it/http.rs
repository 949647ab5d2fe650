//! `notify-http` against real sockets.

#![expect(clippy::unwrap_used, reason = "what can't be set up has failed")]

mod again;
mod answers;
mod delivery;
mod environment;
mod faults;
mod http2;
mod idle;
mod misbehaving;
mod shortage;
mod tls;
mod vectors;

use std::net::SocketAddr;
use std::time::Duration;

use notify_core::{EndpointUrl, Transport, TransportError, WebhookRequest, WebhookResponse};
use notify_http::egress::Policy;
use notify_http::{HttpConfig, HttpTransport};

/// In the query of every URL here, so that a leak of it is seen.
const CANARY: &str = "canary";

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A deadline that is meant to pass.
const SHORT: Duration = Duration::from_millis(200);

/// Settings with which this machine may be connected to, by name and at any port.
fn to_this_machine() -> HttpConfig {
    let policy = Policy::default().allow_cidrs(["127.0.0.0/8", "::1/128"]);
    let policy = policy.and_then(|policy| policy.allow_ports(["1-65535"]));
    let policy = policy.and_then(|policy| policy.allow_hosts(["localhost"]));
    let mut config = HttpConfig::default();
    config.egress = policy.unwrap();
    config
}

fn transport() -> HttpTransport {
    HttpTransport::new(to_this_machine()).unwrap()
}

fn request(url: &str, timeout: Duration) -> WebhookRequest {
    WebhookRequest {
        url: EndpointUrl::parse(&format!("{url}?token={CANARY}")).unwrap(),
        headers: vec![("content-type", "application/json".to_owned())],
        body: "{}".into(),
        timeout,
    }
}

fn request_to(address: SocketAddr, timeout: Duration) -> WebhookRequest {
    request(&format!("http://{address}/hook"), timeout)
}

/// Sends one request and sees to it that its deadline holds.
async fn send(
    transport: &HttpTransport,
    request: WebhookRequest,
) -> Result<WebhookResponse, TransportError> {
    within(request.timeout + LONG, transport.send(request)).await
}

/// Sends one request with plenty of time.
async fn send_to(address: SocketAddr) -> Result<WebhookResponse, TransportError> {
    send(&transport(), request_to(address, LONG)).await
}

/// What this comes to; what hangs fails.
async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future).await.unwrap()
}

/// That it failed so, and that the error keeps to itself where it was going.
#[track_caller]
fn check_failed(outcome: Result<WebhookResponse, TransportError>, expected: TransportError) {
    let error = outcome.unwrap_err();
    let text = format!("{error} {error:?}");
    for secret in [CANARY, "127.0.0.1", "localhost", "/hook"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(error, expected);
}
