//! The memory store, put through the suite, and the suite put to the test.

use notify_conformance::{Bounds, RepeatingStore, StoreFactory, cases, store_suite};
use notify_hub::{MemoryLimits, MemoryStore};

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

/// Nobody gives its events keys, so that a repetition is an event of its own.
struct WithoutKeys;

impl StoreFactory for WithoutKeys {
    type Store = RepeatingStore<MemoryStore>;

    async fn fresh(&self, bounds: Bounds) -> Self::Store {
        RepeatingStore::without_keys(Memory.fresh(bounds).await)
    }
}

#[tokio::test]
#[should_panic = "it does a thing twice"]
async fn a_repetition_with_an_effect_is_noticed() {
    cases::accepting::an_accepted_event_reads_back_as_it_is(&WithoutKeys).await;
}
