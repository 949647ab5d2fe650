//! What the tests of several crates share: receivers to send to, and so on.

pub mod clock;
pub mod crash;
pub mod hooked_store;
pub mod hostile_json;
pub mod http_client;
pub mod program;
pub mod raw_server;
pub mod receiver;
pub mod sim;
pub mod sse_client;
pub mod tls;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
