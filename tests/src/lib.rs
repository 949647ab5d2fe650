//! What the tests of several crates share: receivers to send to, and so on.

pub mod clock;
pub mod crash;
pub mod flaky_store;
pub mod hooked_store;
pub mod hostile_json;
pub mod http_client;
pub mod program;
pub mod raw_server;
pub mod receiver;
pub mod repeating_store;
pub mod sim;
pub mod sse_client;
mod store_reads;
pub mod store_suite;
pub mod tls;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
