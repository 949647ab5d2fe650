//! What is refused, with which status and which code.

use notify_tests::http_client::HttpRequest;
use serde_json::json;

use super::{KEY, Server, check_field, check_refused};

const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Every call that takes credentials, and whether a job's token may do.
const CALLS: [(&str, &str, bool); 5] = [
    ("POST", "/v1/jobs", false),
    ("GET", "/v1/jobs/a", true),
    ("POST", "/v1/jobs/a/events", false),
    ("POST", "/v1/jobs/a/token", false),
    ("GET", "/v1/jobs/a/events", true),
];

#[tokio::test]
async fn without_credentials_nothing_is_said() {
    let server = Server::start().await;
    for (method, path, _) in CALLS {
        let bare = HttpRequest::new(method, path);
        for header in ["", "Bearer", "Basic b3BlcmF0b3I6a2V5", KEY] {
            let request = bare.clone().header("authorization", header);
            check_refused(&request.send(server.address).await, 401, "unauthorized");
        }
        let answer = bare.send(server.address).await;
        check_refused(&answer, 401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn wrong_credentials_open_nothing() {
    let server = Server::start().await;
    let token = server.token_for("a").await;
    for (method, path, token_may_do) in CALLS {
        for wrong in ["x", &KEY[1..], &token[1..], &KEY.to_uppercase()] {
            let request = HttpRequest::new(method, path).bearer(wrong);
            check_refused(&request.send(server.address).await, 403, "forbidden");
        }
        if !token_may_do {
            let request = HttpRequest::new(method, path).bearer(&token);
            check_refused(&request.send(server.address).await, 403, "forbidden");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    check_refused(&server.get("/v1/jobs/unknown").await, 404, "not_found");
    let token = server.post("/v1/jobs/unknown/token", "").await;
    check_refused(&token, 404, "not_found");
    assert_eq!(
        server.get("/v1/jobs/unknown").await.status,
        404,
        "it was created"
    );
    for path in ["/v2/jobs", "/v1", "/v1/jobs/", "/nowhere"] {
        check_refused(&server.get(path).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_and_the_others_named() {
    let server = Server::start().await;
    for (method, path, allowed) in [
        ("PATCH", "/v1/jobs/a", "DELETE,GET,HEAD"),
        ("PUT", "/v1/jobs/a/events", "GET,HEAD,POST"),
        ("GET", "/v1/jobs/a/token", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let answer = HttpRequest::new(method, path).bearer(KEY);
        let answer = answer.send(server.address).await;
        check_refused(&answer, 405, "method_not_allowed");
        let mut named: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        named.sort_unstable();
        assert_eq!(named.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_malformed_job_id_is_named() {
    let server = Server::start().await;
    let long = "x".repeat(129);
    for id in [
        "%2F",
        "a%20b",
        "%2e%2e",
        "%2e",
        "%ff",
        "caf%C3%A9",
        "a%00",
        &long,
    ] {
        for (method, call) in [("GET", ""), ("POST", "/events"), ("POST", "/token")] {
            let request = HttpRequest::new(method, format!("/v1/jobs/{id}{call}"));
            let answer = request.bearer(KEY).send(server.address).await;
            check_field(&answer, "job_id_invalid", "job_id");
        }
    }
    let answer = server.post("/v1/jobs", json!({ "job_id": "a b" })).await;
    check_field(&answer, "job_id_invalid", "job_id");
}

#[tokio::test]
async fn what_is_not_said_to_be_json_is_not_read() {
    let server = Server::start().await;
    for path in ["/v1/jobs", "/v1/jobs/a/events"] {
        let bare = HttpRequest::post(path, r#"{"status":"queued"}"#).bearer(KEY);
        let bare = bare.without("content-type");
        let refused = bare.send(server.address).await;
        check_refused(&refused, 415, "unsupported_media_type");
        for other in ["text/plain", "application/x-www-form-urlencoded"] {
            let request = bare.clone().header("content-type", other);
            let refused = request.send(server.address).await;
            check_refused(&refused, 415, "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let server = Server::start().await;
    for body in ["{", "nonsense", "{\"status\":\"queued\"}x", "\u{feff}{}"] {
        for path in ["/v1/jobs", "/v1/jobs/a/events"] {
            let refused = server.post(path, body).await;
            check_refused(&refused, 400, "malformed_json");
        }
    }
    let empty = server.post("/v1/jobs/a/events", "").await;
    check_refused(&empty, 400, "malformed_json");
}

#[tokio::test]
async fn an_event_that_breaks_a_rule_is_refused_by_its_field() {
    let server = Server::start().await;
    let deep = format!(
        r#"{{"status":"queued","result":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    for (event, field) in [
        ("{}", "status"),
        (r#"{"status":"done"}"#, "status"),
        (r#"{"status":"processing","progress":101}"#, "progress"),
        (r#"{"status":"processing","progress":-1}"#, "progress"),
        (r#"{"status":"failed","error":5}"#, "error"),
        (r#"{"status":"queued","timestamp":"now"}"#, "timestamp"),
        (r#"{"status":"queued","statsu":1}"#, "statsu"),
        (r#"{"status":"queued","status":"failed"}"#, "status"),
        (&deep, "result"),
    ] {
        let refused = server.post("/v1/jobs/a/events", event).await;
        check_field(&refused, "event_invalid", field);
    }
    check_refused(
        &server.post("/v1/jobs/a/events", "[]").await,
        422,
        "event_invalid",
    );
    assert_eq!(
        server.get("/v1/jobs/a").await.status,
        404,
        "one was recorded"
    );
}

#[tokio::test]
async fn a_job_that_breaks_a_rule_is_refused_by_its_field() {
    let server = Server::start().await;
    let long = format!("http://a.example/{}", "x".repeat(2_048));
    for (spec, code, field) in [
        (json!({ "job": "a" }), "request_invalid", "job"),
        (json!({ "job_id": 5 }), "request_invalid", "job_id"),
        (json!([]), "request_invalid", "body"),
        (json!({ "webhook": {} }), "request_invalid", "webhook.url"),
        (
            json!({ "webhook": { "url": "ftp://a.example/" } }),
            "webhook_url_invalid",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://u@a.example/" } }),
            "webhook_url_invalid",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": long } }),
            "webhook_url_invalid",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://10.0.0.1/" } }),
            "address_refused",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://169.254.169.254/latest/meta-data/" } }),
            "address_refused",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://a.internal/" } }),
            "address_refused",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "https://a.example:25/" } }),
            "address_refused",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://[::ffff:127.0.0.1]:8080/" } }),
            "address_refused",
            "webhook.url",
        ),
        (
            json!({ "webhook": { "url": "http://127.0.0.1:65535/", "secret": "whsec_x" } }),
            "signing_secret_invalid",
            "webhook.secret",
        ),
        (
            json!({ "webhook": { "url": "http://127.0.0.1:65535/", "secret": "'quoted'" } }),
            "signing_secret_invalid",
            "webhook.secret",
        ),
        (
            json!({ "webhook": { "url": "http://127.0.0.1:65535/", "events": ["done"] } }),
            "request_invalid",
            "webhook.events",
        ),
    ] {
        let refused = server.post("/v1/jobs", spec).await;
        check_field(&refused, code, field);
    }
}

#[tokio::test]
async fn a_parameter_that_means_nothing_is_refused() {
    let server = Server::start().await;
    let hook = "http%3A%2F%2F127.0.0.1%3A65535%2F";
    for (query, field) in [
        (format!("webhookurl={hook}"), "webhookurl"),
        (
            format!("webhook_url={hook}&webhook_url={hook}"),
            "webhook_url",
        ),
    ] {
        let target = format!("/v1/jobs/a/events?{query}");
        let refused = server.post(&target, json!({ "status": "queued" })).await;
        check_field(&refused, "request_invalid", field);
    }
    assert_eq!(
        server.get("/v1/jobs/a").await.status,
        404,
        "one was recorded"
    );
}

#[tokio::test]
async fn a_body_beyond_its_limit_is_too_large() {
    let server = Server::start().await;
    let event_of = |bytes: usize| {
        let rest = r#"{"status":"failed","error":""}"#.len();
        json!({ "status": "failed", "error": "x".repeat(bytes - rest) })
    };
    // What is stored has a timestamp too.
    let fits = event_of(EVENT_BYTES_MAX - 64);
    assert_eq!(server.post("/v1/jobs/a/events", fits).await.status, 202);
    for bytes in [
        EVENT_BYTES_MAX + 1,
        4 * EVENT_BYTES_MAX,
        20 * EVENT_BYTES_MAX,
    ] {
        let refused = server.post("/v1/jobs/b/events", event_of(bytes)).await;
        check_refused(&refused, 413, "payload_too_large");
    }
    let spec = json!({ "job_id": "x".repeat(32 * 1024) });
    let refused = server.post("/v1/jobs", spec).await;
    check_refused(&refused, 413, "payload_too_large");
    assert_eq!(
        server.get("/v1/jobs/b").await.status,
        404,
        "one was recorded"
    );
}

#[tokio::test]
async fn the_limit_of_events_can_be_set() {
    let server = Server::start_with(&[("NOTIFY_LIMITS__EVENT_BYTES_MAX", "100")]).await;
    let event = json!({ "status": "failed", "error": "x".repeat(100) });
    let refused = server.post("/v1/jobs/a/events", event).await;
    check_refused(&refused, 413, "payload_too_large");
}
