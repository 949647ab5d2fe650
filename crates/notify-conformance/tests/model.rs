//! The model is held to the facts as well, from outside, as any store is.

use notify_conformance::{Bounds, DurableFactory, ModelStore, Restart, StoreFactory, store_suite};

store_suite!(model, Model, durable);

struct Model;

impl StoreFactory for Model {
    type Store = ModelStore;

    async fn fresh(&self, bounds: Bounds) -> ModelStore {
        ModelStore::new(bounds)
    }
}

impl DurableFactory for Model {
    async fn restart(&self, store: ModelStore, _: Restart) -> ModelStore {
        store.reopen();
        store
    }
}
