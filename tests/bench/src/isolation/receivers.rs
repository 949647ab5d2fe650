//! The receivers: every address of loopback, at one port.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use super::{Outcome, Trouble};
use crate::serving::serve;

/// Where they are told to fall into trouble, and to be well again.
pub const TROUBLE: &str = "/trouble";
/// See [`TROUBLE`].
pub const WELL: &str = "/well";

/// Serves on a free port, which is the first line that it prints, until its standard
/// input ends.
///
/// # Errors
/// If no port can be had.
#[expect(clippy::print_stdout, reason = "it tells the bench where it listens")]
pub async fn run() -> Outcome<()> {
    let listener = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", listener.local_addr()?.port());
    let in_trouble = Arc::new(AtomicBool::new(false));
    serve(listener, move |request| {
        answer(Arc::clone(&in_trouble), request)
    })
    .await
}

async fn answer(
    in_trouble: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        TROUBLE => in_trouble.store(true, Ordering::Relaxed),
        WELL => in_trouble.store(false, Ordering::Relaxed),
        _ => {}
    }
    let has =
        |trouble: Trouble| path.starts_with(trouble.path()) && in_trouble.load(Ordering::Relaxed);
    if has(Trouble::Hangs) {
        // Whoever asked hangs up one day, and then this ends.
        return std::future::pending().await;
    }
    let mut response = Response::default();
    *response.status_mut() = match request.into_body().collect().await {
        Err(_) => StatusCode::BAD_REQUEST,
        Ok(_) if has(Trouble::Fails) => StatusCode::INTERNAL_SERVER_ERROR,
        Ok(_) => StatusCode::NO_CONTENT,
    };
    Ok(response)
}
