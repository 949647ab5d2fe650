//! A wall clock that is wrong before a restart, at it, or for a while after it.
//!
//! `libfaketime` shows the program another wall clock and leaves the monotonic
//! one alone, as a machine does whose time was set wrongly and then mended. Once
//! the clock is right, no retry may stall; and nothing young is forgotten.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a rig that can't do its part has failed"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify_core::JobStatus;
use tokio::task::JoinSet;

use super::closing::{duplicates, undelivered};
use super::server::{Server, command};
use super::{Ledger, Scratch, report};
use crate::receiver::Receiver;

/// Each retry is due after this.
const RETRIES: (&str, &str) = (
    "NOTIFY_RETRY_SCHEDULE",
    r#"["1s","1s","1s","1s","1s","1s","1s","1s"]"#,
);

/// How long an answer may take to be written down.
const WRITTEN_WITHIN: Duration = Duration::from_millis(300);

/// What it answers meanwhile: it lives, so that no breaker opens.
const REFUSED: u16 = 404;

/// How long the clock is wrong.
const WRONG_FOR: Duration = Duration::from_millis(1_500);

/// How long after the clock is right again a retry that is due after 1 s must
/// have been made.
const RETRIED_WITHIN: Duration = Duration::from_secs(8);

/// When a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While events come in, and right from the restart on.
    Before,
    /// At the restart, and for a while on.
    AtStart,
    /// For a while, some time after the restart.
    After,
}

/// By how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A day ahead.
    DayAhead,
    /// Forty days ahead: longer than anything is kept.
    FortyDaysAhead,
    /// Three days behind.
    ThreeDaysBehind,
    /// As on a machine without a battery.
    In1970,
}

/// Every way that this module knows.
pub const EVERY_WRONG: [Wrong; 4] = [
    Wrong::DayAhead,
    Wrong::FortyDaysAhead,
    Wrong::ThreeDaysBehind,
    Wrong::In1970,
];

/// Every time that this module knows.
pub const EVERY_WHEN: [When; 3] = [When::Before, When::AtStart, When::After];

/// What one wrong clock came to.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// By how much it was wrong.
    pub wrong: Wrong,
    /// When it was.
    pub when: When,
    /// Events that were acknowledged.
    pub acknowledged: usize,
    /// Of those, how many had not been delivered in time after the clock was right.
    pub stalled: usize,
    /// How many deliveries were given up.
    pub given_up: usize,
    /// After how long all had been delivered.
    pub delivered_after: Duration,
    /// Young jobs that the API no longer knows.
    pub forgotten: usize,
    /// Acknowledged events that are gone after the end.
    pub lost: usize,
    /// Webhooks that came again though they had been taken.
    pub duplicates: usize,
}

impl Clock {
    /// Whether it stalled and cost nothing.
    pub fn is_sound(&self) -> bool {
        (self.stalled, self.forgotten, self.lost) == (0, 0, 0)
    }
}

/// Where `libfaketime` is.
pub fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let below = folders.filter_map(|folder| Some(folder.ok()?.path()));
    let known = below.map(|folder| folder.join("faketime/libfaketime.so.1"));
    known.into_iter().find(|file| file.is_file())
}

/// Tries each clock at each time, all at once, since they mostly wait.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(wrongs: &[Wrong], whens: &[When]) -> Vec<Clock> {
    let library = library().expect("libfaketime is installed");
    let mut running = JoinSet::new();
    for wrong in wrongs {
        for when in whens {
            running.spawn(one(library.clone(), *wrong, *when));
        }
    }
    let clocks = running.join_all().await;
    for clock in &clocks {
        report(format_args!(
            "clock {:?} {:?}: {} events acknowledged, {} stalled, {} given up, delivered {:.1} s after it was \
             right, {} young jobs forgotten, {} lost, {} duplicates",
            clock.wrong,
            clock.when,
            clock.acknowledged,
            clock.stalled,
            clock.given_up,
            clock.delivered_after.as_secs_f64(),
            clock.forgotten,
            clock.lost,
            clock.duplicates,
        ));
    }
    clocks
}

