//! A service as they are: it renders, and says so through a notifier.
//!
//! A webhook's URL is optional and goes on as the customer typed it. The secret is
//! what a variable of the environment says, and nothing if that is not set. What
//! `notify()` refuses is logged and no more. The stream is a handler of the
//! service's own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt as _};
use notify_hub::EventRecord;
use notify_tests::http_client::HttpRequest;
use notify_tests::sse_client::StreamRequest;
use notify_verify::Verifier;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// The service, running.
struct Renderer {
    notifier: Arc<JobNotifier>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
struct App {
    notifier: Arc<JobNotifier>,
    work: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Deserialize)]
struct Submission {
    job_id: String,
    webhook_url: Option<String>,
}

#[derive(Deserialize)]
struct Shown {
    token: String,
}

impl Renderer {
    /// As it starts where its environment says this.
    async fn start(environment: &[(&str, &str)]) -> Self {
        let variable = |name| {
            let mut set = environment.iter();
            set.find_map(|(other, value)| (*other == name).then_some(*value))
        };
        let notifier = Arc::new(JobNotifier::new(NotifierConfig {
            signing_secret: variable("WEBHOOK_SECRET").unwrap_or_default().into(),
            ..config()
        }));
        let app = App {
            notifier: Arc::clone(&notifier),
            work: Arc::default(),
        };
        let routes = Router::new()
            .route("/renders", post(submit))
            .route("/renders/{job_id}/events", get(follow))
            .with_state(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            notifier,
            address,
            _serving: serving,
        }
    }

    /// What a customer sees of a job that he submits: the names and the data of
    /// his stream's events, up to its end.
    async fn rendered(&self, job: &str, webhook_url: Option<&str>) -> Vec<(String, Value)> {
        let submission = json!({ "job_id": job, "webhook_url": webhook_url });
        let answer = HttpRequest::post("/renders", submission.to_string());
        let answer = answer.send(self.address).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let target = format!("/renders/{job}/events?token={}", answer.text("/token"));
        let stream = StreamRequest::new(target).send(self.address).await;
        assert_eq!(stream.status(), 200);
        let mut stream = stream;
        let whole = tokio::time::timeout(Duration::from_secs(30), stream.rest()).await;
        assert!(whole.is_ok(), "the stream has no end");
        let whole = whole.unwrap().into_iter();
        whole
            .map(|event| (event.event, serde_json::from_str(&event.data).unwrap()))
            .collect()
    }
}

/// `POST /renders`: takes a job on, and works at it.
async fn submit(
    State(app): State<App>,
    Json(submission): Json<Submission>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let Submission {
        job_id,
        webhook_url,
    } = submission;
    let token = app.notifier.register_job(&job_id).await;
    let token = token.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let notifier = app.notifier;
    let work = render(notifier, job_id, webhook_url);
    app.work.lock().unwrap().spawn(work);
    Ok((StatusCode::ACCEPTED, Json(json!({ "token": *token }))))
}

async fn render(notifier: Arc<JobNotifier>, job: String, webhook_url: Option<String>) {
    for event in [
        JobEvent::queued(),
        JobEvent::processing(10),
        JobEvent::processing(90),
        completed(),
    ] {
        let notified = notifier.notify(&job, event, webhook_url.as_deref()).await;
        if let Err(error) = notified {
            tracing::warn!(%error, "nobody is told");
        }
    }
}

/// `GET /renders/{job_id}/events`: what comes of it.
async fn follow(
    State(app): State<App>,
    Path(job_id): Path<String>,
    Query(shown): Query<Shown>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    let notifier = &app.notifier;
    if !notifier.validate_job_token(&job_id, &shown.token).await {
        return Err(StatusCode::FORBIDDEN);
    }
    let events = notifier.subscribe(&job_id).await;
    let events = events.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Sse::new(events.map(|record: EventRecord| {
        let json = record.json();
        let data = String::from_utf8_lossy(&json);
        let event = Event::default().event(record.status().as_str());
        Ok(event.id(record.id().to_string()).data(data))
    })))
}

/// That the stream has its beginning and its end, whatever it left out between.
#[track_caller]
fn check_whole(stream: &[(String, Value)], what: &str) {
    let names: Vec<_> = stream.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"queued"), "{what}: {names:?}");
    assert_eq!(names.last(), Some(&"completed"), "{what}: {names:?}");
    let result = &stream[names.len() - 1].1["result"];
    assert_eq!(*result, completed().result.unwrap(), "{what}");
}

async fn dead_reasons(service: &Renderer) -> Vec<&'static str> {
    let letters = service.notifier.dead_letters().await.unwrap();
    letters.iter().map(|it| it.reason.as_str()).collect()
}

const WITH_SECRET: [(&str, &str); 1] = [("WEBHOOK_SECRET", SECRET)];

#[tokio::test]
async fn a_customer_gets_his_stream_and_his_webhooks() {
    let service = Renderer::start(&WITH_SECRET).await;
    let receiver = Receiver::start().await.unwrap();
    let stream = service.rendered("job-1", Some(&receiver.url())).await;
    check_whole(&stream, "with a webhook");
    check_whole(&service.rendered("job-2", None).await, "without one");
    service.notifier.shutdown(Duration::from_secs(10)).await;
    let verifier = Verifier::new([SECRET]).unwrap();
    let delivered = receiver.delivered();
    assert!(!delivered.is_empty());
    for webhook in &delivered {
        verifier.verify(&webhook.headers, &webhook.body).unwrap();
    }
    assert!(dead_reasons(&service).await.is_empty());
}

#[tokio::test]
async fn a_typo_takes_nobodys_stream_away() {
    let service = Renderer::start(&WITH_SECRET).await;
    let long = format!("https://customer.example/{}", "x".repeat(5_000));
    for (nth, typed) in [
        "",
        " ",
        "none",
        "customer.example/hook",
        "htps://customer.example/hook",
        "https//customer.example/hook",
        "https:///hook",
        "https://customer.example:8o80/hook",
        "https://me:pass@customer.example/hook",
        " https://customer.example/hook ",
        "https://customer.example/my hook",
        &long,
    ]
    .into_iter()
    .enumerate()
    {
        let stream = service.rendered(&format!("job-{nth}"), Some(typed)).await;
        check_whole(&stream, typed);
    }
    let reasons = dead_reasons(&service).await;
    // Each event but the second progress.
    assert_eq!(reasons, ["url_invalid"; 12 * 3]);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_takes_nobodys_stream_away() {
    let service = Renderer::start(&WITH_SECRET).await;
    let metadata = "http://169.254.169.254/latest/meta-data";
    check_whole(&service.rendered("job-1", Some(metadata)).await, metadata);
}

#[tokio::test]
async fn a_service_without_its_secret_takes_nobodys_stream_away() {
    for environment in [&[][..], &[("WEBHOOK_SECRET", "")]] {
        let service = Renderer::start(environment).await;
        let receiver = Receiver::start().await.unwrap();
        let stream = service.rendered("job-1", Some(&receiver.url())).await;
        check_whole(&stream, "without a secret");
        service.notifier.shutdown(Duration::from_secs(10)).await;
        assert!(receiver.delivered().is_empty());
        assert_eq!(dead_reasons(&service).await, ["secret_missing"; 3]);
    }
}
