//! The SQLite store, put through the suite. A crash is a copy of its files while
//! it has them open: nothing that closing does has been done.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use notify_conformance::{Bounds, DurableFactory, Restart, StoreFactory, store_suite};
use notify_sqlite::{SqliteOptions, SqliteStore, check};
use tempfile::TempDir;

/// Data directories that go with the test.
struct Sqlite {
    root: TempDir,
    made: AtomicU32,
}

impl Sqlite {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            made: AtomicU32::new(0),
        }
    }

    fn new_dir(&self) -> PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.root.path().join(number.to_string())
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
        SqliteStore::open(self.new_dir(), options).unwrap()
    }
}

impl DurableFactory for Sqlite {
    async fn restart(&self, store: SqliteStore, how: Restart) -> SqliteStore {
        let (options, closed) = (store.options(), store.dir().to_owned());
        let dir = match how {
            Restart::Orderly => {
                drop(store);
                closed
            }
            Restart::Crash => {
                let dir = self.new_dir();
                copy(&closed, &dir);
                drop(store);
                dir
            }
        };
        // Whatever the suite does to a store, a scan finds nothing wrong.
        let report = check(&dir).unwrap();
        assert!(report.is_sound(), "{report:?}");
        SqliteStore::open(dir, options).unwrap()
    }
}

store_suite!(suite, Sqlite::new(), durable);

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in ["notify.db", "notify.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