async fn one(library: PathBuf, wrong: Wrong, when: When) -> Clock {
    let scratch = Scratch::new("clock");
    let data = scratch.path().join("data");
    let time = Time::new(&library, scratch.path());
    let refuses = Arc::new(AtomicBool::new(false));
    let refusing = Arc::clone(&refuses);
    let answer = move |_, _: &_| {
        if refusing.load(Ordering::Relaxed) {
            REFUSED
        } else {
            204
        }
    };
    let receiver = Receiver::answering(answer)
        .await
        .expect("a receiver on loopback");
    let mut producer = Producer {
        ledger: Ledger::default(),
        url: receiver.url(),
    };

    // One job ends; another's webhook fails, with an event behind it.
    time.say(if when == When::Before {
        wrong.offset()
    } else {
        RIGHT.into()
    });
    let server = Server::spawn(time.shown_to(command(&data, &[RETRIES]))).await;
    producer
        .accept(&server, "ended", JobStatus::Completed)
        .await;
    receiver.wait_for(1).await;
    refuses.store(true, Ordering::Relaxed);
    producer.accept(&server, "lane", JobStatus::Queued).await;
    producer.accept(&server, "lane", JobStatus::Completed).await;
    receiver.wait_for(2).await;
    // The failure is written down by then, so that the kill can't take it.
    tokio::time::sleep(WRITTEN_WITHIN).await;
    server.kill().await;

    time.say(if when == When::AtStart {
        wrong.offset()
    } else {
        RIGHT.into()
    });
    let server = Server::spawn(time.shown_to(command(&data, &[RETRIES]))).await;
    if when == When::After {
        time.say(wrong.offset());
    }
    if when != When::Before {
        time.settle().await;
        producer
            .accept(&server, "meanwhile", JobStatus::Completed)
            .await;
        tokio::time::sleep(WRONG_FOR).await;
        time.say(RIGHT.into());
        time.settle().await;
    }
    refuses.store(false, Ordering::Relaxed);
    let right = Instant::now();
    producer
        .accept(&server, "afterwards", JobStatus::Completed)
        .await;
    let stalled = undelivered(&receiver, &producer.ledger, RETRIED_WITHIN).await;
    let delivered_after = right.elapsed();
    // What a trim would take, it takes within seconds.
    tokio::time::sleep(TRIMMED_WITHIN.saturating_sub(right.elapsed())).await;
    let mut forgotten = 0;
    for (job, _) in producer.ledger.jobs() {
        let known = server.get(&format!("/v1/jobs/{job}")).await.status == 200;
        forgotten += usize::from(!known);
    }
    let ended = server.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ended
        .stderr
        .lines()
        .filter(|line| line.contains("given up"))
    {
        report(format_args!("clock {wrong:?} {when:?}: {line}"));
    }
    Clock {
        wrong,
        when,
        acknowledged: producer.ledger.len(),
        stalled,
        given_up: ended.stderr.matches("a delivery was given up").count(),
        delivered_after,
        forgotten,
        lost: producer.ledger.count_lost(&data).await,
        duplicates: duplicates(&receiver),
    }
}

/// How long after the clock is right a trim has surely been.
const TRIMMED_WITHIN: Duration = Duration::from_secs(4);

/// One who has events accepted and keeps account.
struct Producer {
    ledger: Ledger,
    url: String,
}

impl Producer {
    async fn accept(&mut self, server: &Server, job: &str, status: JobStatus) {
        let path = format!("/v1/jobs/{job}/events?webhook_url={}", self.url);
        let answer = server
            .post(&path, &format!(r#"{{"status":"{status}"}}"#))
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        self.ledger
            .note(job, answer.text("/id").parse().unwrap(), status);
    }
}

const RIGHT: &str = "+0";

impl Wrong {
    /// As `libfaketime` reads it.
    fn offset(self) -> String {
        match self {
            Self::DayAhead => "+1d".into(),
            Self::FortyDaysAhead => "+40d".into(),
            Self::ThreeDaysBehind => "-3d".into(),
            Self::In1970 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                format!("-{}", now.as_secs() - 3_600)
            }
        }
    }
}

/// The time that a program is shown.
struct Time {
    library: PathBuf,
    file: PathBuf,
}

impl Time {
    fn new(library: &Path, scratch: &Path) -> Self {
        let file = scratch.join("time");
        Self {
            library: library.to_owned(),
            file,
        }
    }

    /// Shows this time from now on, or a second later.
    fn say(&self, offset: String) {
        // Whole, whenever it is read.
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset + "\n").unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Waits until what was said is shown.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }

    fn shown_to(&self, mut command: tokio::process::Command) -> tokio::process::Command {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            // It has had both names.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        command
    }
}
