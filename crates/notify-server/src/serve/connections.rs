//! Connections: taken up to a bound, each with its deadlines, closed in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service as _;

use super::stall::CutWhenStalled;

/// How long a request's head may take to arrive, and how long an idle connection
/// is kept for the next one.
const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest head of a request, and the most of an answer that waits to be
/// written, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// After a connection could not be taken, which is mostly for want of file
/// descriptors: some may have become free by then.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// The connections of one listener. Dropping it cuts them all.
pub(crate) struct Connections {
    closing: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Connections {
    /// Serves `routes` to everyone who connects, `connections_max` at a time; who
    /// comes on top waits in the system's queue.
    pub(crate) fn accept(listener: TcpListener, routes: Router, connections_max: usize) -> Self {
        let (closing, is_closing) = watch::channel(false);
        let permits = connections_max.min(Semaphore::MAX_PERMITS);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(
            listener,
            routes,
            Arc::new(Semaphore::new(permits)),
            is_closing,
        ));
        Self { closing, accepting }
    }

    /// Takes no more connections and lets requests under way finish for at most
    /// `deadline`.
    pub(crate) async fn close(mut self, deadline: Duration) {
        self.closing.send_replace(true);
        let _ = tokio::time::timeout(deadline, self.accepting.join_next()).await;
        self.accepting.shutdown().await;
    }
}

type Closing = watch::Receiver<bool>;

async fn closed(closing: &mut Closing) {
    // An error means that the sender is gone, and with it the wish to go on.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn accept_all(
    listener: TcpListener,
    routes: Router,
    permits: Arc<Semaphore>,
    mut closing: Closing,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed(&mut closing) => break,
            Some(_) = open.join_next() => continue,
            accepted = accept_one(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (routes, closing) = (routes.clone(), closing.clone());
                open.spawn(async move {
                    serve_one(stream, peer, routes, closing).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn accept_one(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await;
    let permit = permit.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, routes: Router, mut closing: Closing) {
    // An event is to be seen when it happens, not when a packet is full.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(CutWhenStalled::new(stream)), service);
    tokio::pin!(connection);
    // How a connection ends is its client's affair: it may leave at any time.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closed(&mut closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";

    async fn serving(connections_max: usize) -> (Connections, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/", get(|| async { "here" }));
        let connections = Connections::accept(listener, routes, connections_max);
        (connections, address)
    }

    async fn answer_to(stream: &mut TcpStream, request: &[u8]) -> String {
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_is_not_waited_for() {
        let (_connections, address) = serving(1).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let start = Instant::now();
        assert_eq!(answer_to(&mut stream, b"GET / HTTP/1.1\r\nho").await, "");
        assert!(start.elapsed() >= HEAD_READ_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_on_top_waits_until_another_has_gone() {
        let (_connections, address) = serving(1).await;
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let answer = answer_to(&mut second, REQUEST);
        tokio::pin!(answer);
        let waited = tokio::time::timeout(HEAD_READ_TIMEOUT / 2, answer.as_mut());
        assert!(waited.await.is_err());
        drop(first);
        assert!(answer.await.ends_with("here"));
    }

    #[tokio::test]
    async fn closing_ends_idle_connections_and_takes_no_new_ones() {
        let (connections, address) = serving(8).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        let keep_alive = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        idle.write_all(keep_alive).await.unwrap();
        let mut head = [0; 12];
        idle.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        connections.close(Duration::from_secs(60)).await;
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
