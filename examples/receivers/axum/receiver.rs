//! Receives webhooks with axum: `NOTIFY_SECRET=whsec_… PORT=9000 receiver-axum`.
//!
//! Prints `{"port":…,"ready":true}`, then each webhook once, as one line of JSON.

#![expect(
    clippy::print_stdout,
    reason = "what was received is this program's output"
)]

use std::env;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::post;
use notify_verify::{MemoryReplayGuard, Notification, ReplayGuard, Verified, Verifier};
use serde_json::json;
use tokio::net::TcpListener;

#[derive(Clone)]
struct Receiver {
    verifier: Verifier,
    seen: Arc<MemoryReplayGuard>,
}

/// Lets `Verified` find its verifier in the router's state.
impl FromRef<Receiver> for Verifier {
    fn from_ref(receiver: &Receiver) -> Self {
        receiver.verifier.clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("NOTIFY_SECRET")?;
    let port: u16 = env::var("PORT").map_or(Ok(9000), |port| port.parse())?;
    let receiver = Receiver {
        verifier: Verifier::new([secret])?,
        seen: Arc::default(),
    };
    let app = Router::new()
        .route("/hook", post(hook))
        .with_state(receiver);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let port = listener.local_addr()?.port();
    println!("{}", json!({ "ready": true, "port": port }));
    axum::serve(listener, app).await?;
    Ok(())
}

/// Runs only for what is signed, fresh and well formed; `Verified` answers the
/// rest with 401, 400 or 413.
async fn hook(State(receiver): State<Receiver>, Verified(webhook): Verified) -> StatusCode {
    let now = receiver.verifier.now();
    match receiver.seen.claim(&webhook.id.to_string(), now) {
        Ok(claim) => match handle(&webhook) {
            Ok(()) => {
                claim.handled();
                StatusCode::NO_CONTENT
            }
            // The claim is dropped, so the next attempt is handled.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
        // 200 for what is handled already, 503 for what another request handles.
        Err(seen) => StatusCode::from_u16(seen.status()).unwrap_or_default(),
    }
}

/// The work. What must survive a restart belongs in a database, in one
/// transaction with the webhook's id under a unique key.
fn handle(webhook: &Notification) -> io::Result<()> {
    writeln!(io::stdout(), "{}", webhook.to_json())
}
