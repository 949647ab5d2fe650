//! Receivers that speak HTTP/2 frame by frame, and end what they began.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use notify_tests::tls::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Types of frames and what they hold:
/// [RFC 9113 §6](https://www.rfc-editor.org/rfc/rfc9113#section-6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// An answer without a body: `:status` of the static table, or as text.
fn answer(stream: u32, status: u16) -> Vec<u8> {
    let status = match status {
        200 => vec![0x88],
        other => [&[0x08, 3], other.to_string().as_bytes()].concat(),
    };
    frame(HEADERS, 5, stream, &status)
}

fn goaway(last: u32, reason: u32) -> Vec<u8> {
    frame(
        GOAWAY,
        0,
        0,
        &[last.to_be_bytes(), reason.to_be_bytes()].concat(),
    )
}

fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// What a receiver says to its n-th request, counted from 0, on that stream; nothing
/// ends the connection.
type Script = fn(usize, u32) -> Vec<Vec<u8>>;

struct Receiver {
    url: String,
    transport: HttpTransport,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    async fn start(script: Script) -> Self {
        let ca = TestCa::generate();
        let acceptor = TlsAcceptor::from(Arc::new(ca.server_config("localhost", &["h2"])));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let [requests, connections] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let (counted, accepted) = (Arc::clone(&requests), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(
                    stream,
                    acceptor.clone(),
                    Arc::clone(&counted),
                    script,
                ));
            }
        });
        let mut config = to_this_machine();
        config.extra_roots_pem = Some(ca.pem());
        Self {
            url: format!("https://localhost:{port}/hook"),
            transport: HttpTransport::new(config).unwrap(),
            requests,
            connections,
            accepting,
        }
    }

    async fn told(&self) -> Result<u16, TransportError> {
        let sent = send(&self.transport, request(&self.url, LONG)).await;
        sent.map(|answer| answer.status)
    }

    fn counts(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (of(&self.requests), of(&self.connections))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    requests: Arc<AtomicUsize>,
    script: Script,
) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.ok()?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, rest @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if kind == SETTINGS && flags & 1 == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?;
        }
        if kind == HEADERS {
            let number = requests.fetch_add(1, Ordering::SeqCst);
            for said in script(number, u32::from_be_bytes(rest)) {
                if said.is_empty() {
                    stream.shutdown().await.ok()?;
                    return None;
                }
                stream.write_all(&said).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_a_goaway_leaves_out_is_sent_over_another_connection() {
    let receiver = Receiver::start(|number, stream| match number {
        0 => vec![goaway(0, NO_ERROR), vec![]],
        _ => vec![answer(stream, 200)],
    });
    let receiver = receiver.await;
    assert_eq!(receiver.told().await, Ok(200));
    assert_eq!(receiver.counts(), (2, 2));
}

#[tokio::test]
async fn a_request_that_a_goaway_includes_gets_its_answer_and_the_next_goes_elsewhere() {
    let receiver = Receiver::start(|number, stream| match number {
        0 => vec![goaway(stream, NO_ERROR), answer(stream, 200)],
        _ => vec![answer(stream, 410)],
    });
    let receiver = receiver.await;
    assert_eq!(receiver.told().await, Ok(200));
    assert_eq!(receiver.told().await, Ok(410));
    assert_eq!(receiver.counts(), (2, 2));
}

#[tokio::test]
async fn a_request_that_may_have_been_looked_at_is_not_sent_again() {
    for script in [
        // It is among those that are still answered, and is not.
        (|_, stream| vec![goaway(stream, NO_ERROR), vec![]]) as Script,
        |_, stream| vec![goaway(stream, INTERNAL_ERROR), vec![]],
        |_, _| vec![goaway(0, INTERNAL_ERROR), vec![]],
        |_, stream| vec![reset(stream, NO_ERROR)],
        |_, stream| vec![reset(stream, CANCEL)],
        |_, _| vec![vec![]],
    ] {
        let receiver = Receiver::start(script).await;
        assert_eq!(receiver.told().await, Err(TransportError::Http));
        assert_eq!(receiver.counts(), (1, 1));
    }
}

#[tokio::test]
async fn an_answer_counts_though_the_rest_of_the_request_is_refused() {
    for status in [200, 410] {
        let script: Script = match status {
            200 => |_, stream| vec![answer(stream, 200), reset(stream, NO_ERROR)],
            _ => |_, stream| vec![answer(stream, 410), reset(stream, NO_ERROR)],
        };
        let receiver = Receiver::start(script).await;
        let mut large = request(&receiver.url, LONG);
        large.body = vec![b'x'; 512 * 1024].into();
        let sent = send(&receiver.transport, large).await;
        assert_eq!(sent.unwrap().status, status);
        assert_eq!(receiver.counts(), (1, 1));
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over_and_many_hold_no_deadline_up() {
    let few: Script = |_, stream| {
        let one = frame(HEADERS, 4, stream, b"\x08\x03103");
        vec![one.repeat(3), answer(stream, 200)]
    };
    let receiver = Receiver::start(few).await;
    assert_eq!(receiver.told().await, Ok(200));

    let many: Script = |_, stream| {
        let one = frame(HEADERS, 4, stream, b"\x08\x03103");
        vec![one.repeat(1_000); 100]
    };
    let receiver = Receiver::start(many).await;
    let sent = send(&receiver.transport, request(&receiver.url, 5 * SHORT)).await;
    check_failed(sent, TransportError::Timeout);
}
