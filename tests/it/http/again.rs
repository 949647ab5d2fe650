//! What is sent once more by itself: only what the receiver has not looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use http::Response;
use notify_tests::raw_server::RawServer;
use notify_tests::tls::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let close = Arc::new(Semaphore::new(0));
    let allowed = Arc::clone(&close);
    let mut server = RawServer::start(move |mut connection| {
        let (sender, allowed) = (sender.clone(), Arc::clone(&allowed));
        async move {
            connection.request().await;
            connection.say(OK).await;
            allowed.acquire().await.unwrap().forget();
            drop(connection);
            let _ = sender.send(());
        }
    })
    .await;
    let transport = transport();
    for number in 0..3 {
        let sent = send(&transport, request_to(server.address(), LONG));
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(server.request().await.connection, number);
        close.add_permits(1);
        within(LONG, closed.recv()).await.unwrap();
        // The runtime looks at its sockets when it has nothing else to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_receiver_that_answers_early_gets_the_whole_request() {
    // More than the sockets between them hold.
    const BODY_BYTES: usize = 16 * 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let receiving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        while !got.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            stream.read_buf(&mut got).await.unwrap();
        }
        stream.write_all(OK.as_bytes()).await.unwrap();
        let head = got.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let body = head.unwrap() + 4;
        while got.len() - body < BODY_BYTES && stream.read_buf(&mut got).await.unwrap() > 0 {}
        got.len() - body
    };
    let transport = transport();
    let sending = send(
        &transport,
        WebhookRequest {
            body: vec![b'x'; BODY_BYTES].into(),
            ..request_to(address, LONG)
        },
    );
    let (answer, received) = tokio::join!(sending, within(LONG, receiving));
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(received, BODY_BYTES);
}

/// A receiver that speaks HTTP/2 and resets the first requests.
struct Resetting {
    url: String,
    requests: Arc<AtomicUsize>,
    transport: HttpTransport,
    accepting: JoinHandle<()>,
}

impl Resetting {
    async fn start(count: usize, reason: Reason) -> Self {
        let ca = TestCa::generate();
        let acceptor = TlsAcceptor::from(Arc::new(ca.server_config("localhost", &["h2"])));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &acceptor, &counted, count, reason).await;
            }
        });
        let mut config = to_this_machine();
        config.extra_roots_pem = Some(ca.pem());
        Self {
            url: format!("https://localhost:{port}/hook"),
            requests,
            transport: HttpTransport::new(config).unwrap(),
            accepting,
        }
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Resets requests for as long as fewer than `count` have come, and answers then.
async fn answer(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    requests: &AtomicUsize,
    count: usize,
    reason: Reason,
) {
    let stream = acceptor.accept(stream).await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut answer))) = connection.accept().await {
        if requests.fetch_add(1, Ordering::SeqCst) < count {
            answer.send_reset(reason);
        } else {
            answer.send_response(Response::default(), true).unwrap();
        }
    }
}

async fn check_requests(count: usize, reason: Reason, expected: usize, arrives: bool) {
    let receiver = Resetting::start(count, reason).await;
    let sent = send(&receiver.transport, request(&receiver.url, LONG)).await;
    match arrives {
        true => assert_eq!(sent.unwrap().status, 200),
        false => assert_eq!(sent, Err(TransportError::Http)),
    }
    assert_eq!(receiver.requests.load(Ordering::SeqCst), expected);
}

#[tokio::test]
async fn what_http2_gives_back_unprocessed_is_sent_again_twice_at_most() {
    check_requests(1, Reason::REFUSED_STREAM, 2, true).await;
    check_requests(2, Reason::REFUSED_STREAM, 3, true).await;
    check_requests(3, Reason::REFUSED_STREAM, 3, false).await;
}

#[tokio::test]
async fn what_http2_may_have_processed_is_not_sent_again() {
    check_requests(1, Reason::INTERNAL_ERROR, 1, false).await;
    check_requests(1, Reason::CANCEL, 1, false).await;
}
