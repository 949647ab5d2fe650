//! What the route answers before there is a stream.

use std::time::Duration;

use axum::http::{Request, header};
use http_body_util::BodyExt;
use notify_hub::{JobEvent, LimitsConfig, NotifierConfig};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::credentials::ApiKeyHash;
use crate::testing::{hub, hub_with};

const OPERATOR_KEY: &str = "operator-key-0123456789";

fn routes(hub: &Arc<JobNotifier>) -> Router {
    let config = StreamConfig {
        api_key: Some(ApiKeyHash::of(OPERATOR_KEY)),
        ..StreamConfig::default()
    };
    router(Arc::clone(hub), config)
}

async fn get_with(routes: &Router, path: &str, authorization: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Body::empty()).unwrap();
    routes.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn error_code(response: Response<Body>) -> String {
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let body: Value = serde_json::from_str(&text(response).await).unwrap();
    let error = &body["error"];
    assert!(error["message"].is_string() && error["detail"].is_object());
    error["code"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_stream_is_told_to_be_one() {
    let hub = hub();
    let token = hub.register_job("job-1").await.unwrap();
    let authorization = format!("Bearer {}", &*token);
    let path = "/v1/jobs/job-1/events";
    let response = get_with(&routes(&hub), path, Some(&authorization)).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers[CONTENT_TYPE], "text/event-stream");
    assert_eq!(headers[CACHE_CONTROL], "no-store, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(!headers.contains_key(header::CONTENT_LENGTH));
}

#[tokio::test]
async fn without_credentials_it_says_which_to_send_and_not_whether_the_job_exists() {
    let hub = hub();
    hub.register_job("job-1").await.unwrap();
    let routes = routes(&hub);
    for path in [
        "/v1/jobs/job-1/events",
        "/v1/jobs/job-2/events",
        "/v1/jobs/../events",
        "/v1/jobs/%ff/events",
    ] {
        for authorization in [None, Some("Basic YTpi"), Some("Bearer"), Some("nonsense")] {
            let response = get_with(&routes, path, authorization).await;
            assert_eq!(response.status(), 401, "{path}");
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
            assert_eq!(error_code(response).await, "unauthorized");
        }
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_token_or_job_the_answer_is_the_same() {
    let hub = hub();
    let token = hub.register_job("job-1").await.unwrap();
    hub.register_job("job-2").await.unwrap();
    hub.notify("job-3", JobEvent::queued(), None).await.unwrap();
    let routes = routes(&hub);
    let right = format!("Bearer {}", &*token);
    let operator = format!("Bearer {OPERATOR_KEY}");
    let long = format!("/v1/jobs/{}/events", "x".repeat(129));
    let mut answers = Vec::new();
    for (path, authorization) in [
        ("/v1/jobs/job-1/events", "Bearer nonsense"),
        ("/v1/jobs/job-1/events", "Bearer a b"),
        ("/v1/jobs/job-2/events", &*right),
        ("/v1/jobs/job-3/events", &right),
        ("/v1/jobs/nobody/events", &right),
        ("/v1/jobs/../events", &right),
        ("/v1/jobs/a%20b/events", &right),
        ("/v1/jobs/job-1%2f/events", &right),
        ("/v1/jobs/%ff/events", &right),
        (&long, &right),
        ("/v1/jobs/a%20b/events", &operator),
        ("/v1/jobs/%ff/events", &operator),
    ] {
        let response = get_with(&routes, path, Some(authorization)).await;
        assert_eq!(response.status(), 403, "{path}");
        let headers = format!("{:?}", response.headers());
        answers.push((headers, text(response).await));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].1.contains(r#""code":"forbidden""#));
}

#[tokio::test]
async fn the_operators_key_reads_any_job() {
    let hub = hub();
    let routes = routes(&hub);
    let operator = format!("Bearer {OPERATOR_KEY}");
    for path in ["/v1/jobs/known/events", "/v1/jobs/unknown/events"] {
        hub.notify("known", JobEvent::queued(), None).await.unwrap();
        let response = get_with(&routes, path, Some(&operator)).await;
        assert_eq!(response.status(), 200);
    }
    let without = router(Arc::clone(&hub), StreamConfig::default());
    let response = get_with(&without, "/v1/jobs/known/events", Some(&operator)).await;
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn too_many_streams_are_refused_until_one_ends() {
    let limits = LimitsConfig {
        subscriptions_max: 1,
        ..LimitsConfig::default()
    };
    let hub = hub_with(NotifierConfig {
        limits,
        ..NotifierConfig::default()
    });
    let routes = routes(&hub);
    let operator = format!("Bearer {OPERATOR_KEY}");
    let path = "/v1/jobs/job-1/events";
    let open = get_with(&routes, path, Some(&operator)).await;
    assert_eq!(open.status(), 200);
    let refused = get_with(&routes, path, Some(&operator)).await;
    assert_eq!(refused.status(), 503);
    let seconds = refused.headers()[header::RETRY_AFTER].to_str().unwrap();
    assert!(seconds.parse::<u64>().unwrap() >= 1);
    assert_eq!(error_code(refused).await, "overloaded");
    drop(open);
    let response = get_with(&routes, path, Some(&operator)).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_hub_that_takes_no_calls_blames_no_token() {
    let hub = hub();
    let token = hub.register_job("job-1").await.unwrap();
    hub.shutdown(Duration::ZERO).await;
    let routes = routes(&hub);
    for authorization in [&*token, "nonsense", OPERATOR_KEY] {
        let authorization = format!("Bearer {authorization}");
        let path = "/v1/jobs/job-1/events";
        let response = get_with(&routes, path, Some(&authorization)).await;
        assert_eq!(response.status(), 503);
        assert_eq!(error_code(response).await, "not_ready");
    }
}

#[tokio::test]
async fn it_merges_into_an_app_that_has_the_path_for_another_method() {
    let hub = hub();
    let emit = axum::routing::post(async || StatusCode::ACCEPTED);
    let app: Router = Router::new()
        .route("/v1/jobs/{job_id}/events", emit)
        .merge(routes(&hub));
    let path = "/v1/jobs/job-1/events";
    let response = get_with(&app, path, None).await;
    assert_eq!(response.status(), 401);
    let posted = Request::post(path).body(Body::empty()).unwrap();
    let posted = app.oneshot(posted).await.unwrap();
    assert_eq!(posted.status(), 202);
}

#[tokio::test]
async fn it_nests_below_a_path_with_parameters_of_its_own() {
    let hub = hub();
    let token = hub.register_job("job-1").await.unwrap();
    let app = Router::new().nest("/{tenant}/{job}", routes(&hub));
    let authorization = format!("Bearer {}", &*token);
    let path = "/acme/other/v1/jobs/job-1/events";
    let response = get_with(&app, path, Some(&authorization)).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn no_answer_and_no_debug_shows_a_token() {
    let hub = hub();
    let token = hub.register_job("job-1").await.unwrap();
    let authorization = format!("Bearer {}", &*token);
    let routes = routes(&hub);
    let path = format!("/v1/jobs/job-2/events?token={}", &*token);
    let refused = get_with(&routes, &path, Some(&authorization)).await;
    assert!(!format!("{refused:?}").contains(&*token));
    assert!(!text(refused).await.contains(&*token));
    let open = get_with(&routes, "/v1/jobs/job-1/events", Some(&authorization)).await;
    assert!(!format!("{open:?}").contains(&*token));
    let subscription = hub.subscribe("job-1").await.unwrap();
    let body = StreamBody::new(subscription, Duration::ZERO, Jitter::seeded(0));
    assert!(!format!("{body:?}").contains(&*token));
}
