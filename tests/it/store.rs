//! The memory store, put through the suite, and a look at the suite itself.

use std::fs;

use notify_hub::{MemoryLimits, MemoryStore};
use notify_tests::store_suite;
use notify_tests::store_suite::{Bounds, StoreFactory};

store_suite!(memory, Memory);

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
