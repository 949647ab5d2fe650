//! What the suite asks of whoever brings a store: how stores of that kind are
//! made, ended and opened again.

use std::future::Future;

use notify_core::Store;

use crate::repeating_store::RepeatingStore;

/// Makes stores of one kind.
pub trait StoreFactory {
    /// The kind.
    type Store: Store;

    /// A new and empty store that no other call returns.
    fn fresh(&self, bounds: Bounds) -> impl Future<Output = Self::Store> + Send;
}

/// Makes stores that outlive their process.
pub trait DurableFactory: StoreFactory {
    /// Ends the store in this way and opens what it kept.
    fn restart(&self, store: Self::Store, how: Restart)
    -> impl Future<Output = Self::Store> + Send;
}

/// The same stores, asked everything twice, as by callers whose first answer got
/// lost: every case must hold all the same.
pub struct AskedTwice<F>(pub F);

impl<F: StoreFactory + Sync> StoreFactory for AskedTwice<F> {
    type Store = RepeatingStore<F::Store>;

    async fn fresh(&self, bounds: Bounds) -> Self::Store {
        RepeatingStore::new(self.0.fresh(bounds).await)
    }
}

impl<F: DurableFactory + Sync> DurableFactory for AskedTwice<F> {
    async fn restart(&self, store: Self::Store, how: Restart) -> Self::Store {
        RepeatingStore::new(self.0.restart(store.into_inner(), how).await)
    }
}

/// How a store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It is closed.
    Orderly,
    /// It is abandoned: nothing that closing does may be done.
    Crash,
}

impl Restart {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Orderly, Self::Crash];
}

/// Bounds of a store that cases depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Deliveries that are not settled; beyond it appends are refused. A store
    /// may refuse up to two deliveries before it.
    pub pending_deliveries_max: usize,
    /// Progress events kept of a running job.
    pub progress_events_max: usize,
}

impl Default for Bounds {
    /// Few progress events, so that a short case sees the oldest leave.
    fn default() -> Self {
        Self {
            pending_deliveries_max: 100_000,
            progress_events_max: 4,
        }
    }
}
