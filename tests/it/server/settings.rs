//! With which settings the program starts, and how it says what is wrong.

use std::path::PathBuf;

use notify_tests::http_client::HttpRequest;
use notify_tests::program::{Ended, Program, notify};

use super::{KEY, Server};

#[track_caller]
fn check_usage(ended: &Ended, message: &str) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(message), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn a_wrong_setting_is_named_and_exits_with_2() {
    for (name, value, message) in [
        (
            "NOTIFY_LISTN",
            "x",
            "listn: there is no such setting (set by NOTIFY_LISTN)",
        ),
        (
            "NOTIFY_DELIVERY__WINDW",
            "1",
            "delivery.windw: there is no such setting",
        ),
        (
            "NOTIFY_DELIVERY__WINDOW",
            "0",
            "delivery.window: from 1 to 64",
        ),
        (
            "NOTIFY_MAX_RETRIES",
            "many",
            "max_retries: must be a whole number",
        ),
        (
            "NOTIFY_RETRY_SCHEDULE",
            r#"["1w"]"#,
            "retry_schedule[0]: a duration is",
        ),
        (
            "NOTIFY_API_KEY",
            "too-short",
            "api_key: must be at least 16 bytes",
        ),
        (
            "NOTIFY_PUBLIC_URL",
            "jobs.example.com",
            "public_url: must be a URL",
        ),
        (
            "NOTIFY_LOG_FORMAT",
            "xml",
            "log_format: must be text or json",
        ),
        (
            "NOTIFY_EGRESS__REQUIRE_HTTPS",
            "yes",
            "egress.require_https: must be true or false",
        ),
        (
            "NOTIFY_SIGNING_SECRET",
            "pasted ",
            "signing_secret: no white space",
        ),
    ] {
        let ended = Program::run(&["serve", "--in-memory"], &[(name, value)]).await;
        check_usage(&ended, message);
    }
    let both = [
        ("NOTIFY_MAX_RETRIES", "3"),
        ("NOTIFY_RETRY_SCHEDULE", r#"["1s"]"#),
    ];
    let ended = Program::run(&["serve", "--in-memory"], &both).await;
    check_usage(
        &ended,
        "retry_schedule: can't be set together with max_retries",
    );
}

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    for (args, message) in [
        (
            &["serve", "--in-memory", "--listen", "nowhere"][..],
            "(set by --listen)",
        ),
        (
            &["serve", "--in-memory", "--config", "no-such-file.toml"],
            "no-such-file.toml: ",
        ),
        (
            &["serve", "--in-memory", "--no-such-flag"],
            "--no-such-flag",
        ),
        (&["listen", "--port", "65536"], "65536"),
        (&["listen", "--secret", "whsec_x"], "secret: after whsec_"),
        (
            &["listen", "--secret", "v1,whsec_x"],
            "secret: without the v1, before whsec_",
        ),
        (&["no-such-command"], "no-such-command"),
        (&[], "Usage: notify"),
    ] {
        check_usage(&Program::run(args, &[]).await, message);
    }
}

#[tokio::test]
async fn help_and_version_are_no_failure() {
    for (args, part) in [
        (&["--help"][..], "demo"),
        (&["serve", "--help"], "--allow-loopback"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ended = Program::run(args, &[]).await;
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains(part), "{ended:?}");
    }
}

#[tokio::test]
async fn beyond_loopback_a_key_must_be_given() {
    let serve = ["serve", "--in-memory", "--listen", "0.0.0.0:0"];
    let ended = Program::run(&serve, &[]).await;
    check_usage(&ended, "api_key: must be set to listen at 0.0.0.0:0");
    let open = [&serve[..], &["--allow-loopback"]].concat();
    let ended = Program::run(&open, &[("NOTIFY_API_KEY", KEY)]).await;
    check_usage(&ended, "--allow-loopback: only when listening on loopback");
    let program = Program::start(&serve, &[("NOTIFY_API_KEY", KEY)]);
    assert_ne!(program.address().await.port(), 0);
}

