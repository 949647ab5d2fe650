//! What can't be brought about from outside the program: a notifier that takes
//! no calls, or has no room. Everything else is tested over the real one.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use notify_core::EventLimits;
use notify_hub::{JobNotifier, LimitsConfig, NotifierConfig};
use notify_sse::ApiKeyHash;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;

const KEY: &str = "0123456789abcdef";

struct Harness {
    notifier: Arc<JobNotifier>,
    routes: Router,
}

impl Harness {
    fn new(config: NotifierConfig) -> Self {
        let notifier = Arc::new(JobNotifier::builder(config).build().unwrap());
        let routes = router(Parts {
            notifier: Arc::clone(&notifier),
            key: ApiKeyHash::of(KEY),
            base_url: "http://test".to_owned(),
            event_limits: EventLimits::default(),
            bodies: Bodies::default(),
        });
        let routes = with_fallbacks(routes);
        Self { notifier, routes }
    }

    async fn call(&self, method: &str, uri: &str, bearer: &str, body: &str) -> (u16, Value) {
        let response = self.response(method, uri, bearer, body).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn response(&self, method: &str, uri: &str, bearer: &str, body: &str) -> Response {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.routes.clone().oneshot(request).await.unwrap()
    }
}

#[tokio::test]
async fn a_notifier_that_takes_no_calls_is_not_ready() {
    let harness = Harness::new(NotifierConfig::default());
    assert_eq!(harness.call("GET", "/readyz", "", "").await.0, 200);
    let (_, job) = harness.call("POST", "/v1/jobs", KEY, "{}").await;
    let token = job["token"].as_str().unwrap();
    let of_job = format!("/v1/jobs/{}", job["job_id"].as_str().unwrap());
    harness.notifier.shutdown(Duration::ZERO).await;

    let event = r#"{"status":"queued"}"#;
    for (method, uri, bearer, body) in [
        ("GET", "/readyz", "", ""),
        ("POST", "/v1/jobs", KEY, "{}"),
        ("POST", "/v1/jobs/a/events", KEY, event),
        ("GET", &of_job, token, ""),
    ] {
        let (status, answer) = harness.call(method, uri, bearer, body).await;
        assert_eq!(status, 503, "{method} {uri}");
        assert_eq!(answer["error"]["code"], "not_ready", "{method} {uri}");
    }
    assert_eq!(harness.call("GET", "/healthz", "", "").await.0, 200);
}

#[tokio::test]
async fn a_full_notifier_says_when_to_come_back() {
    let harness = Harness::new(NotifierConfig {
        limits: LimitsConfig {
            memory_bytes_max: 0,
            ..LimitsConfig::default()
        },
        ..NotifierConfig::default()
    });
    let event = r#"{"status":"queued"}"#;
    let response = harness
        .response("POST", "/v1/jobs/a/events", KEY, event)
        .await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test]
async fn no_answer_is_kept_by_a_cache() {
    let harness = Harness::new(NotifierConfig::default());
    for uri in ["/healthz", "/v1/jobs", "/v1/jobs/a", "/nowhere"] {
        let response = harness.response("GET", uri, KEY, "").await;
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{uri}");
    }
}
