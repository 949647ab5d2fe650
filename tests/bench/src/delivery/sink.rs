//! The receiver: it reads each webhook to its end and answers 204.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::Outcome;
use crate::serving::serve;

/// Where it says how many webhooks have come: `GET` gives the number and begins
/// anew.
pub const COUNT: &str = "/count";

/// Serves on a free port of this machine, which is the first line that it prints,
/// until its standard input ends.
///
/// # Errors
/// If no port can be had.
#[expect(clippy::print_stdout, reason = "it tells the bench where it listens")]
pub async fn run() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let count = Arc::new(AtomicU64::new(0));
    serve(listener, move |request| answer(Arc::clone(&count), request)).await
}

async fn answer(
    count: Arc<AtomicU64>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == COUNT {
        let count = count.swap(0, Ordering::Relaxed).to_string();
        return Ok(Response::new(Full::from(count)));
    }
    let mut response = Response::default();
    match request.into_body().collect().await {
        Ok(_) => {
            count.fetch_add(1, Ordering::Relaxed);
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}
