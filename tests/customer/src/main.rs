//! A customer's receiver in a build that turns on what changes how `serde_json`
//! reads: it verifies each webhook with the secret in `RECEIVER_SECRET` and sends
//! its event back as it understood it.

use std::error::Error;

use axum::Router;
use axum::routing::post;
use notify_verify::{Verified, Verifier};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let verifier = Verifier::new([std::env::var("RECEIVER_SECRET")?])?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let routes = Router::new().route("/", post(receive)).with_state(verifier);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn receive(Verified(webhook): Verified) -> String {
    webhook.event.to_json()
}
