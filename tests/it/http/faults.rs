//! Why nothing came back.

use std::time::Instant;

use notify_core::TransportError;
use notify_tests::raw_server::RawServer;
use tokio::net::TcpSocket;

use super::*;

/// Sends one request to a server that says this and closes the connection.
async fn told(bytes: impl Into<Vec<u8>>) -> Result<WebhookResponse, TransportError> {
    let bytes = bytes.into();
    let server = RawServer::start(move |mut connection| {
        let bytes = bytes.clone();
        async move {
            connection.request().await;
            connection.say(bytes).await;
        }
    });
    send_to(server.await.address()).await
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let server = RawServer::start(async |mut connection| connection.closed().await).await;
    let begun = Instant::now();
    let outcome = send(&transport(), request_to(server.address(), SHORT)).await;
    check_failed(outcome, TransportError::Timeout);
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG);
}

#[tokio::test]
async fn headers_that_drip_are_a_timeout() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say("HTTP/1.1 200 OK\r\nx: ").await;
        while connection.say("x").await {
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    let outcome = send(&transport(), request_to(server.address(), SHORT)).await;
    check_failed(outcome, TransportError::Timeout);
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    // Bound but not listening: nobody else can get this port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let outcome = send_to(socket.local_addr().unwrap()).await;
    check_failed(outcome, TransportError::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_dns_failure() {
    // There is none by definition (RFC 6761), so no network is needed to know.
    let outcome = send(&transport(), request("http://nobody.invalid/hook", LONG)).await;
    check_failed(outcome, TransportError::Dns);
}

#[tokio::test]
async fn what_is_no_http_is_an_http_failure() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\x00\xff\x00\xff",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ] {
        check_failed(told(garbage).await, TransportError::Http);
    }
}

#[tokio::test]
async fn a_reset_before_the_headers_are_there_is_an_http_failure() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say("HTTP/1.1 200 OK\r\ncontent-le").await;
        connection.reset();
    })
    .await;
    check_failed(send_to(server.address()).await, TransportError::Http);
}

#[tokio::test]
async fn more_than_a_hundred_headers_are_an_http_failure() {
    let answer = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert_eq!(told(answer(100)).await.unwrap().status, 200);
    check_failed(told(answer(101)).await, TransportError::Http);
}

#[tokio::test]
async fn a_head_without_end_is_an_http_failure() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say("HTTP/1.1 200 OK\r\nx: ").await;
        while connection.say([b'x'; 4096]).await {}
    })
    .await;
    check_failed(send_to(server.address()).await, TransportError::Http);
}
