//! The extractor behind a real server, spoken to byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::post;
use notify_core::JobEvent;
use notify_verify::{Verified, VerifiedAs, Verifier, VerifyError};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Headers, recorded, signed, verifier};

const BODY_BYTES_MAX: usize = 1_000;

/// Far longer than anything here takes, so that what hangs fails.
const LONG: Duration = Duration::from_secs(60);

/// A state of a service's own, with the verifier in it.
#[derive(Clone)]
struct Service {
    verifier: Verifier,
}

impl FromRef<Service> for Verifier {
    fn from_ref(service: &Service) -> Self {
        service.verifier.clone()
    }
}

/// What this service wants to know of a webhook.
#[derive(Deserialize)]
struct Own {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    progress: Option<u8>,
}

async fn hook(Verified(webhook): Verified) -> String {
    format!("{} {}", webhook.job_id, webhook.event.status)
}

async fn own(VerifiedAs(own): VerifiedAs<Own>) -> String {
    format!("{:?}", own.event.progress)
}

async fn lenient(webhook: Result<Verified, VerifyError>) -> (StatusCode, String) {
    let code = webhook.err().map(|why| why.code().into_owned());
    (StatusCode::ACCEPTED, format!("{code:?}"))
}

/// Serves until the test's runtime ends.
async fn serve() -> SocketAddr {
    let service = Service {
        verifier: verifier().body_bytes_max(BODY_BYTES_MAX),
    };
    let app = Router::new()
        .route("/hook", post(hook))
        .route("/own", post(own))
        .route("/lenient", post(lenient))
        .with_state(service);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Writes these bytes, says that there are no more, reads the whole answer.
async fn exchange(request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(serve().await).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(LONG, read).await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn head(path: &str, headers: &Headers, framing: &str) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

async fn posted(path: &str, headers: &Headers, body: &[u8]) -> (u16, String) {
    let mut request = head(path, headers, &format!("content-length: {}", body.len()));
    request.extend(body);
    exchange(&request).await
}

async fn check_answer(headers: &Headers, body: &[u8], status: u16, text: &str) {
    let answer = posted("/hook", headers, body).await;
    assert_eq!(answer, (status, text.to_owned()));
}

fn good() -> (Headers, Vec<u8>) {
    let (record, body) = recorded(JobEvent::processing(42));
    (signed(&record.id().to_string(), &body), body)
}

#[tokio::test]
async fn a_good_webhook_reaches_the_handler() {
    let (headers, body) = good();
    check_answer(&headers, &body, 200, "job-123 processing").await;
}

#[tokio::test]
async fn a_handler_can_have_a_type_of_its_own() {
    let (headers, body) = good();
    let answer = posted("/own", &headers, &body).await;
    assert_eq!(answer, (200, "Some(42)".to_owned()));
}

#[tokio::test]
async fn what_nothing_proves_is_answered_401() {
    let (headers, body) = good();
    let text = "webhook-signature: no signature matches a secret\n";
    check_answer(&headers, b"{}", 401, text).await;
    let text = "webhook-timestamp: the header is missing\n";
    check_answer(&Headers::new(), &body, 401, text).await;
}

#[tokio::test]
async fn what_can_not_be_read_is_answered_400() {
    let text = "body: the signature holds, but this is not the expected JSON\n";
    check_answer(&signed("x-1", b"{}"), b"{}", 400, text).await;
    let (mut headers, body) = good();
    headers.push(("webhook-id", "k3f9a2m7q1xz-1".to_owned()));
    let text = "webhook-id: the header is there more than once\n";
    check_answer(&headers, &body, 400, text).await;
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_answered_413_at_once() {
    let (headers, _) = good();
    let framing = format!("content-length: {}", BODY_BYTES_MAX + 1);
    let (status, text) = exchange(&head("/hook", &headers, &framing)).await;
    assert_eq!(status, 413);
    assert_eq!(text, "body: larger than 1000 bytes\n");
}

#[tokio::test]
async fn a_body_that_turns_out_too_large_is_answered_413() {
    let mut request = head("/hook", &good().0, "transfer-encoding: chunked");
    let chunk = "x".repeat(BODY_BYTES_MAX + 1);
    request.extend(format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len()).bytes());
    assert_eq!(exchange(&request).await.0, 413);
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_answered_400() {
    let (headers, _) = good();
    let mut request = head("/hook", &headers, "transfer-encoding: chunked");
    request.extend(b"5\r\nabcdenot a chunk\r\n");
    let (status, text) = exchange(&request).await;
    assert_eq!(status, 400);
    assert_eq!(text, "body: ended before all of it was there\n");
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let body = [b' '; BODY_BYTES_MAX];
    let headers = signed("x-1", &body);
    assert_eq!(posted("/hook", &headers, &body).await.0, 400);
}

#[tokio::test]
async fn a_handler_can_answer_refusals_itself() {
    let (headers, _) = good();
    let answer = posted("/lenient", &headers, b"{}").await;
    assert_eq!(answer, (202, "Some(\"no_match\")".to_owned()));
}
