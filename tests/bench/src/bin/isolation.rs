//! Whether one customer's trouble touches another: `cargo xtask bench isolation`.
//!
//! At 400 endpoints events come at 60 % of the rate that can be delivered at most. In
//! every other run 100 of them begin to hang, 20 to answer 500, and 20 lose their
//! names; what the other 260 see is compared with the run before, in which all stay
//! well.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::process::Stdio;
use std::time::Duration;

use clap::{Parser, Subcommand};
use notify_bench::isolation::load::{self, Place, Seen, Times};
use notify_bench::isolation::{Outcome, receivers};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

#[derive(Parser)]
#[command(about = "Whether one customer's trouble touches another")]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Part {
    /// Receive
    #[command(hide = true)]
    Receive,
}

#[derive(clap::Args)]
struct Options {
    /// How many pairs of runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long all are well at first, in ms
    #[arg(long, default_value_t = 3_000)]
    warm_up_ms: u64,
    /// How long a run measures, in ms: longer than a request's deadline of 10 s
    #[arg(long, default_value_t = 15_000)]
    measure_ms: u64,
    /// The share of the highest rate at which events come, in percent
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// Keep events in a data directory, not in memory
    #[arg(long)]
    durable: bool,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(Part::Receive) => receivers::run().await,
        None => compare(&cli.options).await,
    }
}

async fn compare(options: &Options) -> Outcome<()> {
    let receivers = Receivers::start().await?;
    let times = Times {
        warm_up: Duration::from_millis(options.warm_up_ms),
        measure: Duration::from_millis(options.measure_ms),
    };
    let short = Times {
        measure: times.measure / 3,
        ..times
    };
    let most = in_place(options, &receivers, async |place| {
        load::most(place, short).await
    })
    .await?;
    let per_second = most * f64::from(options.percent) / 100.0;
    println!("at most {most:.0} webhooks/s, so events come at {per_second:.0}/s");
    let mut pairs = Vec::new();
    for round in 1..=options.rounds {
        let mut pair = Vec::new();
        for has_trouble in [false, true] {
            receivers.tell(receivers::WELL).await?;
            let seen = in_place(options, &receivers, async |place| {
                let fall = || receivers.tell(receivers::TROUBLE);
                load::seen(place, times, per_second, has_trouble, fall).await
            });
            pair.push(seen.await?);
        }
        if let [well, trouble] = pair[..] {
            println!("round {round}: {}", told(well, trouble));
            pairs.push((well, trouble));
        }
    }
    let median = |of: &dyn Fn(&(Seen, Seen)) -> f64| {
        let mut all: Vec<f64> = pairs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!(
        "medians: p99 lag {:.2} × ({:+.2} ms), webhooks/s {:.3} ×",
        median(&|(well, trouble)| trouble.p99_ms / well.p99_ms),
        median(&|(well, trouble)| trouble.p99_ms - well.p99_ms),
        median(&|(well, trouble)| trouble.per_second / well.per_second),
    );
    Ok(())
}

fn told(well: Seen, trouble: Seen) -> String {
    format!(
        "p50 {:.2} → {:.2} ms, p99 {:.2} → {:.2} ms, {:.0} → {:.0} webhooks/s",
        well.p50_ms,
        trouble.p50_ms,
        well.p99_ms,
        trouble.p99_ms,
        well.per_second,
        trouble.per_second
    )
}

/// With a directory of its own, if things are to be kept.
async fn in_place<T>(
    options: &Options,
    receivers: &Receivers,
    run: impl AsyncFnOnce(Place<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target");
    let dir = match options.durable {
        true => Some(tempfile::tempdir_in(folder)?),
        false => None,
    };
    run(Place {
        port: receivers.port,
        dir: dir.as_ref().map(|dir| dir.path()),
    })
    .await
}

/// The receivers' process. It ends with the pipe to it.
struct Receivers {
    port: u16,
    _child: Child,
}

impl Receivers {
    async fn start() -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("receive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            port: line.trim().parse()?,
            _child: child,
        })
    }

    async fn tell(&self, path: &str) -> Outcome<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }
}
