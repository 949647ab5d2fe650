//! The integration tests: one binary over all crates, one module a subject.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod baseline;
mod crash;
mod existing_service;
mod hostile_json;
mod http;
mod hub;
mod interop;
mod server;
mod sim;
mod sqlite;
mod store;
mod stream;
mod tidy;
mod verify;
