//! Receivers that others would write, against deliveries of the real program:
//! the official libraries, unmodified, and the examples that customers copy.
//!
//! Each example of `examples/receivers` is started as its own process and posted
//! to. What only libraries judge are deliveries that a receiver in this process
//! has kept.

mod example;
mod node;
mod python;
mod rust;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use notify_tests::receiver::{Delivered, Receiver};
use serde_json::{Value, json};

const KEY: &str = "operator-key-0123456789";

/// A secret of each kind: base64 of the key, and the key itself.
const ENCODED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PLAIN: &str = "operator-hmac-key";

/// The program, with everything in memory.
struct Service {
    _program: Program,
    address: SocketAddr,
}

impl Service {
    async fn signing_with(secret: &str) -> Self {
        Self::start(&[("NOTIFY_SIGNING_SECRET", secret)]).await
    }

    /// One whose operator is changing the secret.
    async fn changing(old: &str, new: &str) -> Self {
        let secrets = [
            ("NOTIFY_SIGNING_SECRET", new),
            ("NOTIFY_PREVIOUS_SIGNING_SECRET", old),
        ];
        Self::start(&secrets).await
    }

    async fn start(secrets: &[(&str, &str)]) -> Self {
        let args = [
            "serve",
            "--in-memory",
            "--allow-loopback",
            "--listen=127.0.0.1:0",
        ];
        let mut env = vec![
            ("NOTIFY_API_KEY", KEY),
            ("NOTIFY_RETRY_SCHEDULE", r#"["20ms", "20ms", "20ms"]"#),
        ];
        env.extend(secrets);
        let program = Program::start(&args, &env);
        let address = program.address().await;
        Self {
            _program: program,
            address,
        }
    }

    /// Tells this receiver of a job's events and returns their ids.
    async fn tell(&self, job: &str, url: &str, events: &[Value]) -> Vec<String> {
        let spec = json!({"job_id": job, "webhook": {"url": url}});
        self.post("/v1/jobs", &spec, 201).await;
        let mut ids = Vec::new();
        for event in events {
            let path = format!("/v1/jobs/{job}/events");
            let accepted = self.post(&path, event, 202).await;
            ids.push(accepted["id"].as_str().unwrap().to_owned());
        }
        ids
    }

    async fn post(&self, path: &str, body: &Value, status: u16) -> Value {
        let request = HttpRequest::post(path, body.to_string()).bearer(KEY);
        let answer = request.send(self.address).await;
        assert_eq!(answer.status, status, "{answer:?}");
        answer.json()
    }

    /// One event as it is delivered after a first reply that got lost: two
    /// requests with one id and body, signed for their own time.
    async fn delivered_twice(&self) -> [Delivered; 2] {
        let fails_once = |nth, _: &_| if nth == 0 { 500 } else { 204 };
        let receiver = Receiver::answering(fails_once).await.unwrap();
        self.tell("job-kept", &receiver.url(), &[completed()]).await;
        let kept = receiver.wait_for(2).await.try_into();
        let kept: [Delivered; 2] = kept.unwrap_or_else(|more: Vec<_>| panic!("{more:?}"));
        assert_eq!(kept[0].header("webhook-id"), kept[1].header("webhook-id"));
        kept
    }
}

/// An event whose text a careless receiver would write differently.
fn completed() -> Value {
    json!({
        "status": "completed",
        "result": {"z": "été ☂ \u{1F600} <&>\u{2028}", "a": [1.0, 1e30, null, "\"\\/\n"]},
    })
}

/// A path in the workspace.
fn root(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join(path)
}
