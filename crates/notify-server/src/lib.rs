//! The program `notify`: job notification as a service, and the tools to try it
//! out on one machine.
//!
//! Everything that is a rule of the domain lives in the crates below; this one
//! reads settings, listens, and puts the rooms together: the operator API of
//! this crate and the streams of `notify-sse` over one `JobNotifier`.
//!
//! [`run`] is the whole program; `main.rs` hands it the arguments and the
//! environment, and nothing deeper inside looks at either.
//!
//! The modules, in reading order:
//!
//! - `cli`, `exit`: the commands, their flags, and how they end;
//! - `settings`: flags over environment over file over defaults;
//! - `serve`: the server, from its settings to its shutdown;
//! - `connections`: who may hold one, and for how long;
//! - `api`: the operator API;
//! - `listen`, `receiver`: a receiver that verifies what it gets;
//! - `check_url`: whether webhooks may go to a URL;
//! - `demo`, `client`: the whole story on one machine;
//! - `print`, `logs`: what people and machines read of it.

mod api;
mod check_url;
mod cli;
mod client;
mod connections;
mod demo;
mod exit;
mod listen;
mod logs;
mod print;
mod receiver;
mod serve;
mod settings;

pub use cli::run;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
