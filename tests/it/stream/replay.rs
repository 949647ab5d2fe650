//! What was, then what comes.

use notify_hub::{JobEvent, JobStatus};
use notify_tests::sse_client::StreamRequest;

use super::{House, JOB, check_rising, event, ids, operators};
use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};

#[tokio::test]
async fn what_was_then_what_comes_under_the_ids_that_notify_gave() {
    let house = House::start().await;
    let mut given = house.notify_all(&[Queued, Processing, Processing]).await;
    let mut stream = house.open().await;
    let mut events = stream.events(3).await;
    for status in [Processing, Queued, Completed] {
        given.push(house.notify(event(status)).await);
        events.push(stream.event().await.unwrap());
    }
    assert_eq!(stream.event().await, None);
    assert_eq!(ids(&events), given);
    let names: Vec<_> = events.iter().map(|event| &*event.event).collect();
    let expected = [
        "queued",
        "processing",
        "processing",
        "processing",
        "queued",
        "completed",
    ];
    assert_eq!(names, expected);
    for event in &events {
        let data: JobEvent = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data.status.to_string(), event.event);
    }
}

#[tokio::test]
async fn a_late_reader_gets_the_newest_progress_only() {
    let house = House::start().await;
    let statuses = [Queued, Processing, Processing, Processing, Processing];
    let given = house.notify_all(&statuses).await;
    let events = house.open().await.events(3).await;
    assert_eq!(ids(&events), [&given[0], &given[1], &given[4]]);
}

#[tokio::test]
async fn a_finished_job_is_replayed_and_the_body_ends() {
    for last in [Completed, Failed, Cancelled] {
        let house = House::start().await;
        let given = house
            .notify_all(&[Queued, Processing, Processing, Processing, last])
            .await;
        for _ in 0..2 {
            let events = house.open().await.rest().await;
            let expected = [&given[0], &given[1], &given[3], &given[4]];
            assert_eq!(ids(&events), expected);
        }
    }
}

#[tokio::test]
async fn from_latest_begins_with_the_newest_event() {
    let house = House::start().await;
    let mut given = house.notify_all(&[Queued, Processing, Processing]).await;
    let mut stream = house.open_with(operators().query("from=latest")).await;
    assert_eq!(stream.event().await.unwrap().id, given[2]);
    given.push(house.notify(event(Completed)).await);
    assert_eq!(ids(&stream.rest().await), [&given[3]]);
    // It is no cursor, so a finished job is answered with its end, not with 204.
    let mut stream = house.open_with(operators().query("from=latest")).await;
    assert_eq!(ids(&stream.rest().await), [&given[3]]);
}

#[tokio::test]
async fn a_job_that_nobody_knows_yet_can_be_waited_for() {
    let house = House::start().await;
    let mut streams = Vec::new();
    for query in ["", "from=latest"] {
        let mut stream = house.open_with(operators().query(query)).await;
        assert_eq!(stream.chunk().await.unwrap(), b":\n");
        streams.push(stream);
    }
    let given = house.notify(JobEvent::queued()).await;
    for stream in &mut streams {
        assert_eq!(stream.event().await.unwrap().id, given);
    }
}

#[tokio::test]
async fn a_token_may_be_registered_before_or_after_the_first_event() {
    let house = House::start().await;
    let given = house.notify(JobEvent::queued()).await;
    let token = house.hub.register_job(JOB).await.unwrap();
    let request = StreamRequest::of_job(JOB).bearer(&token);
    let mut stream = house.open_with(request).await;
    assert_eq!(stream.event().await.unwrap().id, given);
}

#[tokio::test]
async fn jobs_do_not_mix() {
    let house = House::start().await;
    let mut stream = house.open().await;
    stream.chunk().await.unwrap();
    for number in 0..20 {
        let other = format!("other-{number}");
        let event = JobEvent::queued();
        house.hub.notify(&other, event, None).await.unwrap();
    }
    let given = house.notify_all(&[Queued, Cancelled]).await;
    let events = stream.rest().await;
    check_rising(&events);
    assert_eq!(ids(&events), given);
}
