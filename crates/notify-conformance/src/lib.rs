//! What every store must do, as cases that any store can be put through.
//!
//! It names no store: whoever brings one, in this repository or outside it,
//! depends on this crate for tests, says with a [`StoreFactory`] how stores of
//! that kind are made, and writes one line, [`store_suite!`].
//!
//! **Cast.** A [`StoreFactory`] makes stores of one kind; a *case* is a function
//! over a factory that states one fact about every store, and is named by it; a
//! `Rig` holds one store, the time and a supply of ids; a *history* is a long
//! random run whose every outcome is compared with the same run on a [`model`].
//!
//! **Flow.** The line makes one test of each case, so that a report names the
//! fact that fails. What survives a restart is asked only of stores that promise
//! it: they implement [`DurableFactory`] and say `durable`. Each case is also put
//! to the store behind a [`RepeatingStore`], which loses every answer once.
//!
//! **Not asked.** What the port leaves open: which of several endpoints is served
//! first, which of several deliveries that are due at the same time, when an
//! endpoint is forgotten that nobody names, and the text of a cursor.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a case that cannot go on has failed, and its name says what it states"
)]

use std::future::Future;

mod ask;
mod draw;
mod factory;
mod flaky_store;
mod ids;
mod model_store;
mod repeating_store;
mod rig;
mod snapshot;
mod store_reads;
mod suite;

pub mod cases;
pub mod model;

pub use ask::Ask;
pub use draw::Draw;
pub use factory::{AskedTwice, Bounds, DurableFactory, Restart, StoreFactory};
pub use flaky_store::FlakyStore;
pub use model_store::ModelStore;
pub use repeating_store::RepeatingStore;

/// Runs one case to its end, for [`store_suite!`].
#[doc(hidden)]
pub fn run(case: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(case);
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
