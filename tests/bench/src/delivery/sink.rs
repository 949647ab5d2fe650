//! The receiver: it reads each webhook to its end and answers 204.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Outcome;

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
    let mut connections = JoinSet::new();
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    loop {
        tokio::select! {
            _ = input.read(&mut byte) => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let count = Arc::clone(&count);
                let service = service_fn(move |request| answer(Arc::clone(&count), request));
                connections.spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        }
    }
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