#[tokio::test]
async fn on_loopback_a_key_is_made_and_shown_once() {
    let program = Program::start(&["serve", "--in-memory", "--listen", "127.0.0.1:0"], &[]);
    let address = program.address().await;
    let line = program.stderr_line("api key").await;
    let (_, key) = line.split_once("made for this run: ").unwrap();
    let key = key.to_owned();
    let register = |key: &str| HttpRequest::post("/v1/jobs", "{}").bearer(key);
    assert_eq!(register(&key).send(address).await.status, 201);
    assert_eq!(register(KEY).send(address).await.status, 403);
    program.terminate().await;
    let ended = program.ended().await;
    assert_eq!(ended.stderr.matches(&*key).count(), 1, "{ended:?}");
}

#[tokio::test]
async fn flags_beat_the_environment_which_beats_the_file() {
    let file = TomlFile::new(
        "precedence",
        &format!(
            "listen = \"127.0.0.1:1\"\napi_key = \"{KEY}\"\n\
             [limits]\nevent_bytes_max = 50\n[streams]\nopen_max = 10"
        ),
    );
    let program = Program::start(
        &[
            "serve",
            "--in-memory",
            "--config",
            file.path(),
            "--listen",
            "127.0.0.1:0",
        ],
        &[
            ("NOTIFY_LISTEN", "127.0.0.1:2"),
            ("NOTIFY_LIMITS__EVENT_BYTES_MAX", "100"),
        ],
    );
    let address = program.address().await;
    let accept = async |error_bytes: usize| {
        let event = format!(
            r#"{{"status":"failed","error":"{}"}}"#,
            "x".repeat(error_bytes)
        );
        let request = HttpRequest::post("/v1/jobs/a/events", event).bearer(KEY);
        request.send(address).await.status
    };
    assert_eq!(accept(90).await, 413);
    assert_eq!(accept(20).await, 202);
}

#[tokio::test]
async fn a_file_in_the_folder_it_is_started_in_is_read_unasked() {
    let folder = std::env::temp_dir().join(format!("notify-it-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("notify.toml"), "typo = 1").unwrap();
    let mut command = notify(&["serve", "--in-memory"], &[]);
    command.current_dir(&folder);
    let ended = Program::spawn(command).ended().await;
    std::fs::remove_dir_all(&folder).unwrap();
    check_usage(
        &ended,
        "typo: there is no such setting (set by notify.toml)",
    );
}

#[tokio::test]
async fn a_file_that_is_wrong_is_named() {
    for (name, toml, message) in [
        ("syntax", "listen = = 1", ": line 1: "),
        (
            "unknown",
            "[delivery]\nwindw = 1",
            "delivery.windw: there is no such setting",
        ),
    ] {
        let file = TomlFile::new(name, toml);
        let args = ["serve", "--in-memory", "--config", file.path()];
        let ended = Program::run(&args, &[]).await;
        check_usage(&ended, message);
        check_usage(&ended, file.path());
    }
}

#[tokio::test]
async fn logs_are_json_where_nobody_watches_and_never_hold_a_secret() {
    let server = Server::start_with(&[("NOTIFY_SIGNING_SECRET", "canary-secret")]).await;
    let token = server.token_for("a").await;
    let hook = "/v1/jobs/a/events?webhook_url=http%3A%2F%2F127.0.0.1%3A65535%2F%3Fcanary-query";
    let event = serde_json::json!({ "status": "completed" });
    assert_eq!(server.post(hook, event).await.status, 202);
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let logs = ended
        .stderr
        .lines()
        .filter(|line| !line.starts_with("listening on "));
    let mut count = 0;
    for line in logs {
        let log: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(log["timestamp"].is_string() && log["level"].is_string());
        count += 1;
    }
    assert!(count > 0);
    for secret in ["canary", KEY, &token] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

/// A settings file in the system's folder for such things.
struct TomlFile(PathBuf);

impl TomlFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("notify-it-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TomlFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
