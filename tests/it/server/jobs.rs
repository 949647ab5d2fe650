//! Registering jobs and reading them.

use notify_tests::http_client::HttpRequest;
use notify_tests::receiver::Receiver;
use notify_tests::sse_client::StreamRequest;
use serde_json::{Value, json};

use super::{Server, check_refused};

#[tokio::test]
async fn a_job_is_registered_with_a_token_and_an_address_for_its_events() {
    let server = Server::start().await;
    let named = server.register(json!({ "job_id": "render:1@eu" })).await;
    assert_eq!(named["job_id"], "render:1@eu");
    let events_url = format!("http://{}/v1/jobs/render:1@eu/events", server.address);
    assert_eq!(named["events_url"], events_url);
    let token = named["token"].as_str().unwrap();
    assert!(token.len() == 64 && token.bytes().all(|it| it.is_ascii_hexdigit()));
    assert!(named.get("webhook_secret").is_none());

    let unnamed = server.post("/v1/jobs", "").await.json();
    let id = unnamed["job_id"].as_str().unwrap();
    assert!(id.starts_with("job_") && id.len() == 24, "{id}");
}

#[tokio::test]
async fn a_public_url_is_what_customers_are_told() {
    let server = Server::start_with(&[("NOTIFY_PUBLIC_URL", "https://jobs.example.com/")]).await;
    let registered = server.register(json!({ "job_id": "a" })).await;
    let expected = "https://jobs.example.com/v1/jobs/a/events";
    assert_eq!(registered["events_url"], expected);
}

#[tokio::test]
async fn a_new_endpoint_gets_a_secret_of_its_own_once() {
    let server = Server::start().await;
    let hook = "http://127.0.0.1:65535/hook";
    let spec = |job: &str| json!({ "job_id": job, "webhook": { "url": hook } });
    let first = server.register(spec("a")).await;
    let secret = first["webhook_secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let second = server.register(spec("b")).await;
    assert!(second.get("webhook_secret").is_none());

    let mut other = spec("c");
    other["webhook"]["secret"] = "another-secret".into();
    let conflict = server.post("/v1/jobs", other).await;
    check_refused(&conflict, 409, "endpoint_secret_conflict");
    let mut same = spec("c");
    same["webhook"]["secret"] = secret.into();
    server.register(same).await;
}

#[tokio::test]
async fn a_job_that_an_event_created_can_still_be_registered_once() {
    let server = Server::start().await;
    server.accept("a", json!({ "status": "queued" })).await;
    server.token_for("a").await;
    let again = server.post("/v1/jobs", json!({ "job_id": "a" })).await;
    check_refused(&again, 409, "job_exists");
}

#[tokio::test]
async fn a_job_without_events_is_queued() {
    let server = Server::start().await;
    server.token_for("a").await;
    let job = server.get("/v1/jobs/a").await;
    assert_eq!(job.status, 200);
    let mut job = job.json();
    for time in ["created_at", "updated_at"] {
        check_time(&job[time].take());
    }
    let expected = json!({
        "job_id": "a", "status": "queued", "progress": null, "sequence": 0,
        "last_event": null, "created_at": null, "updated_at": null,
    });
    assert_eq!(job, expected);
}

#[tokio::test]
async fn a_job_shows_its_last_event_by_the_bytes_of_the_stream() {
    let server = Server::start().await;
    server.token_for("a").await;
    let result = json!({ "z": 1, "a": [2.50, "ü"], "m": { "b": 1, "a": 2 } });
    let event = json!({ "status": "processing", "progress": 42, "result": result });
    server.accept("a", json!({ "status": "queued" })).await;
    let id = server.accept("a", event).await;

    let answer = server.get("/v1/jobs/a").await;
    let job = answer.json();
    assert_eq!(
        (&job["status"], &job["progress"]),
        (&json!("processing"), &json!(42))
    );
    assert_eq!(
        (&job["sequence"], &job["last_event"]["id"]),
        (&json!(2), &json!(id))
    );
    assert!(job["updated_at"].as_str() >= job["created_at"].as_str());

    let stream = StreamRequest::of_job("a")
        .query("from=latest")
        .bearer(super::KEY);
    let streamed = stream.send(server.address).await.event().await.unwrap();
    assert_eq!(streamed.id, id);
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        body.contains(&format!(r#""event":{}"#, streamed.data)),
        "{body}"
    );
}

#[tokio::test]
async fn the_operator_sees_whom_a_job_tells_and_its_customer_does_not() {
    let server = Server::start().await;
    let receiver = Receiver::start().await.unwrap();
    let webhook = json!({ "url": receiver.url(), "events": ["processing"] });
    let job = server
        .register(json!({ "job_id": "a", "webhook": webhook }))
        .await;
    let seen = server.get("/v1/jobs/a").await.json();
    assert_eq!(seen["webhook"]["url"], receiver.url());
    let asked_for = json!(["processing", "completed", "failed", "cancelled"]);
    assert_eq!(seen["webhook"]["events"], asked_for);

    let token = job["token"].as_str().unwrap();
    let request = HttpRequest::get("/v1/jobs/a").bearer(token);
    let answer = request.send(server.address).await;
    assert_eq!(answer.status, 200);
    let mut without = seen.clone();
    without.as_object_mut().unwrap().remove("webhook");
    assert_eq!(answer.json(), without);
}

#[tokio::test]
async fn a_token_opens_its_own_job_alone() {
    let server = Server::start().await;
    let token = server.token_for("a").await;
    server.token_for("b").await;
    let mut bodies = Vec::new();
    for path in ["/v1/jobs/b", "/v1/jobs/unknown", "/v1/jobs/%2F"] {
        let answer = HttpRequest::get(path)
            .bearer(&token)
            .send(server.address)
            .await;
        check_refused(&answer, 403, "forbidden");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "which of them exists can be told apart");
}

#[tokio::test]
async fn a_new_token_replaces_the_old_one_and_ends_its_streams() {
    let server = Server::start().await;
    let old = server.token_for("a").await;
    server.accept("a", json!({ "status": "queued" })).await;
    let open = |token: &str| StreamRequest::of_job("a").bearer(token);
    let mut stream = open(&old).send(server.address).await;
    assert!(stream.event().await.is_some());

    let renewed = server.post("/v1/jobs/a/token", "").await;
    assert_eq!(renewed.status, 201);
    assert_eq!(renewed.text("/job_id"), "a");
    let new = renewed.text("/token");
    assert_ne!(new, old);
    assert!(stream.event().await.is_none());
    assert_eq!(open(&old).send(server.address).await.status(), 403);
    assert_eq!(open(&new).send(server.address).await.status(), 200);
    let read = |token: &str| HttpRequest::get("/v1/jobs/a").bearer(token);
    assert_eq!(read(&old).send(server.address).await.status, 403);
    assert_eq!(read(&new).send(server.address).await.status, 200);
}

#[tokio::test]
async fn health_and_readiness_need_no_key() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        let answer = HttpRequest::get(path).send(server.address).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

/// RFC 3339 in UTC with milliseconds.
#[track_caller]
fn check_time(time: &Value) {
    let time = time.as_str().unwrap();
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{time}");
}
