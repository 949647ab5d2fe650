//! The protocol as a person follows it, with curl.

use notify_tests::program::{Ended, Program};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{KEY, Server};

fn curl(args: &[&str]) -> Program {
    let mut command = Command::new("curl");
    // Neither a progress bar nor settings of whoever runs the tests.
    command.args(["-q", "-sS"]).args(args);
    Program::spawn(command)
}

async fn curled(args: &[&str]) -> Ended {
    let ended = curl(args).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

/// The values of a stream's lines with this field.
fn values(stream: &[String], field: &str) -> Vec<String> {
    let prefix = format!("{field}: ");
    let lines = stream.iter();
    let values = lines.filter_map(|line| line.strip_prefix(&prefix));
    values.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_job_is_registered_and_told_of() {
    let server = Server::start().await;
    let base = format!("http://{}", server.address);
    let key = format!("Authorization: Bearer {KEY}");
    let json = "Content-Type: application/json";
    let jobs = format!("{base}/v1/jobs");
    let registered = curled(&[
        "-H",
        &key,
        "-H",
        json,
        "-d",
        r#"{"job_id":"job-123"}"#,
        &jobs,
    ])
    .await;
    let registered: Value = serde_json::from_str(&registered.stdout).unwrap();
    let events_url = registered["events_url"].as_str().unwrap();
    assert_eq!(events_url, format!("{base}/v1/jobs/job-123/events"));

    let event = r#"{"status":"processing","progress":42}"#;
    let accepted = curled(&["-H", &key, "-H", json, "-d", event, events_url]).await;
    let accepted: Value = serde_json::from_str(&accepted.stdout).unwrap();
    assert_eq!(accepted["sequence"], 1);
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    // What curl says by default is no JSON.
    let form = [&status[..], &["-H", &key, "-d", event, events_url]].concat();
    assert_eq!(curled(&form).await.stdout, "415");
}

#[tokio::test]
async fn a_stream_shows_blocks_and_a_resumed_one_misses_nothing() {
    let server = Server::start().await;
    let token = server.token_for("a").await;
    let url = format!("http://{}/v1/jobs/a/events", server.address);
    let bearer = format!("Authorization: Bearer {token}");
    let mut accepted = server.accept_all("a", &["queued"]).await;

    let first = curl(&["-N", "-H", &bearer, &url]);
    first.stdout_line(&format!("id: {}", accepted[0])).await;
    accepted.extend(server.accept_all("a", &["processing"]).await);
    first.stdout_line(&format!("id: {}", accepted[1])).await;
    first.stdout_line("data: {\"status\":\"processing\"").await;
    let shown = first.stdout();
    assert_eq!(shown[0], ":", "the stream does not open with a comment");
    assert!(shown[1].starts_with("retry: "), "{shown:?}");
    assert_eq!(values(&shown, "event"), ["queued", "processing"]);
    let seen = values(&shown, "id");
    first.kill().await;

    accepted.extend(
        server
            .accept_all("a", &["queued", "processing", "completed"])
            .await,
    );
    let resume = format!("Last-Event-ID: {}", seen.last().unwrap());
    let second = curled(&["-N", "-H", &bearer, "-H", &resume, &url]).await;
    let second: Vec<String> = second.stdout.lines().map(str::to_owned).collect();
    let all = [seen, values(&second, "id")].concat();
    assert_eq!(all, accepted);
    let data = values(&second, "data");
    let last: Value = serde_json::from_str(data.last().unwrap()).unwrap();
    assert_eq!(last["status"], json!("completed"));

    // Nothing will follow; without a status that says so, a browser would come
    // back for ever.
    let resume = format!("Last-Event-ID: {}", accepted.last().unwrap());
    let third = curled(&["-w", "%{http_code}", "-H", &bearer, "-H", &resume, &url]).await;
    assert_eq!(third.stdout, "204");
}
