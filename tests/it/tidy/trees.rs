//! What a user compiles, judged by the whole tree below a crate.
//!
//! A direct dependency is easy to see; what it brings along is not. Customers
//! put the verifier, and with it the core, into receivers of their own, so both
//! trees are part of what they are promised.

use std::collections::BTreeSet;

use super::{ask_cargo, check_none};

/// The verifier's whole tree, itself included, stays below this.
const VERIFIER_TREE_MAX: usize = 30;

#[test]
fn the_core_brings_no_runtime_no_http_and_no_url_parser() {
    check_brings_none_of(
        &["--package", "notify-core"],
        &["tokio", "reqwest", "axum", "hyper", "url"],
    );
}

#[test]
fn the_verifier_brings_no_runtime_and_no_http_by_default() {
    check_brings_none_of(
        &["--package", "notify-verify"],
        &["tokio", "reqwest", "axum", "hyper"],
    );
}

#[test]
fn the_verifier_stays_a_small_tree_by_default() {
    let tree = tree(&["--package", "notify-verify"]);
    assert!(
        tree.len() < VERIFIER_TREE_MAX,
        "{} crates: {tree:#?}",
        tree.len()
    );
}

#[test]
fn the_hub_without_features_brings_no_http_client_and_no_database() {
    check_brings_none_of(
        &["--package", "notify-hub", "--no-default-features"],
        &[
            "reqwest",
            "hyper",
            "rusqlite",
            "notify-http",
            "notify-sqlite",
        ],
    );
}

#[test]
fn no_build_of_ours_gives_a_json_key_a_meaning_of_its_own() {
    // With these features a `serde_json::Value` parses what stands behind a
    // private key once more; whoever builds with our crates would get them too.
    for package in ["notify-server", "notify-verify"] {
        let tree = ask_cargo(&[
            "tree",
            "--edges",
            "normal,features",
            "--invert",
            "serde_json",
            "--package",
            package,
            "--all-features",
        ]);
        assert!(tree.contains("serde_json feature"), "{tree}");
        let banned = ["\"raw_value\"", "\"arbitrary_precision\""];
        let found = banned.into_iter().filter(|feature| tree.contains(feature));
        check_none(found.map(|feature| format!("{package} turns on {feature}")));
    }
}

#[track_caller]
fn check_brings_none_of(selection: &[&str], banned: &[&str]) {
    let brought = tree(selection).into_iter().filter(|package| {
        let name = package.split(' ').next().unwrap_or_default();
        banned.contains(&name)
    });
    check_none(brought.map(|package| format!("{} brings {package}", selection.join(" "))));
}

/// Every package in a build of `selection`, as name and version.
#[track_caller]
fn tree(selection: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec!["tree", "--edges", "normal", "--prefix", "none"];
    arguments.extend(selection);
    let packages: BTreeSet<String> = ask_cargo(&arguments)
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert!(!packages.is_empty(), "a tree has at least its root");
    packages
}
