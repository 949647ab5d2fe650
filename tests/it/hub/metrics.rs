//! What a notifier counts.

use notify_core::DeadReason;
use notify_hub::{AttemptResult, JobEvent, JobStatus};
use serde_json::Value;

use super::*;

fn of<T: PartialEq + Copy>(counts: &[(T, u64)], value: T) -> u64 {
    let found = counts.iter().find(|(it, _)| *it == value);
    found.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted() {
    let rig = rig(&[500, 500, 500, 500, 204]);
    for (job, event) in [
        ("lost", JobEvent::completed(Value::Null)),
        ("job", JobEvent::queued()),
    ] {
        rig.notifier.notify(job, event, Some(URL)).await.unwrap();
        rig.run_for(Duration::from_secs(60)).await;
    }
    let failed = JobEvent::failed("x");
    rig.notifier.notify("job", failed, None).await.unwrap();

    let metrics = rig.notifier.metrics().await.unwrap();
    assert_eq!(of(&metrics.events, JobStatus::Completed), 1);
    assert_eq!(of(&metrics.events, JobStatus::Queued), 1);
    assert_eq!(of(&metrics.events, JobStatus::Failed), 1);
    assert_eq!(of(&metrics.attempts, AttemptResult::ServerError), 4);
    assert_eq!(of(&metrics.attempts, AttemptResult::Success), 1);
    assert_eq!(of(&metrics.dead, DeadReason::Exhausted), 1);
    assert_eq!((metrics.delivered, metrics.superseded), (1, 0));
    assert_eq!((metrics.dead_letters, metrics.jobs), (1, 2));
    assert_eq!((metrics.pending_deliveries, metrics.in_flight), (0, 0));
    assert_eq!(metrics.attempt_seconds.count(), 5);
    assert_eq!(metrics.lag_seconds.count(), 1);
    assert_eq!(metrics.commit_seconds.count(), 3);
    assert!(metrics.batch_size.count() >= 8, "{metrics:?}");
}
