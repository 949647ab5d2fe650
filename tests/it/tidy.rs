//! The project's own rules, as tests.
//!
//! What a reviewer would otherwise have to remember is checked here, over the
//! whole workspace: who may import whom ([`arrows`], and within a crate [`cycles`]), how
//! much a customer has to compile ([`trees`]), what the crates promise ([`api`]) and tell of
//! themselves ([`publishing`]), what the model of a store may know of the rules
//! ([`model`]), that stores decide nothing ([`stores`]), and what every source file owes its reader ([`sources`]). A rule is
//! changed here first, and then in the code.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a rule that cannot be judged has failed"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

mod api;
mod arrows;
mod cycles;
mod metadata;
mod model;
mod modules;
mod publishing;
mod sources;
mod stores;
mod trees;

/// The workspace's folder.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the root").to_owned()
}

/// What `cargo` prints when it is asked this.
#[track_caller]
fn ask_cargo(arguments: &[&str]) -> String {
    let answer = Command::new("cargo")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo is running this test");
    if !answer.status.success() {
        panic!("{}", String::from_utf8_lossy(&answer.stderr));
    }
    String::from_utf8(answer.stdout).expect("cargo prints UTF-8")
}

/// Fails with one line for each breach of a rule.
#[track_caller]
fn check_none(breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<String> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}
