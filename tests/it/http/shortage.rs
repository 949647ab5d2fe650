//! What this machine has run out of.
//!
//! A test can't take descriptors away from its own process while others run. So
//! it runs itself once more, in a process that may have few, and that child sends
//! the requests.

use std::fs::File;
use std::process::Stdio;

use notify_tests::raw_server::RawServer;
use tokio::process::Command;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Only a child has it: the port of a receiver on this machine.
const CHILD_PORT: &str = "NOTIFY_TESTS_CHILD_PORT";

#[tokio::test]
async fn without_a_descriptor_nobody_is_charged() {
    if let Ok(port) = std::env::var(CHILD_PORT) {
        return check_without_descriptors(&port).await;
    }
    let connections = run_as_child("without_a_descriptor_nobody_is_charged").await;
    assert_eq!(connections, 2, "one by name, one by address");
}

#[tokio::test]
async fn idle_connections_make_room_when_there_is_none() {
    if let Ok(port) = std::env::var(CHILD_PORT) {
        return check_more_hosts_than_descriptors(&port).await;
    }
    let connections = run_as_child("idle_connections_make_room_when_there_is_none").await;
    assert_eq!(connections, 200);
}

/// Runs `test` with few descriptors, and counts the connections that it makes to a
/// receiver behind every address of this machine.
async fn run_as_child(test: &str) -> usize {
    let server = RawServer::start_at("0.0.0.0:0", async |mut connection| {
        while connection.request().await {
            connection.say(OK).await;
        }
    })
    .await;
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("http::shortage::{test}")])
        .env(CHILD_PORT, server.address().port().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(LONG * 2, output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    server.connections()
}

/// And fewer than may be idle.
async fn check_more_hosts_than_descriptors(port: &str) {
    let mut config = to_this_machine();
    // None leaves for its age.
    config.pool_idle_timeout = 10 * LONG;
    let transport = HttpTransport::new(config).unwrap();
    let mut failed = 0;
    for host in 1..=200 {
        let url = format!("http://127.0.0.{host}:{port}/hook");
        let arrives = async {
            loop {
                match send(&transport, request(&url, LONG)).await {
                    Ok(answer) => break assert_eq!(answer.status, 200),
                    Err(error) => assert!(matches!(error, TransportError::Internal(_))),
                }
                failed += 1;
                // The receiver takes the places that it got for new connections.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(LONG, arrives).await;
    }
    assert!(failed > 0);
}

async fn check_without_descriptors(port: &str) {
    let transport = transport();
    let by_name = format!("http://localhost:{port}/hook");
    let by_address = format!("http://127.0.0.1:{port}/hook");
    // How names are resolved is known from here on.
    let answer = send(&transport, request(&by_name, LONG)).await;
    assert_eq!(answer.unwrap().status, 200);

    let mut taken = Vec::new();
    let mut take_all = || loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => break error,
        }
    };
    let full = TransportError::Internal("too many open files".to_owned());
    let unasked = TransportError::Internal("the name server can't be asked".to_owned());
    for (url, expected) in [
        (&*by_address, &full),
        ("https://127.0.0.1:9/hook", &full),
        ("http://customer.example/hook", &unasked),
    ] {
        // The failure before has given back what idle connections held.
        let none_left = take_all();
        let outcome = send(&transport, request(url, LONG)).await;
        assert_eq!(outcome.as_ref(), Err(expected), "{url}: {none_left}");
    }
    drop(taken);
    let answer = send(&transport, request(&by_address, LONG)).await;
    assert_eq!(answer.unwrap().status, 200);
}
