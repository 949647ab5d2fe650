//! One sender, in a process of its own: it warms up, measures itself for a while,
//! and says what it found.

mod bare;
mod product;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::time::{ClockId, clock_gettime};

use super::{Kind, Measured, Outcome};

/// What a sender is told.
#[derive(Args, Clone, Debug)]
pub struct SendOptions {
    /// Whose cost is measured
    pub kind: Kind,
    /// Where the sink listens
    #[arg(long)]
    pub to: SocketAddr,
    /// A directory for what is durable
    #[arg(long)]
    pub dir: PathBuf,
    /// How long to send before measuring, in ms
    #[arg(long)]
    pub warm_up_ms: u64,
    /// How long to measure, in ms
    #[arg(long)]
    pub measure_ms: u64,
}

/// Sends as it is told and says what that took.
///
/// # Errors
/// If anything but a 204 came back, or an event was refused: the figures would
/// mean nothing.
pub async fn run(options: &SendOptions) -> Outcome<Measured> {
    let sent = match options.kind {
        Kind::Bare => bare::run(options).await,
        Kind::Memory | Kind::Durable => product::run(options).await,
    };
    sent.map_err(|error| format!("{}: {error}", options.kind.as_str()).into())
}

/// The fewest webhooks that are measured.
const DELIVERED_MIN: u64 = 200;

/// For how long that may take beyond the time that was asked for.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// How many webhooks were answered, by 204 and otherwise.
#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn note(&self, is_delivered: bool) {
        let count = if is_delivered {
            &self.delivered
        } else {
            &self.failed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Watches what goes on beside it: first the warm-up, which does not count,
    /// then the measurement.
    async fn measure(&self, options: &SendOptions) -> Outcome<Measured> {
        self.pass(Duration::from_millis(options.warm_up_ms)).await?;
        let (began, cpu, before) = (Instant::now(), cpu_time(), self.delivered());
        self.pass(Duration::from_millis(options.measure_ms)).await?;
        Ok(Measured {
            delivered: self.delivered() - before,
            cpu_s: (cpu_time() - cpu).as_secs_f64(),
            wall_s: began.elapsed().as_secs_f64(),
            delivered_in_all: 0,
            jobs_kept: 0,
        })
    }

    /// Waits so long, and until so many were delivered that it means something on
    /// a machine that is busy.
    async fn pass(&self, span: Duration) -> Outcome<()> {
        let (began, before) = (Instant::now(), self.delivered());
        tokio::time::sleep(span).await;
        loop {
            match self.delivered() - before {
                DELIVERED_MIN.. => return Ok(()),
                few if began.elapsed() > span + STALLED_AFTER => {
                    return Err(format!("only {few} were delivered").into());
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// The measurement with the counts of the whole run, once nothing is under
    /// way any more.
    fn close(&self, measured: Measured) -> Outcome<Measured> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(Measured {
                delivered_in_all: self.delivered(),
                ..measured
            }),
            failed => Err(format!("{failed} webhooks failed").into()),
        }
    }
}

/// What this process has used of the CPU, in user and kernel, all threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
