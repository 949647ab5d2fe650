//! What only this store can be asked. What every store does alike is asked by the
//! suite, `notify-conformance`.

use std::time::Duration;

use notify_core::delivery::{Leased, Outcome};
use notify_core::store::{Answer, Append, FreshIds, Operation, Refusal, Webhook};
use notify_core::{Epoch, EventLimits, JobEvent};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_712_534_400);

fn job(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

fn append(to: &str, number: u128) -> Operation {
    let draft = JobEvent::queued().draft(1, EventLimits::default()).unwrap();
    let url = EndpointUrl::parse("https://a.example/").unwrap();
    Operation::Append(Append {
        job: job(to),
        draft,
        idempotency: None,
        webhook: Some(Webhook::To(url)),
        has_global_secret: true,
        progress_min_interval: Duration::ZERO,
        fresh: FreshIds {
            epoch: Epoch::from_random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060)),
            endpoint: EndpointId::from_random(number),
        },
    })
}

fn room() -> Room {
    Room {
        each: 100,
        ..Room::default()
    }
}

async fn write(store: &MemoryStore, batch: Batch) -> Written {
    store.write(NOW, Arc::new(batch)).await.unwrap()
}

/// A store with an event for each of these jobs, over the second of which deciding
/// panics from now on.
async fn with_a_bug() -> MemoryStore {
    let store = MemoryStore::default();
    let appends = ["a", "b", "c"].into_iter().zip(1..);
    let operations = appends.map(|(to, number)| append(to, number)).collect();
    let batch = Batch {
        operations,
        ..Batch::default()
    };
    write(&store, batch).await;
    store.lock().panics_at = Some(job("b"));
    store
}

fn jobs(leased: &[Leased]) -> Vec<&str> {
    let jobs = leased.iter().map(|leased| &leased.delivery().lane.job);
    jobs.map(JobId::as_str).collect()
}

#[tokio::test]
async fn an_operation_over_which_deciding_panics_is_refused_alone() {
    let store = with_a_bug().await;
    let operations = ["a", "b", "d", "b", "e"].into_iter().zip(7..);
    let operations = operations.map(|(to, number)| append(to, number)).collect();
    let batch = Batch {
        operations,
        ..Batch::default()
    };
    let written = write(&store, batch).await;
    let refused = |answer: &Result<Answer, Refusal>| *answer == Err(Refusal::Internal);
    let refused: Vec<bool> = written.answers.iter().map(refused).collect();
    assert_eq!(refused, [false, true, false, true, false]);
    assert_eq!(store.counters().await.unwrap().jobs, 5);
}

#[tokio::test]
async fn a_settle_over_which_deciding_panics_is_dropped_and_its_delivery_set_aside() {
    let store = with_a_bug().await;
    store.lock().panics_at = None;
    let leased = store.claim(NOW, room(), 9).await.unwrap().leased;
    assert_eq!(jobs(&leased), ["a", "b", "c"]);
    store.lock().panics_at = Some(job("b"));
    let settles = leased.into_iter();
    let settles = settles.map(|leased| leased.settle(Outcome::Delivered, None));
    let batch = Batch {
        settles: settles.collect(),
        ..Batch::default()
    };
    let written = write(&store, batch).await;
    assert_eq!(
        written.settles,
        [Ok(()), Err(notify_core::store::StaleLease), Ok(())]
    );
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 0);
    assert_eq!(store.lock().jobs[&job("b")].row.pending, 0);
}

#[tokio::test]
async fn a_lane_over_which_claiming_panics_keeps_no_other() {
    let store = with_a_bug().await;
    let claimed = store.claim(NOW, room(), 9).await.unwrap();
    assert_eq!(jobs(&claimed.leased), ["a", "c"]);
    assert_eq!(store.counters().await.unwrap().pending_deliveries, 2);
}
