//! Who may read, and until when.

use std::time::Duration;

use notify_hub::{JobEvent, JobStatus, LimitsConfig, NotifierConfig};
use notify_tests::sse_client::{StreamRequest, StreamResponse};
use serde_json::Value;
use tokio::time::timeout;

use super::{House, JOB, OPERATOR_KEY, ids, operators};

#[tokio::test]
async fn without_credentials_it_is_401() {
    let house = House::start().await;
    house.hub.register_job(JOB).await.unwrap();
    let none = StreamRequest::of_job(JOB);
    for request in [
        none.clone(),
        none.clone().header("authorization", "Basic YTpi"),
        none.clone().header("authorization", "Bearer"),
        none.clone().header("authorization", b"Bearer \xff\xfe"),
        none.clone().query(&format!("token={OPERATOR_KEY}")),
        none.clone().bearer("one").bearer("two"),
    ] {
        let response = request.send(house.address).await;
        assert_eq!(response.status(), 401, "{request:?}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        assert_eq!(error_code(response).await, "unauthorized");
    }
}

#[tokio::test]
async fn wrong_token_unknown_job_and_malformed_id_have_one_answer() {
    let house = House::start().await;
    let token = house.hub.register_job(JOB).await.unwrap();
    house.hub.register_job("job-2").await.unwrap();
    let shown = |target: &str, token: &str| {
        StreamRequest::new(format!("/v1/jobs/{target}/events")).bearer(token)
    };
    let mut bodies = Vec::new();
    for request in [
        shown(JOB, &"0".repeat(64)),
        shown(JOB, "short"),
        shown("job-2", &token),
        shown("nobody", &token),
        shown("..", &token),
        shown("%2e%2e", &token),
        shown("a%20b", &token),
        shown("%ff", &token),
        shown(&"x".repeat(129), &token),
        shown("a%20b", OPERATOR_KEY),
    ] {
        let response = request.send(house.address).await;
        assert_eq!(response.status(), 403, "{request:?}");
        bodies.push(response.text().await);
    }
    bodies.dedup();
    let [body] = &bodies[..] else {
        panic!("{bodies:?}");
    };
    assert!(body.contains(r#""code":"forbidden""#), "{body}");
}

#[tokio::test]
async fn a_token_reads_its_job_and_the_operator_every_job() {
    let house = House::start().await;
    let token = house.hub.register_job(JOB).await.unwrap();
    let given = house.notify(JobEvent::queued()).await;
    for shown in [&*token, OPERATOR_KEY] {
        let request = StreamRequest::of_job(JOB).bearer(shown);
        let mut stream = house.open_with(request).await;
        assert_eq!(stream.event().await.unwrap().id, given);
    }
}

#[tokio::test]
async fn a_new_token_ends_the_streams_of_the_old_one() {
    let house = House::start().await;
    let old = house.hub.register_job(JOB).await.unwrap();
    let first = house.notify(JobEvent::queued()).await;
    let with_old = StreamRequest::of_job(JOB).bearer(&old);
    let mut olds = house.open_with(with_old.clone()).await;
    assert_eq!(olds.event().await.unwrap().id, first);
    let mut operators = house.open().await;
    assert_eq!(operators.event().await.unwrap().id, first);

    let new = house.hub.register_job(JOB).await.unwrap();
    assert_eq!(olds.event().await, None);
    let refused = with_old.send(house.address).await;
    assert_eq!(refused.status(), 403);

    let with_new = StreamRequest::of_job(JOB).bearer(&new).last_event_id(first);
    let mut news = house.open_with(with_new).await;
    let last = house.notify(super::event(JobStatus::Cancelled)).await;
    assert_eq!(ids(&news.rest().await), [&last]);
    assert_eq!(ids(&operators.rest().await), [&last]);
}

#[tokio::test]
async fn a_shutdown_ends_every_stream_and_takes_no_new_one() {
    let house = House::start().await;
    let mut stream = house.open().await;
    stream.chunk().await.unwrap();
    house.hub.shutdown(Duration::ZERO).await;
    assert_eq!(stream.event().await, None);
    let refused = operators().send(house.address).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(error_code(refused).await, "not_ready");
}

#[tokio::test]
async fn a_reader_that_leaves_makes_room() {
    let limits = LimitsConfig {
        subscriptions_max: 1,
        ..LimitsConfig::default()
    };
    let house = House::start_with(NotifierConfig {
        limits,
        ..NotifierConfig::default()
    })
    .await;
    let mut stream = house.open().await;
    stream.chunk().await.unwrap();
    let refused = operators().send(house.address).await;
    assert_eq!(refused.status(), 503);
    let seconds = refused.header("retry-after").unwrap();
    assert!(seconds.parse::<u64>().unwrap() >= 1);
    assert_eq!(error_code(refused).await, "overloaded");

    drop(stream);
    // The server learns of it from its socket, in its own time.
    let learnt = async {
        while house.hub.active_channels().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), learnt).await.unwrap();
    house.open().await;
}

async fn error_code(response: StreamResponse) -> String {
    assert_eq!(response.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&response.text().await).unwrap();
    assert!(body["error"]["message"].is_string());
    assert!(body["error"]["detail"].is_object());
    body["error"]["code"].as_str().unwrap().into()
}
