//! A reader that does not keep up.

use notify_hub::{JobEvent, JobStatus};
use serde_json::json;

use super::{House, check_rising, ids, operators};

/// Far more than sockets and servers hold on the way.
const PROGRESS: usize = 400;
const RESULT_BYTES: usize = 64 * 1024;

#[tokio::test]
async fn a_slow_reader_skips_progress_and_nothing_else() {
    let house = House::start().await;
    let request = operators().receive_buffer_bytes(4_096);
    let mut slow = house.open_with(request).await;
    assert_eq!(slow.chunk().await.unwrap(), b":\n");
    let mut fast = house.open().await;
    assert_eq!(fast.chunk().await.unwrap(), b":\n");
    let fast = tokio::spawn(async move { fast.rest().await });

    let mut lifecycle = vec![house.notify(JobEvent::queued()).await];
    for number in 0..PROGRESS {
        let status = if number % 50 == 0 {
            JobStatus::Queued
        } else {
            JobStatus::Processing
        };
        let id = house.notify(large(status)).await;
        // What follows `queued` is the start of the work, no progress of it.
        if number % 50 <= 1 {
            lifecycle.push(id);
        }
    }
    lifecycle.push(house.notify(JobEvent::completed(json!(1))).await);

    // One that keeps up has it all while the other has read nothing.
    let events = fast.await.unwrap();
    check_complete(&lifecycle, &ids(&events));
    let events = slow.rest().await;
    check_rising(&events);
    check_complete(&lifecycle, &ids(&events));
    assert!(events.len() < PROGRESS / 2, "{} events", events.len());
}

fn large(status: JobStatus) -> JobEvent {
    JobEvent {
        status,
        result: Some(json!("x".repeat(RESULT_BYTES))),
        ..JobEvent::default()
    }
}

#[track_caller]
fn check_complete(lifecycle: &[String], seen: &[&str]) {
    for id in lifecycle {
        assert!(seen.contains(&&**id), "{id} is lost");
    }
    assert_eq!(seen.last().copied(), lifecycle.last().map(|id| &**id));
}
