//! What must hold for any bytes at all, at every door where bytes come in.
//!
//! Each [`Target`] is a property and the seeds to begin from: nothing panics,
//! what is accepted means one thing however it is read, and what a sender signs
//! is taken while the same with one bit changed is not. Two independent readers
//! judge along where there is one: the library of Standard Webhooks the
//! signatures, a WHATWG parser the URLs.
//!
//! - [`verify`], [`extract`]: a webhook as a receiver gets it;
//! - [`mod@json`], [`notification`], [`event`]: JSON, from the service and from its
//!   users;
//! - [`url`], [`secret`], [`ids`]: text in settings, headers and paths;
//! - [`dictionary`]: parts of JSON that hurt, which both ways of fuzzing put in;
//! - [`message`]: headers and a body, drawn from bytes;
//! - [`mod@program`]: what a target is as a program.
//!
//! `cargo xtask fuzz` lets coverage guide the way; an ordinary test of this
//! package runs every target on its seeds and on mutations of them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a property that does not hold must be heard"
)]

pub mod dictionary;
pub mod event;
pub mod extract;
pub mod ids;
pub mod json;
pub mod message;
pub mod notification;
pub mod program;
pub mod secret;
pub mod url;
pub mod verify;

/// One property.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called; its program is called `fuzz-` and that.
    pub name: &'static str,
    /// Panics if the property does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Bytes that get far, to begin from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every property there is.
pub const TARGETS: &[Target] = &[
    event::TARGET,
    extract::TARGET,
    ids::TARGET,
    json::TARGET,
    notification::TARGET,
    secret::TARGET,
    url::TARGET,
    verify::TARGET,
];

/// The bytes as text, as far as they are any.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn seeds<const LEN: usize>(texts: [&str; LEN]) -> Vec<Vec<u8>> {
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
