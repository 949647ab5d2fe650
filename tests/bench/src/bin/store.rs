//! What it costs that accepted means durable: `cargo xtask bench store [-- JOBS]`.
//!
//! Against floors of the same run: a bare rusqlite loop that writes the same rows
//! at the same mean batch size, and an append of 4 KiB with `fdatasync`. Then the
//! program is started on so many finished jobs (a million by default).

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use notify_bench::store::{floor, notifier, notifies_per_second, result, single_caller_median};
use notify_core::event::EventLimits;
use notify_core::store::{Append, Batch, FreshIds, Operation, Store};
use notify_core::{EndpointId, Epoch, JobEvent, JobId, Timestamp};
use notify_sqlite::{SqliteOptions, SqliteStore};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Calls at once.
const CALLERS: usize = 256;

/// What it costs that accepted means durable, against bare SQLite.
#[derive(Parser)]
struct Cli {
    /// On how many finished jobs the program is started
    #[arg(default_value_t = 1_000_000)]
    jobs: u64,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let Cli { jobs } = Cli::parse();
    let scratch = tempfile::tempdir()?;
    throughput(scratch.path()).await?;
    latency(scratch.path()).await?;
    many_jobs(scratch.path(), jobs).await
}

async fn throughput(scratch: &Path) -> Outcome<()> {
    let dir = scratch.join("throughput");
    let (notifier, counts) = notifier(&dir)?;
    let durable = notifies_per_second(Arc::new(notifier), CALLERS, 300).await?;
    let batch = counts.mean_batch();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a batch is small"
    )]
    let bare = floor::rows_per_second(scratch, (batch.round() as usize).max(1), 150_000)?;
    println!("durable notifies, {CALLERS} callers, mean batch {batch:.0}: {durable:.0}/s");
    println!("bare rusqlite, the same rows and batch:   {bare:.0}/s");
    println!("ratio: {:.2} (wanted: at least 0.60)", durable / bare);
    Ok(())
}

async fn latency(scratch: &Path) -> Outcome<()> {
    let (notifier, _) = notifier(&scratch.join("latency"))?;
    single_caller_median(&notifier, "warm-up", 200).await?;
    let one = single_caller_median(&notifier, "single", 1_000).await?;
    let append = floor::append_median(scratch, 1_000)?;
    println!("one caller, median: {one:.0?}; append 4 KiB and flush, median: {append:.0?}");
    let ratio = one.as_secs_f64() / append.as_secs_f64();
    println!("ratio: {ratio:.2} (wanted: at most 3.00)");
    Ok(())
}

async fn many_jobs(scratch: &Path, jobs: u64) -> Outcome<()> {
    let (empty, full) = (scratch.join("empty"), scratch.join("full"));
    fill(&full, jobs).await?;
    let (_, before) = start(&empty)?;
    let (took, after) = start(&full)?;
    let grown = after.saturating_sub(before);
    println!("{jobs} finished jobs: started in {took:.2} s (wanted: less than 3)");
    #[expect(clippy::cast_precision_loss, reason = "a ratio for a person")]
    let each = grown as f64 / jobs as f64;
    println!(
        "resident: {after} bytes, {before} without them: {each:.0} bytes each (wanted: less than 200)"
    );
    Ok(())
}

/// Writes finished jobs straight into a store.
async fn fill(dir: &Path, jobs: u64) -> Outcome<()> {
    let store = SqliteStore::open(dir, SqliteOptions::default())?;
    let now = Timestamp::from_millis(u64::try_from(
        std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis(),
    )?);
    let mut nth = 0;
    while nth < jobs {
        let mut batch = Batch::default();
        while nth < jobs && batch.operations.len() < 2_000 {
            nth += 1;
            for event in [JobEvent::queued(), JobEvent::completed(result())] {
                let append = append(nth, event)?;
                batch.operations.push(Operation::Append(append));
            }
        }
        store.write(now, Arc::new(batch)).await?;
    }
    Ok(())
}

fn append(nth: u64, event: JobEvent) -> Outcome<Append> {
    let random = u128::from(nth).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Ok(Append {
        job: JobId::parse(&format!("job-{nth}"))?,
        draft: event.draft(1_712_534_400, EventLimits::default())?,
        idempotency: None,
        webhook: None,
        has_global_secret: true,
        progress_min_interval: std::time::Duration::ZERO,
        fresh: FreshIds {
            epoch: Epoch::from_random(random),
            endpoint: EndpointId::from_random(random),
        },
    })
}

/// Starts the program on `dir`: how long it takes until it listens, in seconds,
/// and the bytes it then has resident.
fn start(dir: &Path) -> Outcome<(f64, u64)> {
    let own = std::env::current_exe()?;
    let program = own.parent().ok_or("no folder")?.join("notify");
    let began = Instant::now();
    let child = Command::new(program)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .env("NOTIFY_API_KEY", "operator-key-0123456789")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut child = Ends(child);
    let stderr = child.0.stderr.take().ok_or("no pipe")?;
    for line in BufReader::new(stderr).lines() {
        if line?.starts_with("listening on") {
            break;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = resident
        .and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or("no VmRSS")?;
    Ok((took, kibibytes * 1024))
}

/// A child that ends with its holder.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
