//! A power cut: what the disk holds at one moment, without what was still on its
//! way there.
//!
//! The writer works on an ext4 that lives in a file. To cut the power, the writer
//! is stopped and the file is copied: the copy has what was flushed, and not what
//! only the kernel's page cache knew. Mounting the copy replays the journal, as a
//! machine does when it comes back.
//!
//! Needs root, for the mounts.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a rig that can't do its part has failed; its writer reports by printing"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify_core::JobStatus;
use notify_core::transport::RecordingTransport;
use notify_hub::{JobEvent, JobNotifier, NotifierConfig};
use notify_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use serde_json::json;

use super::server::signal;
use super::{Ledger, Scratch, random, report};

/// What the cuts came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    /// How often the power was cut.
    pub cuts: usize,
    /// Events that were acknowledged before their cut, summed over the cuts.
    pub acknowledged: usize,
    /// Of those, how many are gone.
    pub lost: usize,
    /// In how many cuts something was.
    pub cuts_with_loss: usize,
}

/// An ext4 in a file, mounted; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl Disk {
    /// Makes one of so many MiB in `dir`. `None` where mounting is not allowed.
    pub fn make(dir: &Path, mebibytes: u32) -> Option<Self> {
        let image = dir.join("disk.img");
        let size = format!("{mebibytes}M");
        let made = runs(Command::new("truncate").args(["-s", &size]).arg(&image))
            && runs(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        made.then(|| Self::mount(&image, &dir.join("disk")))
            .flatten()
    }

    fn mount(image: &Path, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let mounted = runs(Command::new("mount").args(["-o", "loop"]).args([image, at]));
        mounted.then(|| Self {
            image: image.to_owned(),
            mounted_at: at.to_owned(),
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted_at
    }

    /// What a machine finds that comes back after a power cut now.
    fn after_power_cut(&self, dir: &Path, nth: usize) -> Self {
        let image = dir.join(format!("cut-{nth}.img"));
        let sparse = Command::new("cp")
            .arg("--sparse=always")
            .args([&self.image, &image])
            .status();
        assert!(sparse.unwrap().success());
        Self::mount(&image, &dir.join(format!("cut-{nth}"))).expect("the copy mounts")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        runs(Command::new("umount").arg(&self.mounted_at));
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Cuts the power so many times under one writer. `None` where it is not
/// possible.
///
/// `crash` is the program of that name, whose `writer` does the writing.
///
/// # Panics
/// If something could not be set up, or a log breaks a rule.
pub async fn run(crash: &Path, cuts: usize, synchronous: Synchronous) -> Option<Cuts> {
    let scratch = Scratch::new("power");
    // Room for a minute of a writer that nothing holds up.
    let disk = Disk::make(scratch.path(), 640)?;
    let data = disk.path().join("data");
    let writer = Writer::start(crash, &data, synchronous);
    let mut outcome = Cuts::default();
    for nth in 0..cuts {
        let before = writer.acknowledged().len();
        super::server::wait_until("the writer writes", || {
            writer.acknowledged().len() > before + 50
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random() % 150)).await;
        signal(writer.child.id(), "STOP").await;
        let ledger = writer.acknowledged();
        let after = disk.after_power_cut(scratch.path(), nth);
        signal(writer.child.id(), "CONT").await;
        let lost = lost_after_cut(&ledger, &after.path().join("data")).await;
        outcome.cuts += 1;
        outcome.acknowledged += ledger.len();
        outcome.lost += lost;
        outcome.cuts_with_loss += usize::from(lost > 0);
    }
    drop(writer);
    report(format_args!(
        "power cut, synchronous {synchronous:?}: {} cuts, {} events acknowledged, {} lost in {}",
        outcome.cuts, outcome.acknowledged, outcome.lost, outcome.cuts_with_loss
    ));
    Some(outcome)
}

/// A database that never reached the disk has lost everything.
async fn lost_after_cut(ledger: &Ledger, data: &Path) -> usize {
    if !data.join("notify.db").is_file() {
        return ledger.len();
    }
    ledger.count_lost(data).await
}

/// A process that writes as fast as it can and prints what was acknowledged.
struct Writer {
    child: Child,
    ledger: Arc<Mutex<Ledger>>,
}

impl Writer {
    fn start(crash: &Path, data: &Path, synchronous: Synchronous) -> Self {
        let mut command = Command::new(crash);
        command
            .arg("writer")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if synchronous == Synchronous::DangerousNormal {
            command.arg("--dangerous-normal");
        }
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let noting = Arc::clone(&ledger);
        // Ends with the pipe, which is with the child.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let [job, id, status] = line.split(' ').collect::<Vec<_>>()[..] else {
                    return;
                };
                let (id, status) = (id.parse().unwrap(), status.parse().unwrap());
                noting.lock().unwrap().note(job, id, status);
            }
        });
        Self { child, ledger }
    }

    fn acknowledged(&self) -> Ledger {
        self.ledger.lock().unwrap().clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The writer itself: jobs from birth to end, sixteen at a time, for at most a
/// minute.
///
/// # Panics
/// If the store can't be opened.
pub async fn write(data: &Path, synchronous: Synchronous) {
    let options = SqliteOptions {
        synchronous,
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(data, options).unwrap();
    let config = NotifierConfig::default();
    let builder = JobNotifier::builder(config)
        .store(store)
        .transport(RecordingTransport::new());
    let notifier = Arc::new(builder.build().unwrap());
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..16 {
        let notifier = Arc::clone(&notifier);
        producers.spawn(async move {
            for nth in 0.. {
                let job = format!("job-{producer}-{nth}");
                let life = [
                    JobEvent::queued(),
                    JobEvent::processing(50),
                    JobEvent::completed(json!({"filler": "x".repeat(200)})),
                ];
                for event in life {
                    let status: JobStatus = event.status;
                    let id = notifier.notify(&job, event, None).await.unwrap();
                    println!("{job} {id} {status}");
                }
            }
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(60), producers.join_next()).await;
}

fn runs(command: &mut Command) -> bool {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
