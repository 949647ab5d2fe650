//! Connections: taken up to a bound, each with its deadlines, closed in order.
//!
//! Everything that concerns a connection and not what is said on it lives here:
//! who gets a [`seat`](seats) when there are too many, how long a peer is waited
//! for ([`socket`]), and what becomes of a body that nobody has read ([`unread`]).

mod held;
mod seats;
mod socket;
mod unread;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service as _;

pub(crate) use held::holding;
pub(crate) use seats::Seat;
use seats::Seats;
use socket::Socket;
use unread::Unread;

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
    /// Serves `routes` to everyone who connects, `connections_max` at a time. Who
    /// comes on top gets the seat of whoever has been at rest longest, or waits
    /// until somebody is.
    pub(crate) fn accept(listener: TcpListener, routes: Router, connections_max: usize) -> Self {
        let (closing, is_closing) = watch::channel(false);
        let mut accepting = JoinSet::new();
        let seats = Seats::new(connections_max);
        accepting.spawn(accept_all(listener, routes, seats, is_closing));
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

async fn accept_all(listener: TcpListener, routes: Router, seats: Seats, mut closing: Closing) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = closed(&mut closing) => break,
            accepted = accept_one(&listener, &seats) => accepted,
        };
        match accepted {
            Ok((stream, peer, seat)) => {
                open.spawn(serve_one(
                    stream,
                    peer,
                    seat,
                    routes.clone(),
                    closing.clone(),
                ));
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

/// The next connection. Nobody is asked to leave before somebody has come.
async fn accept_one(
    listener: &TcpListener,
    seats: &Seats,
) -> std::io::Result<(TcpStream, SocketAddr, Seat)> {
    let (stream, peer) = listener.accept().await?;
    let seat = seats.take().await;
    seat.rest();
    Ok((stream, peer, seat))
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    routes: Router,
    mut closing: Closing,
) {
    // An event is to be seen when it happens, not when a packet is full.
    let _ = stream.set_nodelay(true);
    let of_requests = seat.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        // At once, so that nobody is sent away with a request in hand.
        let under_way = of_requests.begin();
        let (seat, mut routes) = (of_requests.clone(), routes.clone());
        async move {
            let (mut request, unread) = Unread::of(request);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(seat.clone());
            let answer = routes.call(request).await?;
            seat.is_decided();
            if !unread.take(answer.status()).await {
                seat.leaves_unread();
            }
            Ok::<_, std::convert::Infallible>(answer.map(|body| holding(body, under_way)))
        }
    });
    let connection = http1::Builder::new()
        // The socket's deadlines tell an idle connection from a slow head.
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Socket::new(stream, seat.clone())), service);
    tokio::pin!(connection);
    // How a connection ends is its client's affair: it may leave at any time.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = seat.asked_to_leave() => return,
        () = closed(&mut closing) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
