//! What goes out.

use std::time::Duration;

use notify_core::{Transport, WebhookRequest};
use notify_tests::raw_server::RawServer;
use tokio::sync::mpsc;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_arrives_byte_for_byte() {
    let mut server = RawServer::answering(OK).await;
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", "k3f9a2m7q1xz-12".to_owned()),
        ("webhook-timestamp", "1712534400".to_owned()),
        ("webhook-signature", "v1,YWJj v1,ZGVm".to_owned()),
        ("x-webhook-signature", "sha256=0a1b".to_owned()),
        ("x-job-id", "job~1:@a.b-c_d".to_owned()),
    ];
    let body = "{\"id\":\"k3f9a2m7q1xz-12\",\n \"result\":\"\u{1F980}\\u0000\"}";
    let transport = transport();
    let answer = send(
        &transport,
        WebhookRequest {
            headers: headers.clone(),
            body: body.into(),
            ..request_to(server.address(), LONG)
        },
    );
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    assert_eq!(answer.retry_after, None);

    let request = server.request().await;
    assert_eq!(request.line, "POST /hook?token=canary HTTP/1.1");
    assert_eq!(request.body, body.as_bytes());
    for (name, value) in &headers {
        assert_eq!(request.header(name), Some(value.as_str()), "{name}");
    }
    let mut added: Vec<(String, String)> = request
        .headers
        .into_iter()
        .filter(|(name, _)| !headers.iter().any(|(sent, _)| sent == name))
        .collect();
    let user_agent = format!("notify/{}", env!("CARGO_PKG_VERSION"));
    let expected = [
        ("accept-encoding", "identity"),
        ("user-agent", &user_agent),
        ("accept", "*/*"),
        ("host", &server.address().to_string()),
        ("content-length", &body.len().to_string()),
    ];
    let mut expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    added.sort();
    expected.sort();
    assert_eq!(added, expected);
}

#[tokio::test]
async fn a_body_has_a_length_whatever_its_size() {
    let mut server = RawServer::answering(OK).await;
    let transport = transport();
    for size in [0, 1, 1024 * 1024 + 512] {
        let sent = send(
            &transport,
            WebhookRequest {
                body: vec![b'x'; size].into(),
                ..request_to(server.address(), LONG)
            },
        );
        assert_eq!(sent.await.unwrap().status, 200);
        let request = server.request().await;
        assert_eq!(request.header("content-length"), Some(&*size.to_string()));
        assert_eq!(request.header("transfer-encoding"), None);
        assert_eq!(request.body.len(), size);
    }
}

#[tokio::test]
async fn requests_to_one_host_share_a_connection() {
    let mut server = RawServer::answering(OK).await;
    let transport = transport();
    for _ in 0..2 {
        let sent = send(&transport, request_to(server.address(), LONG));
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(server.request().await.connection, 0);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_receiver_may_ask_for_the_connection_to_be_closed() {
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let mut server = RawServer::answering(close).await;
    let transport = transport();
    for number in 0..2 {
        let sent = send(&transport, request_to(server.address(), LONG));
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(server.request().await.connection, number);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let server = RawServer::start(move |mut connection| {
        let sender = sender.clone();
        async move {
            connection.request().await;
            connection.say(OK).await;
            connection.closed().await;
            let _ = sender.send(());
        }
    });
    let server = server.await;
    let mut config = to_this_machine();
    config.pool_idle_timeout = Duration::from_millis(100);
    let transport = HttpTransport::new(config).unwrap();
    let sent = send(&transport, request_to(server.address(), LONG));
    assert_eq!(sent.await.unwrap().status, 200);
    // The transport is still there, so it is not its end that closes.
    assert_eq!(within(LONG, closed.recv()).await, Some(()));
    drop(transport);
}

#[tokio::test]
async fn an_abandoned_request_is_over() {
    let (sender, mut closed) = mpsc::unbounded_channel();
    let mut server = RawServer::start(move |mut connection| {
        let sender = sender.clone();
        async move {
            connection.request().await;
            connection.closed().await;
            let _ = sender.send(());
        }
    })
    .await;
    let transport = transport();
    let sending = transport.send(request_to(server.address(), LONG));
    tokio::select! {
        outcome = sending => panic!("{outcome:?}"),
        _ = server.request() => {}
    }
    assert_eq!(within(LONG, closed.recv()).await, Some(()));
}
