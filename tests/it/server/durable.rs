//! The program on a data directory: what a restart finds, and what it refuses.

use std::path::Path;

use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;

use super::*;

fn serve(dir: &Path) -> [&str; 6] {
    let dir = dir.to_str().unwrap();
    [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-loopback",
        "--data-dir",
        dir,
    ]
}

async fn stop(program: Program) -> Ended {
    program.terminate().await;
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

#[tokio::test]
async fn a_restart_finds_everything_and_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let receiver = Receiver::answering(|nth, _| if nth == 0 { 500 } else { 204 })
        .await
        .unwrap();
    let env = [
        ("NOTIFY_API_KEY", KEY),
        ("NOTIFY_SIGNING_SECRET", "operator-hmac-key"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["2s","1s"]"#),
    ];
    let program = Program::start(&serve(scratch.path()), &env);
    let address = program.address().await;
    let register = json!({"job_id": "job-1", "webhook": {"url": receiver.url()}}).to_string();
    let created = HttpRequest::post("/v1/jobs", register)
        .bearer(KEY)
        .send(address)
        .await;
    let token = created.text("/token");
    let event = |status: &str| {
        let post = HttpRequest::post(
            "/v1/jobs/job-1/events",
            json!({"status": status}).to_string(),
        );
        post.bearer(KEY)
            .header("idempotency-key", format!("key-{status}"))
    };
    let first = event("queued").send(address).await.text("/id");
    receiver.wait_for(1).await;
    stop(program).await;

    // The token, the retry that was due, the key, and the sequence: all back.
    let program = Program::start(&serve(scratch.path()), &env);
    let address = program.address().await;
    let again = receiver.wait_for(2).await;
    assert_eq!(again[1].header("webhook-id"), Some(first.as_str()));
    assert_eq!(event("queued").send(address).await.text("/id"), first);
    let last = event("completed").send(address).await.text("/id");
    assert_eq!(last, first.replace("-1", "-2"));
    let mut stream = StreamRequest::of_job("job-1")
        .bearer(&token)
        .send(address)
        .await;
    let ids: Vec<String> = stream
        .rest()
        .await
        .into_iter()
        .map(|event| event.id)
        .collect();
    assert_eq!(ids, [first, last]);
    stop(program).await;

    let checked = Program::run(
        &["check", "--data-dir", scratch.path().to_str().unwrap()],
        &[],
    )
    .await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("1 jobs, 2 events"), "{checked:?}");
}

#[tokio::test]
async fn a_made_key_is_kept_with_the_data() {
    let scratch = tempfile::tempdir().unwrap();
    let program = Program::start(&serve(scratch.path()), &[]);
    program.address().await;
    let line = program.stderr_line("made for this data directory: ").await;
    let (_, key) = line.split_once("directory: ").unwrap();
    stop(program).await;

    let program = Program::start(&serve(scratch.path()), &[]);
    let address = program.address().await;
    let answer = HttpRequest::post("/v1/jobs", "{}")
        .bearer(key)
        .send(address)
        .await;
    assert_eq!(answer.status, 201);
    assert!(!stop(program).await.stderr.contains("api key"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_exits_with_3() {
    let scratch = tempfile::tempdir().unwrap();
    let env = [("NOTIFY_API_KEY", KEY)];
    let holder = Program::start(&serve(scratch.path()), &env);
    holder.address().await;
    let second = Program::run(&serve(scratch.path()), &env).await;
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(
        second.stderr.contains("in use by another process"),
        "{second:?}"
    );
    stop(holder).await;

    let file = scratch.path().join("no-directory");
    std::fs::write(&file, "").unwrap();
    let refused = Program::run(&serve(&file), &env).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");

    let foreign = scratch.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("notify.db"), [0x5a; 8192]).unwrap();
    let refused = Program::run(&serve(&foreign), &env).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(
        std::fs::read(foreign.join("notify.db")).unwrap(),
        [0x5a; 8192]
    );
}

#[tokio::test]
async fn a_damaged_log_yields_what_was_before_and_a_warning() {
    let scratch = tempfile::tempdir().unwrap();
    let env = [("NOTIFY_API_KEY", KEY)];
    let program = Program::start(&serve(scratch.path()), &env);
    let address = program.address().await;
    for progress in 1..=3 {
        let event = json!({"status": "processing", "progress": progress}).to_string();
        let post = HttpRequest::post("/v1/jobs/job-1/events", event).bearer(KEY);
        assert_eq!(post.send(address).await.status, 202);
    }
    program.kill().await;
    let log = scratch.path().join("notify.db-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&log, bytes).unwrap();

    let program = Program::start(&serve(scratch.path()), &env);
    let address = program.address().await;
    program.stderr_line("the log is cut").await;
    let job = HttpRequest::get("/v1/jobs/job-1").bearer(KEY);
    let job = job.send(address).await.json();
    assert_eq!(job.pointer("/sequence"), Some(&json!(2)), "{job}");
    stop(program).await;
}
