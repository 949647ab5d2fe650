//! An example as a process of its own, and what every one of them must do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use http::HeaderMap;
use notify_core::signing::{
    WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
    sign,
};
use notify_core::{Keyring, Secret};
use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use notify_tests::receiver::Delivered;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{ENCODED, PLAIN, Service, completed, root};

/// A receiver from `examples/receivers` that is running.
pub(super) struct Example {
    program: Program,
    address: SocketAddr,
}

impl Example {
    /// Starts what `command` starts, on a free port, with this secret.
    pub(super) async fn start(mut command: Command, secret: &str) -> Self {
        command.env("NOTIFY_SECRET", secret).env("PORT", "0");
        let program = Program::spawn(command);
        let ready = program.stdout_line("\"ready\"").await;
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        Self {
            program,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Posts a delivery as it came; the status of the answer.
    pub(super) async fn post(&self, delivered: &Delivered) -> u16 {
        self.post_parts(&delivered.headers, &delivered.body).await
    }

    async fn post_parts(&self, headers: &HeaderMap, body: &[u8]) -> u16 {
        let mut request = HttpRequest::new("POST", PATH).body(body.to_vec());
        for (name, value) in headers {
            // Those two belong to the connection.
            if !["host", "content-length"].contains(&name.as_str()) {
                request = request.header(name.as_str(), value);
            }
        }
        request.send(self.address).await.status
    }

    /// Waits until the event is handled.
    async fn handles(&self, id: &str) {
        self.program.stdout_line(&format!("\"{id}\"")).await;
    }

    /// Stops it; the ids of what it has handled, in order.
    async fn handled(self) -> Vec<String> {
        self.program.terminate().await;
        let printed = self.program.ended().await.stdout;
        let webhooks = printed.lines().skip(1);
        let webhooks = webhooks.map(|line| serde_json::from_str::<Value>(line).unwrap());
        webhooks
            .map(|webhook| webhook["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

const PATH: &str = "/hook";

/// The path of a file of `examples/receivers`.
pub(super) fn source(path: &str) -> PathBuf {
    root("examples/receivers").join(path)
}

/// That the receiver takes what the program sends it, handles each event once,
/// and answers 401 to what is forged; with a secret of either kind.
pub(super) async fn check_receives(command: impl Fn() -> Command) {
    for secret in [ENCODED, PLAIN] {
        let example = Example::start(command(), secret).await;
        let service = Service::signing_with(secret).await;

        let events = [json!({"status": "queued"}), completed()];
        let mut expected = service.tell("job-1", &example.url(), &events).await;
        for id in &expected {
            example.handles(id).await;
        }

        let kept = service.delivered_twice().await;
        expected.push(kept[0].header(WEBHOOK_ID).unwrap().to_owned());
        for again in [&kept[0], &kept[1], &kept[1]] {
            let status = example.post(again).await;
            assert!((200..300).contains(&status), "{status}");
        }

        check_refuses_forged(&example, secret, &kept[0]).await;
        assert_eq!(example.handled().await, expected);
    }
}

async fn check_refuses_forged(example: &Example, secret: &str, good: &Delivered) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    // What is signed by nobody else than the service would be handled: it has an
    // id that is new.
    let id = "aaaaaaaaaaaa-1";
    let body = br#"{"id":"aaaaaaaaaaaa-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued"}}"#;
    let mut forged = vec![
        ("nothing signed", HeaderMap::new()),
        ("signed for another body", good.headers.clone()),
        ("another secret", signed(other, id, now, body)),
        ("too old", signed(secret, id, now - 400, body)),
        ("too new", signed(secret, id, now + 400, body)),
    ];
    let mut renewed = signed(secret, id, now - 400, body);
    for name in [WEBHOOK_TIMESTAMP, X_WEBHOOK_TIMESTAMP] {
        renewed.insert(name, now.into());
    }
    forged.push(("made younger", renewed));
    for (what, headers) in forged {
        let status = example.post_parts(&headers, body).await;
        assert_eq!(status, 401, "{what}");
    }
    // And it is not that it takes nothing any more.
    assert!(example.post(good).await < 300);
}

/// The headers that the service would put around this body.
fn signed(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> HeaderMap {
    let keyring = Keyring::new(Secret::parse(secret).unwrap());
    let signatures = sign(&keyring, id, timestamp, body);
    let mut headers = HeaderMap::new();
    headers.insert(WEBHOOK_ID, id.parse().unwrap());
    headers.insert(WEBHOOK_TIMESTAMP, timestamp.into());
    headers.insert(WEBHOOK_SIGNATURE, signatures.standard.parse().unwrap());
    headers.insert(X_WEBHOOK_TIMESTAMP, timestamp.into());
    headers.insert(X_WEBHOOK_SIGNATURE, signatures.timestamped.parse().unwrap());
    headers
}

/// What a receiver answers while the operator changes the secret: one that has
/// the old secret still, and one that has the new one already.
pub(super) async fn statuses_while_changing(command: impl Fn() -> Command) -> [u16; 2] {
    let service = Service::changing(PLAIN, ENCODED).await;
    let [delivered, _] = service.delivered_twice().await;
    let old = Example::start(command(), PLAIN).await;
    let new = Example::start(command(), ENCODED).await;
    [old.post(&delivered).await, new.post(&delivered).await]
}

/// That a receiver agrees with every known answer of `vectors/verify.json` that
/// turns on what it reads, and that it reads most.
pub(super) async fn check_known_answers(mut command: Command) {
    command.arg(root("vectors/verify.json"));
    let ended = Program::spawn(command).ended().await;
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(summary["wrong"], json!([]), "{summary}");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let left_out = summary["left_out"].as_object().unwrap().values();
    let left_out: u64 = left_out.map(|count| count.as_u64().unwrap()).sum();
    let judged = summary["judged"].as_u64().unwrap();
    let known = include_str!("../../../vectors/verify.json");
    let known: Vec<Value> = serde_json::from_str(known).unwrap();
    assert_eq!(judged + left_out, known.len() as u64);
    assert!(judged > left_out, "{summary}");
}
