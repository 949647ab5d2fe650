//! The memory store, put through the suite, and the suite put to the test.

use notify_conformance::{Bounds, RepeatingStore, StoreFactory, cases, store_suite};
use notify_core::Timestamp;
use notify_hub::{MemoryLimits, MemoryStore};

store_suite!(memory, Memory);

struct Memory;

impl StoreFactory for Memory {
    type Store = MemoryStore;
    type Model = MemoryStore;

    async fn fresh(&self, bounds: Bounds) -> MemoryStore {
        MemoryStore::new(limits(bounds))
    }

    fn model(&self, bounds: Bounds) -> MemoryStore {
        memory_model(bounds)
    }

    fn resume(&self, model: &MemoryStore, now: Timestamp) {
        model.resume(now);
    }
}

/// What random histories of any store are compared with.
pub(crate) fn memory_model(bounds: Bounds) -> MemoryStore {
    MemoryStore::new(MemoryLimits {
        dead_letters_max: usize::MAX,
        ..limits(bounds)
    })
}

fn limits(bounds: Bounds) -> MemoryLimits {
    MemoryLimits {
        pending_deliveries_max: bounds.pending_deliveries_max,
        progress_events_max: bounds.progress_events_max,
        ..MemoryLimits::default()
    }
}

/// Nobody gives its events keys, so that a repetition is an event of its own.
struct WithoutKeys;

impl StoreFactory for WithoutKeys {
    type Store = RepeatingStore<MemoryStore>;
    type Model = MemoryStore;

    async fn fresh(&self, bounds: Bounds) -> Self::Store {
        RepeatingStore::without_keys(MemoryStore::new(limits(bounds)))
    }

    fn model(&self, bounds: Bounds) -> MemoryStore {
        memory_model(bounds)
    }

    fn resume(&self, model: &MemoryStore, now: Timestamp) {
        model.resume(now);
    }
}

#[tokio::test]
#[should_panic = "it accepts twice"]
async fn a_repetition_with_an_effect_is_noticed() {
    cases::accepting::an_accepted_event_reads_back_as_it_is(&WithoutKeys).await;
}
