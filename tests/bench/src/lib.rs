//! Measurements of the crates, printed as ratios.
//!
//! - [`race`]: several ways to do one thing, side by side;
//! - [`message`]: a signed webhook to do it with.
//!
//! Each measurement is a program of its own in `src/bin`; `cargo xtask bench`
//! builds it as a release is built and runs it.

pub mod message;
pub mod race;
pub mod store;
