//! Measurements of the crates, printed as ratios.
//!
//! - [`ratios`]: what criterion measured, against a floor;
//! - [`serving`]: a receiver's connections;
//! - [`message`]: a signed webhook to verify;
//! - [`store`]: what it costs to keep events;
//! - [`delivery`]: what it costs to deliver a webhook;
//! - [`isolation`]: whether one customer's trouble touches another.
//!
//! What is done in microseconds is measured by criterion, in `benches`; what
//! takes a whole run is a program of its own in `src/bin`. `cargo xtask bench`
//! builds either as a release is built and runs it.

pub mod delivery;
pub mod isolation;
pub mod message;
pub mod ratios;
pub mod serving;
pub mod store;
