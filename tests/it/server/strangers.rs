//! What strangers do costs nobody else anything.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use notify_tests::http_client::HttpRequest;
use notify_tests::program::{Program, notify_with_open_files};
use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{ARGS, KEY, Server, check_refused, with_key};

/// A body of legal size that no buffer on the way takes whole.
const LARGE: usize = 900 * 1024;

#[tokio::test]
async fn idle_connections_cost_no_delivery_and_keep_nobody_out() {
    let env = with_key(&[
        ("NOTIFY_SIGNING_SECRET", "operator-hmac-key"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["50ms","50ms"]"#),
    ]);
    let server = Server::spawn(notify_with_open_files(256, &ARGS, &env)).await;
    server.program.stderr_line("the limit on open files").await;
    let receiver = Receiver::start().await.unwrap();
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    for number in 0..40 {
        // Each over a connection of its own, for which a stranger has to leave.
        complete(&server, number, &receiver.url()).await;
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    receiver.wait_for(40).await;
    assert_eq!(server.get("/v1/jobs/job-0").await.status, 200);
    check_untroubled(server).await;
}

#[tokio::test]
async fn receivers_on_many_hosts_do_not_use_up_the_files() {
    let env = with_key(&[
        ("NOTIFY_SIGNING_SECRET", "operator-hmac-key"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["50ms","50ms"]"#),
    ]);
    let server = Server::spawn(notify_with_open_files(256, &ARGS, &env)).await;
    let receiver = Receiver::at_every_address().await.unwrap();
    for number in 0..300 {
        let [.., high, low] = u32::try_from(number + 256).unwrap().to_be_bytes();
        let url = receiver.url_at(Ipv4Addr::new(127, 0, high, low));
        complete(&server, number, &url).await;
    }
    receiver.wait_for(300).await;
    check_untroubled(server).await;
}

/// Has a job of this number end, and tells this URL of it.
async fn complete(server: &Server, number: usize, url: &str) {
    let hook = url.replace(':', "%3A").replace('/', "%2F");
    let call = format!("/v1/jobs/job-{number}/events?webhook_url={hook}");
    let answer = server.post(&call, json!({ "status": "completed" })).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// That no delivery was given up, and no connection refused.
async fn check_untroubled(server: Server) {
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for trouble in ["given up", "could not be taken"] {
        assert!(!ended.stderr.contains(trouble), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn the_operators_connection_is_not_a_strangers_to_take() {
    let env = with_key(&[]);
    let server = Server::spawn(notify_with_open_files(256, &ARGS, &env)).await;
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    check_kept(&mut kept).await;
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(server.get("/readyz").await.status, 200);
    check_kept(&mut kept).await;
}

/// That a call of the operator is answered on a connection that stays.
async fn check_kept(connection: &mut TcpStream) {
    let call = format!("GET /v1/jobs/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n");
    connection.write_all(call.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}}") {
        answer.push(connection.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_refusal_reaches_a_sender_that_writes_all_before_it_reads() {
    let server = Server::start().await;
    let key = format!("authorization: Bearer {KEY}");
    let json = "content-type: application/json";
    for (call, headers, status) in [
        ("POST /v1/jobs", vec![json], 401),
        ("POST /v1/jobs", vec![json, "authorization: Bearer x"], 403),
        ("POST /nowhere", vec![&key, json], 404),
        ("PUT /v1/jobs", vec![&key, json], 405),
        ("POST /v1/jobs", vec![&key], 415),
        ("POST /v1/jobs/a/events?x=1", vec![&key, json], 422),
        ("POST /v1/jobs", vec![&key, json], 413),
        ("POST /v1/jobs/a/events", vec![&key, json], 413),
        ("GET /v1/jobs/a/events", vec![json], 401),
    ] {
        check_answered(server.address, call, &headers, LARGE, status).await;
    }
}

#[tokio::test]
async fn a_refusal_of_a_receiver_reaches_such_a_sender_too() {
    let listen = Program::start(&["listen", "--port", "0"], &[("NOTIFY_SECRET", "s")]);
    let address = listen.address().await;
    check_answered(address, "PUT /", &[], LARGE, 405).await;
    check_answered(address, "POST /", &[], LARGE, 401).await;
}

#[tokio::test]
async fn even_a_body_beyond_any_limit_is_answered_as_long_as_it_ends() {
    let server = Server::start().await;
    let key = format!("authorization: Bearer {KEY}");
    let headers = [&*key, "content-type: application/json"];
    let call = "POST /v1/jobs/a/events";
    check_answered(server.address, call, &headers, 5 * LARGE, 413).await;
}

/// That a sender with small buffers, which reads nothing before it has written
/// everything, is answered with this status.
async fn check_answered(
    address: std::net::SocketAddr,
    call: &str,
    headers: &[&str],
    body_bytes: usize,
    status: u16,
) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4 * 1024).unwrap();
    let mut sender = socket.connect(address).await.unwrap();
    let mut request = format!("{call} HTTP/1.1\r\nhost: x\r\ncontent-length: {body_bytes}\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str("connection: close\r\n\r\n");
    let mut request = request.into_bytes();
    request.resize(request.len() + body_bytes, b' ');
    let written = sender.write_all(&request).await;
    assert!(written.is_ok(), "{call}, {status}: {written:?}");
    let mut answer = String::new();
    let read = sender.read_to_string(&mut answer).await;
    assert!(read.is_ok(), "{call}, {status}: {read:?}");
    let expected = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&expected), "{call}: {answer}");
}

#[tokio::test]
async fn bodies_being_read_have_a_limit_altogether() {
    let server = Server::start().await;
    let call = format!(
        "POST /v1/jobs/a/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 262144\r\n\r\n"
    );
    // Who only announces takes nothing from anyone.
    let mut senders = Vec::new();
    for _ in 0..256 {
        let mut sender = TcpStream::connect(server.address).await.unwrap();
        sender.write_all(call.as_bytes()).await.unwrap();
        senders.push(sender);
    }
    server.accept("b", json!({ "status": "queued" })).await;

    let all_but_one_byte = vec![b' '; 262_143];
    for sender in &mut senders {
        sender.write_all(&all_but_one_byte).await.unwrap();
    }
    // 256 bytes are left; it takes a moment until the server has read the rest.
    let event = json!({ "status": "queued", "error": "x".repeat(300) });
    let start = Instant::now();
    let refused = loop {
        let answer = server.post("/v1/jobs/b/events", &event).await;
        if answer.status != 202 {
            break answer;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no limit");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    check_refused(&refused, 429, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A smaller one still fits, and so does everything once they have gone.
    server.accept("c", json!({ "status": "queued" })).await;
    for mut sender in senders {
        sender.write_all(b"x").await.unwrap();
        let mut head = [0; 12];
        sender.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 400");
    }
    server.accept("b", event).await;
}

#[tokio::test]
async fn streams_beyond_their_bound_are_told_when_to_come_back() {
    let server = Server::start_with(&[("NOTIFY_STREAMS__OPEN_MAX", "2")]).await;
    let token = server.token_for("a").await;
    let stream = StreamRequest::of_job("a").bearer(&token);
    let open = [
        stream.send(server.address).await,
        stream.send(server.address).await,
    ];
    assert!(open.iter().all(|open| open.status() == 200));
    let one_more = HttpRequest::get("/v1/jobs/a/events").bearer(&token);
    let refused = one_more.send(server.address).await;
    check_refused(&refused, 503, "overloaded");
    let secs: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..60).contains(&secs));
    // A page would give up for good on a 503.
    let page = one_more.header("sec-fetch-mode", "cors");
    let busy = page.send(server.address).await;
    assert_eq!(busy.status, 200);
    let block = String::from_utf8(busy.body.to_vec()).unwrap();
    assert!(block.contains("event: notify.busy\n"), "{block}");
    server.accept("a", json!({ "status": "queued" })).await;
}
