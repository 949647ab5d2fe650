//! The real program over real sockets: its API, its settings, its commands.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what can't be set up or isn't there has failed"
)]

mod backup;
mod check_url;
mod curl;
mod deletion;
mod durable;
mod endpoints;
mod events;
mod jobs;
mod json;
mod letters;
mod listen;
mod refusals;
mod settings;
mod shutdown;
mod spellings;
mod story;
mod strangers;

use std::net::SocketAddr;

use notify_tests::http_client::{HttpAnswer, HttpRequest};
use notify_tests::program::{Ended, Program, notify};
use serde_json::{Value, json};
use tokio::process::Command;

const KEY: &str = "operator-key-0123456789";

const ARGS: [&str; 5] = [
    "serve",
    "--in-memory",
    "--allow-loopback",
    "--listen",
    "127.0.0.1:0",
];

fn with_key<'a>(settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("NOTIFY_API_KEY", KEY)], settings].concat()
}

/// A server with everything in memory on a free port of this machine.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more settings in its environment.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::spawn(notify(&ARGS, &with_key(settings))).await
    }

    async fn spawn(command: Command) -> Self {
        let program = Program::spawn(command);
        let address = program.address().await;
        Self { program, address }
    }

    async fn get(&self, path: &str) -> HttpAnswer {
        HttpRequest::get(path).bearer(KEY).send(self.address).await
    }

    async fn post(&self, path: &str, body: impl ToString) -> HttpAnswer {
        let request = HttpRequest::post(path, body.to_string()).bearer(KEY);
        request.send(self.address).await
    }

    async fn delete(&self, path: &str) -> HttpAnswer {
        let request = HttpRequest::new("DELETE", path).bearer(KEY);
        request.send(self.address).await
    }

    /// Registers a job and returns the answer.
    async fn register(&self, spec: Value) -> Value {
        let answer = self.post("/v1/jobs", spec).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// Registers a job by this id and returns its token.
    async fn token_for(&self, job: &str) -> String {
        let registered = self.register(json!({ "job_id": job })).await;
        registered["token"].as_str().unwrap().to_owned()
    }

    /// Has an event accepted and returns its id.
    async fn accept(&self, job: &str, event: Value) -> String {
        let answer = self.post(&format!("/v1/jobs/{job}/events"), event).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.text("/id")
    }

    /// Has an event of each status accepted and returns the ids.
    async fn accept_all(&self, job: &str, statuses: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        for status in statuses {
            ids.push(self.accept(job, json!({ "status": status })).await);
        }
        ids
    }

    async fn stop(self) -> Ended {
        self.program.terminate().await;
        self.program.ended().await
    }
}

/// That the call was refused with this status and code, in the shape of every
/// error.
#[track_caller]
fn check_refused(answer: &HttpAnswer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{body}");
    assert!(error["message"].as_str().is_some_and(|it| !it.is_empty()));
    assert!(error["detail"].is_object(), "{body}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(error.as_object().unwrap().len(), 3, "{body}");
}

/// That the call was refused with 422 and names this field.
#[track_caller]
fn check_field(answer: &HttpAnswer, code: &str, field: &str) {
    check_refused(answer, 422, code);
    assert_eq!(answer.text("/error/detail/field"), field, "{answer:?}");
}
