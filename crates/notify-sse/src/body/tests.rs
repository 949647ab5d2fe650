//! The bytes of a body and when they come, under a clock that only the tests
//! move.

use std::task::Waker;

use http_body_util::BodyExt;
use notify_hub::{JobEvent, JobNotifier, StartFrom};
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::testing::hub;

const JOB: &str = "job-1";
const INTERVAL: Duration = Duration::from_secs(15);

/// With this seed the first `retry:` is a known number.
async fn body_from(hub: &JobNotifier, from: StartFrom, seed: u64) -> StreamBody {
    let subscription = hub.subscribe_from(JOB, from).await.unwrap();
    StreamBody::new(subscription, INTERVAL, Jitter::seeded(seed))
}

async fn body(hub: &JobNotifier) -> StreamBody {
    body_from(hub, StartFrom::Beginning, 0).await
}

/// What `retry:` says with the seed 0.
fn retry_line() -> String {
    let retry = Jitter::seeded(0).spread(RETRY);
    format!("retry: {}\n", retry.as_millis())
}

async fn frame(body: &mut StreamBody) -> Option<Bytes> {
    let frame = body.frame().await?;
    Some(frame.unwrap().into_data().unwrap())
}

/// The frame that is there already.
#[track_caller]
fn frame_now(body: &mut StreamBody) -> Bytes {
    match poll_now(body) {
        Poll::Ready(Some(bytes)) => bytes,
        other => panic!("no frame but {other:?}"),
    }
}

fn poll_now(body: &mut StreamBody) -> Poll<Option<Bytes>> {
    let mut cx = Context::from_waker(Waker::noop());
    let polled = Pin::new(body).poll_frame(&mut cx);
    polled.map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
}

/// Accepts an event and returns its block, as the subscription of another
/// reader has it.
async fn notify(hub: &JobNotifier, event: JobEvent) -> Bytes {
    let mut reader = hub.subscribe_from(JOB, StartFrom::Latest).await.unwrap();
    while reader.try_recv_record().is_some() {}
    hub.notify(JOB, event, None).await.unwrap();
    reader.recv_record().await.unwrap().block()
}

fn large(kib: usize) -> JobEvent {
    JobEvent {
        result: Some(json!("x".repeat(kib * 1024))),
        ..JobEvent::queued()
    }
}

#[tokio::test(start_paused = true)]
async fn the_comment_comes_at_once_and_the_first_block_says_when_to_come_back() {
    let hub = hub();
    let mut body = body(&hub).await;
    assert_eq!(frame_now(&mut body), ":\n");
    let block = notify(&hub, JobEvent::queued()).await;
    let block = String::from_utf8(block.to_vec()).unwrap();
    assert!(block.starts_with("id: "), "{block}");
    assert_eq!(frame_now(&mut body), format!("{}{block}", retry_line()));
    let block = notify(&hub, JobEvent::processing(1)).await;
    assert_eq!(frame_now(&mut body), block);
}

