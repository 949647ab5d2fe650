//! The bytes on the wire.

use notify_hub::{JobEvent, JobStatus};
use notify_tests::sse_client::StreamResponse;
use serde_json::json;

use super::{House, JOB, OPERATOR_KEY, StreamRequest, operators};

#[tokio::test]
async fn the_head_is_that_of_an_event_stream() {
    let house = House::start().await;
    let stream = house.open().await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let cache_control = stream.header("cache-control");
    assert_eq!(cache_control, Some("no-store, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("content-length"), None);
    let known = [
        "content-type",
        "cache-control",
        "x-accel-buffering",
        "transfer-encoding",
        "date",
    ];
    for name in stream.header_names() {
        assert!(known.contains(&name), "{name} is new");
    }
}

#[tokio::test]
async fn the_first_bytes_come_before_there_is_any_event() {
    let house = House::start().await;
    let mut stream = house.open().await;
    assert_eq!(stream.chunk().await.unwrap(), b":\n");
    let id = house.notify(stamped(JobEvent::processing(42))).await;
    let block = text(&mut stream).await;
    let retry = stream.decoder().retry_ms().unwrap();
    assert!((1_600..=2_400).contains(&retry));
    let data = r#"{"status":"processing","progress":42,"timestamp":1712534400}"#;
    let expected = format!("retry: {retry}\nid: {id}\nevent: processing\ndata: {data}\n\n");
    assert_eq!(block, expected);

    let id = house.notify(stamped(JobEvent::processing(43))).await;
    let data = r#"{"status":"processing","progress":43,"timestamp":1712534400}"#;
    let expected = format!("id: {id}\nevent: processing\ndata: {data}\n\n");
    assert_eq!(text(&mut stream).await, expected);
    assert_eq!(stream.decoder().vain_blank_lines(), 0);
}

#[tokio::test]
async fn what_is_there_comes_in_the_first_chunk() {
    let house = House::start().await;
    let first = house.notify(stamped(JobEvent::queued())).await;
    let last = house.notify(stamped(JobEvent::failed("no"))).await;
    let mut stream = house.open().await;
    let chunk = text(&mut stream).await;
    let retry = stream.decoder().retry_ms().unwrap();
    let expected = format!(
        ":\nretry: {retry}\n\
         id: {first}\nevent: queued\ndata: {{\"status\":\"queued\",\"timestamp\":1712534400}}\n\n\
         id: {last}\nevent: failed\ndata: {{\"status\":\"failed\",\"error\":\"no\",\"timestamp\":1712534400}}\n\n"
    );
    assert_eq!(chunk, expected);
    assert_eq!(stream.chunk().await, None);
    assert_eq!(stream.decoder().comments(), 1);
}

#[tokio::test]
async fn a_gap_is_one_block_without_an_id() {
    let house = House::start().await;
    let id = house.notify(stamped(JobEvent::queued())).await;
    let mut stream = house.resume("\"7\"").await;
    let chunk = text(&mut stream).await;
    let retry = stream.decoder().retry_ms().unwrap();
    let expected = format!(
        ":\nretry: {retry}\n\
         event: notify.gap\ndata: {{\"requested\":\"\\\"7\\\"\"}}\n\n\
         id: {id}\nevent: queued\ndata: {{\"status\":\"queued\",\"timestamp\":1712534400}}\n\n"
    );
    assert_eq!(chunk, expected);
}

#[tokio::test]
async fn every_subscriber_gets_the_same_bytes() {
    let house = House::start().await;
    let token = house.hub.register_job(JOB).await.unwrap();
    let mut streams = Vec::new();
    for number in 0..10 {
        let request = StreamRequest::of_job(JOB).bearer(match number % 2 {
            0 => &token,
            _ => OPERATOR_KEY,
        });
        let mut stream = house.open_with(request).await;
        assert_eq!(stream.chunk().await.unwrap(), b":\n");
        streams.push(stream);
    }
    for event in [
        JobEvent::queued(),
        JobEvent::processing(0),
        JobEvent::processing(50),
        JobEvent::completed(json!({"url": "https://cdn.example.com/a.mp4", "n": [1, 2.5, null]})),
    ] {
        house.notify(event).await;
        // Each has read it before the next is there, so none is left out.
        for stream in &mut streams {
            stream.event().await.unwrap();
        }
    }
    let mut bodies = Vec::new();
    for mut stream in streams {
        assert_eq!(stream.event().await, None);
        bodies.push(without_retry(stream.raw()));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn hostile_text_stays_inside_its_event() {
    let house = House::start().await;
    let nasty = "a\nb\r\nc\rid: 7\n\nevent: completed\ndata: x\n\n\u{2028}\u{0}\u{feff}";
    house.notify(JobEvent::queued()).await;
    house.notify(JobEvent::failed(nasty)).await;
    let events = house.open().await.rest().await;
    assert_eq!(events.len(), 2);
    let failed: JobEvent = serde_json::from_str(&events[1].data).unwrap();
    assert_eq!(failed.status, JobStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some(nasty));
}

#[tokio::test]
async fn a_large_result_arrives_whole() {
    let house = House::start().await;
    let result = json!("é".repeat(100_000));
    house.notify(JobEvent::queued()).await;
    house.notify(JobEvent::completed(result.clone())).await;
    let mut stream = house.open_with(operators()).await;
    let events = stream.rest().await;
    let completed: JobEvent = serde_json::from_str(&events[1].data).unwrap();
    assert_eq!(completed.result, Some(result));
}

async fn text(stream: &mut StreamResponse) -> String {
    String::from_utf8(stream.chunk().await.unwrap()).unwrap()
}

fn stamped(event: JobEvent) -> JobEvent {
    JobEvent {
        timestamp: 1_712_534_400,
        ..event
    }
}

/// When to come back is for each reader to be told differently.
fn without_retry(raw: &[u8]) -> String {
    let text = std::str::from_utf8(raw).unwrap();
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("retry: ")).collect()
}
