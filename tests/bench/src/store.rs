//! What it costs to keep events, for the bench `store`.

mod counting;
pub mod floor;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify_core::transport::RecordingTransport;
use notify_hub::{JobEvent, JobNotifier, NotifierConfig};
use notify_sqlite::{SqliteOptions, SqliteStore};
use serde_json::json;
use tokio::task::JoinSet;

pub use counting::{CountingStore, Counts};

/// The result of every job: 200 bytes of JSON text.
pub fn result() -> serde_json::Value {
    json!("x".repeat(200))
}

/// A notifier over a store in `dir`, and how its batches are counted.
///
/// # Errors
/// If the store can't be opened.
pub fn notifier(
    dir: &Path,
) -> Result<(JobNotifier, Arc<Counts>), Box<dyn std::error::Error + Send + Sync>> {
    let store = CountingStore::new(SqliteStore::open(dir, SqliteOptions::default())?);
    let counts = store.counts();
    let builder = JobNotifier::builder(NotifierConfig::default());
    let notifier = builder
        .store(store)
        .transport(RecordingTransport::new())
        .build()?;
    Ok((notifier, counts))
}

/// Lets so many callers push jobs through their lives, each one call at a time,
/// and says how many calls were answered per second.
///
/// # Errors
/// If a call is refused.
pub async fn notifies_per_second(
    notifier: Arc<JobNotifier>,
    callers: usize,
    jobs_each: usize,
) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let notifier = Arc::clone(&notifier);
        tasks.spawn(async move {
            for nth in 0..jobs_each {
                let job = format!("job-{caller}-{nth}");
                notifier.notify(&job, JobEvent::queued(), None).await?;
                notifier
                    .notify(&job, JobEvent::completed(result()), None)
                    .await?;
            }
            Ok::<(), notify_hub::NotifyError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let calls = u32::try_from(2 * callers * jobs_each)?;
    Ok(f64::from(calls) / began.elapsed().as_secs_f64())
}

/// The median time of one call, from a single caller.
///
/// # Errors
/// If a call is refused.
pub async fn single_caller_median(
    notifier: &JobNotifier,
    jobs: &str,
    calls: usize,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let mut times = Vec::with_capacity(calls);
    for nth in 0..calls {
        let job = format!("{jobs}-{nth}");
        let began = Instant::now();
        notifier
            .notify(&job, JobEvent::completed(result()), None)
            .await?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}

/// The middle one.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
