//! What comes back, and how much of it is let in.

use std::time::{Duration, Instant};

use notify_core::transport::RetryAfter;
use notify_core::{Timestamp, WebhookResponse};
use notify_tests::raw_server::RawServer;
use tokio::sync::mpsc;

use super::*;

/// Sends one request to a server that answers so and keeps the connection.
async fn answered(answer: impl Into<Vec<u8>>) -> WebhookResponse {
    let server = RawServer::answering(answer).await;
    send_to(server.address()).await.unwrap()
}

#[tokio::test]
async fn any_status_is_an_answer() {
    for status in [200, 204, 299, 304, 400, 404, 410, 429, 500, 503, 599, 999] {
        let answer = answered(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(answer.await.status, status);
    }
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let answer = answered(format!(
        "{interim}{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    ));
    assert_eq!(answer.await.status, 200);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = RawServer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/", elsewhere.address());
        let answer = answered(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\nhere"
        ))
        .await;
        assert_eq!((answer.status, &answer.body[..]), (status, &b"here"[..]));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_compressed_body_stays_compressed() {
    let body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xc8\xe4\x02\x00\x7a\x7a\x6f\xed";
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = answered([head.as_bytes(), body].concat()).await;
        assert_eq!(answer.body, &body[..], "{encoding}");
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let asked = async |value: &str| {
        let head = format!("retry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let answer = answered(format!("HTTP/1.1 503 Service Unavailable\r\n{head}"));
        answer.await.retry_after
    };
    let delay = |secs| Some(RetryAfter::Delay(Duration::from_secs(secs)));
    assert_eq!(asked("120").await, delay(120));
    assert_eq!(asked("99999999999999999999999").await, delay(u64::MAX));
    let at = RetryAfter::At(Timestamp::from_secs(784_111_777));
    assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT").await, Some(at));
    assert_eq!(asked("later").await, None);
    assert_eq!(asked("\u{e9}").await, None);
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_at_the_deadline() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say("HTTP/1.1 200 OK\r\n\r\nbegun").await;
        connection.closed().await;
    })
    .await;
    let begun = Instant::now();
    let answer = send(&transport(), request_to(server.address(), SHORT)).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"begun"[..]));
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < LONG);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_at_the_deadline() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say("HTTP/1.1 500 Oh\r\n\r\n").await;
        while connection.say("x").await {
            tokio::time::sleep(SHORT / 10).await;
        }
    })
    .await;
    let answer = send(&transport(), request_to(server.address(), SHORT)).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 500);
    assert!(answer.body.len() <= 11, "{}", answer.body.len());
}

#[tokio::test]
async fn a_body_that_breaks_takes_no_answer_back() {
    for (headers, rest) in [
        ("content-length: 100", "begun"),
        ("transfer-encoding: chunked", "5\r\nbegun\r\nno chunk"),
    ] {
        let server = RawServer::start(move |mut connection| async move {
            connection.request().await;
            let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{rest}");
            connection.say(head).await;
        });
        let answer = send_to(server.await.address()).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"begun"[..]));
    }
}

#[tokio::test]
async fn of_an_endless_body_little_is_read_and_the_connection_is_closed() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = RawServer::start(move |mut connection| {
        let sender = sender.clone();
        async move {
            connection.request().await;
            connection.say("HTTP/1.1 200 OK\r\n\r\n").await;
            while connection.say([b'x'; 4096]).await {}
            let _ = sender.send(());
        }
    })
    .await;
    let transport = transport();
    let begun = Instant::now();
    let answer = send(&transport, request_to(server.address(), LONG)).await;
    assert_eq!(answer.unwrap().body, vec![b'x'; 16 * 1024]);
    assert!(begun.elapsed() < LONG);
    assert_eq!(within(LONG, closed.recv()).await, Some(()));
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_whole() {
    for size in [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
        let answer = answered([head.into_bytes(), vec![b'x'; size]].concat()).await;
        assert_eq!(answer.body.len(), size.min(WebhookResponse::BODY_BYTES_MAX));
    }
}
