//! What it costs to deliver a webhook: `cargo xtask bench delivery`.
//!
//! A bare loop around the HTTP client, the product in memory and the product
//! durable take turns, each in a process of its own, at one sink in another. With
//! `--before PROGRAM` the same program of an earlier build takes its turns too.

#![expect(clippy::print_stdout, reason = "it reports to a person")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::{Parser, Subcommand};
use notify_bench::delivery::report::{Contestant, Report};
use notify_bench::delivery::sender::{self, SendOptions};
use notify_bench::delivery::{Kind, Measured, Outcome, sink};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

#[derive(Parser)]
#[command(about = "What it costs to deliver a webhook, against the bare HTTP client")]
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
    Sink,
    /// Send, and print what was measured as JSON
    #[command(hide = true)]
    Send(SendOptions),
}

#[derive(clap::Args)]
struct Options {
    /// This program of an earlier build, to be compared with
    #[arg(long, value_name = "PROGRAM")]
    before: Option<PathBuf>,
    /// How many turns each takes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a sender sends before it measures, in ms: longer than the retention
    /// of 5 s, so that what it measures includes forgetting
    #[arg(long, default_value_t = 7_000)]
    warm_up_ms: u64,
    /// How long a sender measures, in ms
    #[arg(long, default_value_t = 6_000)]
    measure_ms: u64,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/delivery.json"))]
    json: PathBuf,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(Part::Sink) => sink::run().await,
        Some(Part::Send(options)) => {
            println!("{}", serde_json::to_string(&sender::run(&options).await?)?);
            Ok(())
        }
        None => compare(&cli.options).await,
    }
}

async fn compare(options: &Options) -> Outcome<()> {
    let folder = options.json.parent().ok_or("no folder for the figures")?;
    std::fs::create_dir_all(folder)?;
    let own = std::env::current_exe()?;
    let (turns, mut report) = contestants(&own, options.before.as_deref());
    let sink = Sink::start(&own).await?;
    for round in 0..options.rounds {
        for position in 0..turns.len() {
            // Nobody is always the one who comes after the same other.
            let position = (position + usize::try_from(round)?) % turns.len();
            let Some((program, kind)) = turns.get(position) else {
                continue;
            };
            let dir = tempfile::tempdir_in(folder)?;
            let measured = turn(program, *kind, sink.address, dir.path(), options).await?;
            let came = sink.count().await?;
            if came != measured.delivered_in_all {
                let sent = measured.delivered_in_all;
                return Err(format!("the sink got {came} webhooks, not {sent}").into());
            }
            report.add(position, measured);
        }
        println!("round {} of {}", round + 1, options.rounds);
    }
    println!("{report}");
    std::fs::write(&options.json, format!("{:#}\n", report.json()))?;
    println!("{}", options.json.canonicalize()?.display());
    Ok(())
}

/// Who takes turns: the floor, then the product, each followed by its like from
/// before, so that both find the machine as busy.
fn contestants(own: &Path, before: Option<&Path>) -> (Vec<(PathBuf, Kind)>, Report) {
    let mut turns = vec![(own.to_owned(), Kind::Bare)];
    let mut contestants = vec![Contestant::new(Kind::Bare.as_str())];
    for kind in [Kind::Memory, Kind::Durable] {
        let mut now = Contestant::new(kind.as_str());
        turns.push((own.to_owned(), kind));
        now.earlier = before.map(|_| turns.len());
        contestants.push(now);
        if let Some(before) = before {
            turns.push((before.to_owned(), kind));
            contestants.push(Contestant::new(format!("{}, before", kind.as_str())));
        }
    }
    (turns, Report::new(contestants))
}

async fn turn(
    program: &Path,
    kind: Kind,
    to: SocketAddr,
    dir: &Path,
    options: &Options,
) -> Outcome<Measured> {
    let output = Command::new(program)
        .args(["send", kind.as_str(), "--to", &to.to_string()])
        .args(["--warm-up-ms", &options.warm_up_ms.to_string()])
        .args(["--measure-ms", &options.measure_ms.to_string()])
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("{}: {}", kind.as_str(), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The sink's process. It ends with the pipe to it.
struct Sink {
    address: SocketAddr,
    _child: Child,
}

impl Sink {
    async fn start(own: &Path) -> Outcome<Self> {
        let mut child = Command::new(own)
            .arg("sink")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            address: line.trim().parse()?,
            _child: child,
        })
    }

    /// How many webhooks have come since it was last asked.
    async fn count(&self) -> Outcome<u64> {
        let mut stream = TcpStream::connect(self.address).await?;
        let path = sink::COUNT;
        let request = format!("GET {path} HTTP/1.1\r\nhost: sink\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, count) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok(count.parse()?)
    }
}
