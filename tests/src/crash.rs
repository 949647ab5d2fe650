//! The crash rig: proof that accepted means durable.
//!
//! **Cast.** The real program `notify` on real files ([`server`]); producers that
//! keep a [`Ledger`] of every event that was acknowledged ([`load`]); a receiver
//! that remembers every webhook; and ways to break things: `kill -9`, a kill or an
//! I/O error at the Nth system call ([`syscalls`]) or at a commit of one kind
//! ([`quiet`]), a power cut ([`power`]), a full disk ([`full`]), too few descriptors
//! ([`descriptors`]), a wrong clock ([`clock`]); and others at the same files: who
//! read and lock them ([`foreign`], [`holders`], [`readers`]), or copy them while
//! they are written ([`backup`]).
//!
//! **Check.** After each break the program is started again and every
//! acknowledged event must be in its job's log, in order, without a gap or a
//! second use of a sequence; in the end every one must have reached the receiver.
//! Duplicates are allowed and counted.
//!
//! A rig that can't see a loss proves nothing, so the power cut has a control: the
//! same with a store that does not wait for the disk must lose something.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    reason = "a rig that can't do its part has failed, and it reports to a person"
)]

pub mod backup;
pub mod clock;
pub mod closing;
pub mod descriptors;
pub mod foreign;
pub mod full;
pub mod holders;
pub mod kills;
pub mod load;
pub mod power;
pub mod quiet;
pub mod readers;
pub mod server;
pub mod syscalls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use notify_core::{EventId, JobStatus};
use notify_hub::JobNotifier;

/// Every acknowledged event, by job.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    jobs: BTreeMap<String, Vec<Acknowledged>>,
}

/// An event whose acceptance was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// Its id.
    pub id: EventId,
    /// Its status.
    pub status: JobStatus,
}

impl Ledger {
    /// Notes an acknowledged event.
    ///
    /// # Panics
    /// If a sequence was acknowledged twice.
    pub fn note(&mut self, job: &str, id: EventId, status: JobStatus) {
        let events = self.jobs.entry(job.to_owned()).or_default();
        let doubled = events.iter().any(|event| event.id == id);
        assert!(!doubled, "{job}: {id} was acknowledged twice");
        events.push(Acknowledged { id, status });
    }

    /// Takes over what another noted of other jobs.
    pub fn absorb(&mut self, other: Self) {
        self.jobs.extend(other.jobs);
    }

    /// How many events were acknowledged.
    pub fn len(&self) -> usize {
        self.jobs.values().map(Vec::len).sum()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs, each with its acknowledged events.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &[Acknowledged])> {
        self.jobs
            .iter()
            .map(|(job, events)| (job.as_str(), events.as_slice()))
    }

    /// Opens what a crash has left and counts what is missing of it.
    ///
    /// # Panics
    /// If the store can't be opened, or a log breaks a rule.
    pub async fn count_lost(&self, dir: &Path) -> usize {
        let notifier = JobNotifier::open(dir, notify_hub::NotifierConfig::default())
            .unwrap_or_else(|error| panic!("{error}: {}", chain(&error)));
        let store = notifier.archive().expect("the settings are fine");
        let mut lost = 0;
        for (job, acknowledged) in self.jobs() {
            let id = job.parse().unwrap();
            let page = store
                .read(&id, 0, usize::MAX)
                .await
                .expect("it can be read");
            let Some(page) = page else {
                lost += acknowledged.len();
                continue;
            };
            check_log(job, &page);
            let kept = |event: &&Acknowledged| {
                let same_log = event.id.epoch() == page.head.epoch;
                same_log && event.id.sequence() <= page.head.sequence
            };
            lost += acknowledged.len() - acknowledged.iter().filter(kept).count();
            for event in acknowledged.iter().filter(kept) {
                let found = page.events.iter().find(|record| record.id() == event.id);
                let same = found.is_none_or(|record| record.status() == event.status);
                assert!(same, "{job}: {} is another event", event.id);
                // Only progress may be let go of.
                let may_go = event.status == JobStatus::Processing;
                lost += usize::from(found.is_none() && !may_go);
            }
        }
        notifier.shutdown(std::time::Duration::from_secs(5)).await;
        lost
    }
}

/// I3 and I4: sequences rise from 1, without a gap but where progress was let go
/// of, and nothing follows a terminal event.
fn check_log(job: &str, page: &notify_core::store::Page) {
    let sequences: Vec<u64> = page.events.iter().map(|record| record.sequence()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{job}: {sequences:?}");
    let whole = page.events.windows(2).all(|pair| {
        // What is progress follows `processing`.
        pair[0].status() == JobStatus::Processing || pair[0].sequence() + 1 == pair[1].sequence()
    });
    let begins = sequences.first().is_none_or(|first| *first == 1);
    assert!(whole && begins, "{job}: {sequences:?}");
    assert_eq!(
        sequences.last().copied().unwrap_or(0),
        page.head.sequence,
        "{job}"
    );
    let terminal = page
        .events
        .iter()
        .position(|record| record.status().is_terminal());
    assert!(
        terminal.is_none_or(|position| position + 1 == sequences.len()),
        "{job}"
    );
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// A folder of its own below `target`'s temporary one; removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn new(name: &str) -> Self {
        let unique = format!("notify-{name}-{}-{:x}", std::process::id(), random());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A number that differs from call to call.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Prints one line of the report at once.
pub fn report(line: impl std::fmt::Display) {
    println!("{line}");
}