#[tokio::test(start_paused = true)]
async fn retry_is_two_seconds_more_or_less() {
    let hub = hub();
    notify(&hub, JobEvent::queued()).await;
    let mut told = Vec::new();
    for seed in 0..100 {
        let mut body = body_from(&hub, StartFrom::Beginning, seed).await;
        let first = String::from_utf8(frame_now(&mut body).to_vec()).unwrap();
        let line = first.lines().nth(1).unwrap();
        told.push(line.strip_prefix("retry: ").unwrap().parse().unwrap());
    }
    assert!(told.iter().all(|told| (1_600..=2_400).contains(told)));
    told.sort_unstable();
    told.dedup();
    assert!(told.len() > 50, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_goes_into_one_frame_and_the_end_with_it() {
    let hub = hub();
    let mut expected = format!(":\n{}", retry_line()).into_bytes();
    for event in [
        JobEvent::queued(),
        JobEvent::processing(1),
        JobEvent::cancelled(),
    ] {
        expected.extend(notify(&hub, event).await);
    }
    let mut body = body(&hub).await;
    assert!(!body.is_end_stream());
    assert_eq!(frame_now(&mut body), expected);
    assert!(body.is_end_stream());
    assert_eq!(poll_now(&mut body), Poll::Ready(None));
    assert_eq!(poll_now(&mut body), Poll::Ready(None));
}

#[tokio::test(start_paused = true)]
async fn a_large_block_is_a_frame_of_its_own_and_is_not_copied() {
    let hub = hub();
    let mut body = body(&hub).await;
    let small = notify(&hub, JobEvent::queued()).await;
    let first = [COMMENT, retry_line().as_bytes(), &small].concat();
    assert_eq!(frame_now(&mut body), first);

    let small = notify(&hub, JobEvent::queued()).await;
    let large = notify(&hub, large(17)).await;
    let last = notify(&hub, JobEvent::cancelled()).await;
    assert_eq!(frame_now(&mut body), small);
    assert!(!body.is_end_stream());
    let frame = frame_now(&mut body);
    assert_eq!(frame, large);
    assert_eq!(frame.as_ptr(), large.as_ptr());
    assert_eq!(frame_now(&mut body), last);
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn small_blocks_are_joined_up_to_the_bound() {
    let hub = hub();
    let mut expected = format!(":\n{}", retry_line()).into_bytes();
    for _ in 0..40 {
        expected.extend(notify(&hub, large(1)).await);
    }
    let mut body = body(&hub).await;
    let mut frames = Vec::new();
    while let Poll::Ready(Some(frame)) = poll_now(&mut body) {
        frames.push(frame);
    }
    assert_eq!(frames.concat(), expected);
    assert_eq!(frames.len(), 3);
    for frame in frames {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        assert!(frame.ends_with(b"\n\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_first_and_moves_no_cursor() {
    let hub = hub();
    let block = notify(&hub, JobEvent::queued()).await;
    let requested = "x\r\n\nid: 7\n\"\\ \u{1f}";
    let mut body = body_from(&hub, StartFrom::After(requested.into()), 0).await;
    let gap = r#"{"requested":"x\r\n\nid: 7\n\"\\ \u001f"}"#;
    let gap = format!(":\n{}event: notify.gap\ndata: {gap}\n\n", retry_line());
    assert_eq!(frame_now(&mut body), [gap.as_bytes(), &block].concat());
}

#[tokio::test(start_paused = true)]
async fn a_gap_on_an_unknown_job_is_told_before_its_first_event() {
    let hub = hub();
    let mut body = body_from(&hub, StartFrom::After("x".into()), 0).await;
    let gap = format!(
        ":\n{}event: notify.gap\ndata: {{\"requested\":\"x\"}}\n\n",
        retry_line()
    );
    assert_eq!(frame_now(&mut body), gap);
    let block = notify(&hub, JobEvent::queued()).await;
    assert_eq!(frame_now(&mut body), block);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_comment_and_a_single_newline() {
    let hub = hub();
    let mut waits = Vec::new();
    for seed in 0..50 {
        let mut body = body_from(&hub, StartFrom::Beginning, seed).await;
        assert_eq!(frame(&mut body).await.unwrap(), ":\n");
        for _ in 0..3 {
            let since = Instant::now();
            assert_eq!(frame(&mut body).await.unwrap(), ":\n");
            waits.push(since.elapsed());
        }
    }
    // A timer fires at the end of its millisecond.
    let expected = Duration::from_secs(12)..=Duration::from_millis(18_001);
    assert!(waits.iter().all(|wait| expected.contains(wait)));
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 100, "each wait has a length of its own");
}

#[tokio::test(start_paused = true)]
async fn an_event_begins_the_silence_anew() {
    let hub = hub();
    let mut body = body(&hub).await;
    frame(&mut body).await;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(poll_now(&mut body), Poll::Pending);
        notify(&hub, JobEvent::queued()).await;
        assert!(frame(&mut body).await.unwrap().ends_with(b"\n\n"));
    }
    let since = Instant::now();
    assert_eq!(frame(&mut body).await.unwrap(), ":\n");
    assert!(since.elapsed() >= Duration::from_secs(12));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_late_to_a_frame_gets_events_before_a_heartbeat() {
    let hub = hub();
    let mut body = body(&hub).await;
    frame(&mut body).await;
    let block = notify(&hub, JobEvent::queued()).await;
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(frame_now(&mut body).ends_with(&block));
    assert_eq!(poll_now(&mut body), Poll::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_stays_a_position_in_the_log() {
    let hub = hub();
    let mut body = body(&hub).await;
    frame(&mut body).await;
    notify(&hub, JobEvent::queued()).await;
    let begun = notify(&hub, JobEvent::processing(0)).await;
    for percent in 1..=100 {
        notify(&hub, JobEvent::processing(percent)).await;
    }
    let last = notify(&hub, JobEvent::cancelled()).await;
    let read = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(read.to_vec()).unwrap();
    assert!(text.contains(std::str::from_utf8(&begun).unwrap()));
    assert!(text.ends_with(std::str::from_utf8(&last).unwrap()));
    // Both lifecycle events, the newest progress and the end.
    assert_eq!(text.matches("id: ").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_without_being_polled_for_nothing() {
    let hub = hub();
    let mut body = body(&hub).await;
    frame(&mut body).await;
    let reading = tokio::spawn(async move { frame(&mut body).await });
    tokio::task::yield_now().await;
    let block = notify(&hub, JobEvent::queued()).await;
    assert!(reading.await.unwrap().unwrap().ends_with(&block));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_body() {
    let hub = hub();
    notify(&hub, JobEvent::queued()).await;
    let mut body = body(&hub).await;
    frame(&mut body).await;
    hub.shutdown(Duration::ZERO).await;
    assert_eq!(frame(&mut body).await, None);
    assert!(body.is_end_stream());
}
