//! Connections over real sockets.

use axum::http::StatusCode;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

async fn serving(connections_max: usize) -> (Connections, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/", get(|| async { "here" }));
    let routes = routes.fallback(|| async { StatusCode::TOO_MANY_REQUESTS });
    let connections = Connections::accept(listener, routes, connections_max);
    (connections, address)
}

async fn answer_to(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

const KEEP_ALIVE: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

async fn is_answered(stream: &mut TcpStream) {
    stream.write_all(KEEP_ALIVE).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"here") {
        answer.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (_connections, address) = serving(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    assert_eq!(answer_to(&mut stream, b"GET / HTTP/1.1\r\nho").await, "");
    let waited = start.elapsed();
    assert!(waited >= socket::HEAD_MAX && waited < socket::IDLE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_the_next_request() {
    let (_connections, address) = serving(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(socket::IDLE_MAX - Duration::from_secs(1)).await;
        is_answered(&mut stream).await;
    }
    // The head of a later request has no more time than that of the first.
    let start = Instant::now();
    assert_eq!(answer_to(&mut stream, b"GET / HT").await, "");
    assert!(start.elapsed() < socket::IDLE_MAX);
}

#[tokio::test]
async fn who_comes_on_top_gets_the_seat_of_whoever_rests_longest() {
    let (_connections, address) = serving(2).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    is_answered(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    is_answered(&mut second).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    is_answered(&mut third).await;
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "it is still open");
    is_answered(&mut second).await;
}

#[tokio::test]
async fn closing_ends_idle_connections_and_takes_no_new_ones() {
    let (connections, address) = serving(8).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    is_answered(&mut idle).await;
    connections.close(Duration::from_secs(60)).await;
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

/// Reads an answer without a body, and gives its head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const REFUSED: &str = "HTTP/1.1 429 ";

#[tokio::test]
async fn a_refused_body_is_taken_whole_and_its_connection_stays() {
    let (_connections, address) = serving(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = vec![b' '; 1024 * 1024];
    let call = b"POST /full HTTP/1.1\r\nhost: test\r\ncontent-length: 1048576\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(call).await.unwrap();
        stream.write_all(&body).await.unwrap();
        assert!(head(&mut stream).await.starts_with(REFUSED));
    }
    is_answered(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_that_does_not_come_is_waited_for_5_s() {
    let (_connections, address) = serving(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let call = b"POST /full HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(call).await.unwrap();
    assert!(head(&mut stream).await.starts_with(REFUSED));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_refused_at_once() {
    let (_connections, address) = serving(1).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let call =
        b"POST /full HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(call).await.unwrap();
    assert!(head(&mut stream).await.starts_with(REFUSED));
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "it was waited for"
    );
}
