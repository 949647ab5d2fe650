//! What the process's environment may and may not change.
//!
//! A test can't set variables for its own process while others run. So each test
//! here runs itself once more, in a process with an environment of its own, and
//! that child sends the request.

use std::process::Stdio;

use notify_tests::raw_server::RawServer;
use tokio::process::Command;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Only a child has it: where to send its request.
const CHILD_URL: &str = "NOTIFY_TESTS_CHILD_URL";

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    if was_child().await {
        return;
    }
    let proxy = RawServer::answering(OK).await;
    let url = format!("http://{}", proxy.address());
    let names = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    let variables = names.map(|name| (name, url.as_str()));
    check_child_arrives("proxies_of_the_environment_are_not_used", &variables).await;
    assert_eq!(proxy.connections(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_any_system_root_plain_http_still_works() {
    if was_child().await {
        return;
    }
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| (name, "/dev/null"));
    check_child_arrives("without_any_system_root_plain_http_still_works", &variables).await;
}

/// Does the child's part, if this is one.
async fn was_child() -> bool {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return false;
    };
    let answer = send(&transport(), request(&url, LONG)).await;
    assert_eq!(answer.unwrap().status, 200);
    true
}

/// Has a child run `test` in an environment with `variables`, and without what
/// would keep it from using a proxy, and sees its request arrive.
async fn check_child_arrives(test: &str, variables: &[(&str, &str)]) {
    let mut server = RawServer::answering(OK).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
        command.env_remove(name);
    }
    let output = command
        .args(["--exact", &format!("http::environment::{test}")])
        .envs(variables.iter().copied())
        .env(CHILD_URL, format!("http://{}/hook", server.address()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(LONG * 2, output).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let request = server.request().await;
    assert_eq!(request.line, "POST /hook?token=canary HTTP/1.1");
}
