//! Every store of the workspace, put through the suite.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use notify_hub::{MemoryLimits, MemoryStore};
use notify_sqlite::{SqliteOptions, SqliteStore};
use notify_tests::store_suite;
use notify_tests::store_suite::{Bounds, DurableFactory, Restart, StoreFactory};
use tempfile::TempDir;

store_suite!(memory, Memory);
store_suite!(sqlite, Sqlite::default(), durable);

struct Memory;

impl StoreFactory for Memory {
    type Store = MemoryStore;

    async fn fresh(&self, bounds: Bounds) -> MemoryStore {
        MemoryStore::new(MemoryLimits {
            pending_deliveries_max: bounds.pending_deliveries_max,
            progress_events_max: bounds.progress_events_max,
            ..MemoryLimits::default()
        })
    }
}

#[derive(Default)]
struct Sqlite {
    /// The directory of the store that was opened last.
    last: Mutex<Option<(TempDir, SqliteOptions)>>,
}

impl Sqlite {
    fn open(&self, dir: TempDir, options: SqliteOptions) -> SqliteStore {
        let store = SqliteStore::open(dir.path(), options).unwrap();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((dir, options));
        store
    }
}

impl StoreFactory for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self, bounds: Bounds) -> SqliteStore {
        let options = SqliteOptions {
            pending_deliveries_max: bounds.pending_deliveries_max,
            progress_events_max: bounds.progress_events_max,
            min_free_bytes: 0,
            ..SqliteOptions::default()
        };
        self.open(TempDir::new().unwrap(), options)
    }
}

impl DurableFactory for Sqlite {
    /// The store of a crash is opened from a copy of the files as they were while
    /// it was running. The database is copied before its log, so that a checkpoint
    /// in between takes nothing away: what it wrote to the one is still in the
    /// other.
    async fn restart(&self, store: SqliteStore, how: Restart) -> SqliteStore {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (dir, options) = last.unwrap();
        let dir = match how {
            Restart::Orderly => dir,
            Restart::Crash => {
                let copy = TempDir::new().unwrap();
                for file in ["notify.db", "notify.db-wal"] {
                    copy_if_there(&dir.path().join(file), &copy.path().join(file));
                }
                copy
            }
        };
        drop(store);
        self.open(dir, options)
    }
}

fn copy_if_there(from: &Path, to: &Path) {
    if from.exists() {
        fs::copy(from, to).unwrap();
    }
}

/// A case that nobody runs is worse than none.
#[test]
fn the_suite_runs_every_case_that_is_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store_suite");
    let listed = fs::read_to_string(format!("{folder}.rs")).unwrap();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    let mut cases = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for case in source.split("\npub async fn ").skip(1) {
            let name = case.split('(').next().unwrap();
            assert_eq!(
                listed.iter().filter(|word| **word == name).count(),
                1,
                "{name}"
            );
            cases += 1;
        }
    }
    assert!(cases > 100, "{cases}");
}
