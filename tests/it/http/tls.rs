//! Receivers behind TLS: whom we trust, and what is agreed on.

use bytes::Bytes;
use http::{Response, Version};
use notify_core::TransportError;
use notify_tests::raw_server::RawServer;
use notify_tests::tls::{TestCa, TlsReceiver};

use super::*;

fn ok() -> Response<Bytes> {
    Response::new(Bytes::from_static(b"ok"))
}

fn trusting(ca: &TestCa) -> HttpTransport {
    let mut config = to_this_machine();
    config.extra_roots_pem = Some(ca.pem());
    HttpTransport::new(config).unwrap()
}

/// Sends one request by name, so that the resolver has a part in it.
async fn send_by_name(
    transport: HttpTransport,
    address: SocketAddr,
) -> Result<WebhookResponse, TransportError> {
    let url = format!("https://localhost:{}/hook", address.port());
    send(&transport, request(&url, LONG)).await
}

#[tokio::test]
async fn an_added_root_is_trusted_over_both_versions_of_http() {
    let ca = TestCa::generate();
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let config = ca.server_config("localhost", protocols);
        let mut receiver = TlsReceiver::answering(config, ok()).await;
        let answer = send_by_name(trusting(&ca), receiver.address());
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));

        let request = receiver.request().await;
        assert_eq!(request.version(), version);
        assert_eq!(request.uri().path(), "/hook");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.headers()["accept-encoding"], "identity");
        assert_eq!(request.headers()["content-length"], "2");
        assert_eq!(request.body(), "{}");
    }
}

#[tokio::test]
async fn an_unknown_authority_is_a_tls_failure() {
    let config = TestCa::generate().server_config("localhost", &["h2"]);
    let receiver = TlsReceiver::answering(config, ok()).await;
    let sent = send_by_name(transport(), receiver.address());
    check_failed(sent.await, TransportError::Tls);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_tls_failure() {
    let ca = TestCa::generate();
    let config = ca.server_config("elsewhere.example", &["h2"]);
    let receiver = TlsReceiver::answering(config, ok()).await;
    let sent = send_by_name(trusting(&ca), receiver.address());
    check_failed(sent.await, TransportError::Tls);
}

#[tokio::test]
async fn a_literal_address_has_a_certificate_too() {
    let ca = TestCa::generate();
    let config = ca.server_config("127.0.0.1", &["h2"]);
    let receiver = TlsReceiver::answering(config, ok()).await;
    let url = format!("https://{}/hook", receiver.address());
    let answer = trusting(&ca).send(request(&url, LONG)).await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_receiver_without_tls_is_a_tls_failure() {
    let server = RawServer::start(async |mut connection| {
        connection.say("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        connection.closed().await;
    })
    .await;
    let sent = send_by_name(transport(), server.address());
    check_failed(sent.await, TransportError::Tls);
}

#[tokio::test]
async fn a_handshake_that_is_cut_short_is_a_tls_failure() {
    let ends = RawServer::start(async |_connection| {}).await;
    let resets = RawServer::start(async |connection| connection.reset()).await;
    for server in [ends, resets] {
        let sent = send_by_name(transport(), server.address());
        check_failed(sent.await, TransportError::Tls);
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_by_the_connect_timeout() {
    let server = RawServer::start(async |mut connection| connection.closed().await).await;
    let mut config = to_this_machine();
    config.connect_timeout = SHORT;
    let transport = HttpTransport::new(config).unwrap();
    let sent = send_by_name(transport, server.address());
    check_failed(sent.await, TransportError::Connect);
}

#[tokio::test]
async fn the_bounds_hold_over_http2() {
    let ca = TestCa::generate();
    let with_headers = |count| {
        let mut answer = ok();
        // `content-length` is one more.
        for _ in 1..count {
            answer.headers_mut().append("x", "y".parse().unwrap());
        }
        answer
    };
    let long = Response::new(Bytes::from(vec![b'x'; 1024 * 1024]));
    let answers = [with_headers(100), with_headers(101), long];
    let mut outcomes = Vec::new();
    for answer in answers {
        let config = ca.server_config("localhost", &["h2"]);
        let mut receiver = TlsReceiver::answering(config, answer).await;
        let sent = send_by_name(trusting(&ca), receiver.address());
        outcomes.push(sent.await);
        assert_eq!(receiver.request().await.version(), Version::HTTP_2);
    }
    let [fits, too_many, long] = outcomes.try_into().unwrap();
    assert_eq!(fits.unwrap().status, 200);
    check_failed(too_many, TransportError::Http);
    assert_eq!(long.unwrap().body.len(), 16 * 1024);
}

#[tokio::test]
async fn requests_share_a_connection_over_http2_and_outlive_one_another() {
    let ca = TestCa::generate();
    let config = ca.server_config("localhost", &["h2"]);
    let long = Response::new(Bytes::from(vec![b'x'; 256 * 1024]));
    let receiver = TlsReceiver::answering(config, long).await;
    let transport = trusting(&ca);
    // Many times more than the connection's window, each cut at 16 KiB: what is
    // dropped unread has to make room again.
    for _ in 0..32 {
        let sent = send_by_name(transport.clone(), receiver.address());
        assert_eq!(sent.await.unwrap().body.len(), 16 * 1024);
    }
}

#[tokio::test]
async fn no_provider_is_installed_for_the_process() {
    let config = TestCa::generate().server_config("localhost", &["h2"]);
    let receiver = TlsReceiver::answering(config, ok()).await;
    let sent = send_by_name(transport(), receiver.address());
    assert!(sent.await.is_err());
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}
