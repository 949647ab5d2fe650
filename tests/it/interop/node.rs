//! Node.js: what it brings, and Standard Webhooks.

use std::fs;

use tokio::process::Command;

use super::example::{check_known_answers, check_receives, source, statuses_while_changing};
use super::root;

fn bare(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(source(script));
    command
}

/// A script as it would run in the folder where its package is installed.
fn with_library(script: &str) -> Command {
    let folder = root("target/interop/node");
    assert!(
        folder.join("node_modules").is_dir(),
        "{} is not there; run cargo xtask test",
        folder.display()
    );
    let script = fs::read_to_string(source(script)).unwrap();
    let mut command = Command::new("node");
    command
        .args(["--input-type=module", "--eval", &script])
        .current_dir(folder);
    command
}

#[tokio::test]
async fn what_node_brings_is_enough() {
    check_receives(|| bare("node-stdlib/receiver.mjs")).await;
}

#[tokio::test]
async fn what_node_brings_agrees_with_the_known_answers() {
    check_known_answers(bare("node-stdlib/vectors.mjs")).await;
}

#[tokio::test]
async fn standard_webhooks_takes_what_is_sent() {
    check_receives(|| with_library("node/receiver.mjs")).await;
}

#[tokio::test]
async fn a_changed_secret_holds_old_and_new() {
    let bare = || bare("node-stdlib/receiver.mjs");
    assert_eq!(statuses_while_changing(bare).await, [204, 204]);
    let with_library = || with_library("node/receiver.mjs");
    assert_eq!(statuses_while_changing(with_library).await, [204, 204]);
}
