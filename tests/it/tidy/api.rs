//! The public API of the crates that strangers build on, as it is written down.
//!
//! Customers build on the verifier, and whoever brings a transport or a store
//! on the core. What they can name is in the crate's `api.txt`, with all
//! features, so that no change to it goes by unseen. What the compiler derives
//! and what a blanket implementation gives is left out.
//!
//! To accept a change: `BLESS_API=1 cargo xtask test -- tidy::api`, and commit
//! the file.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use public_api::Builder;

use super::{check_none, root};

/// Set, it makes the tests write the API down instead of comparing it.
const BLESS: &str = "BLESS_API";

#[test]
fn the_api_of_the_core_is_as_written() {
    check_api("notify-core");
}

#[test]
fn the_api_of_the_verifier_is_as_written() {
    check_api("notify-verify");
}

#[test]
fn a_difference_is_shown_with_its_side() {
    let difference = difference("fn a()\nfn b(u8)\nfn c()\n", "fn a()\nfn b(u16)\nfn c()\n");
    assert_eq!(difference, ["+ fn b(u16)", "- fn b(u8)"]);
}

#[track_caller]
fn check_api(package: &str) {
    let file = root().join("crates").join(package).join("api.txt");
    let found = api(&describe(package));
    if env::var_os(BLESS).is_some() {
        fs::write(file, found).expect("the crate's folder can be written");
        return;
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    let difference = difference(&written, &found);
    let heading = (!difference.is_empty()).then(|| {
        format!(
            "{package} has another API (+) than its api.txt (-); to accept it: \
             {BLESS}=1 cargo xtask test -- tidy::api"
        )
    });
    check_none(heading.into_iter().chain(difference));
}

/// What is only `written` and what is only `found`, a changed item's two lines
/// close to each other.
fn difference(written: &str, found: &str) -> Vec<String> {
    let [old, new] = [written, found].map(|text| text.lines().collect::<HashSet<_>>());
    let gone = old.difference(&new).map(|line| ("-", *line));
    let come = new.difference(&old).map(|line| ("+", *line));
    let mut difference: Vec<_> = gone.chain(come).collect();
    difference.sort_by_key(|&(sign, line)| (line, sign));
    difference
        .iter()
        .map(|(sign, line)| format!("{sign} {line}"))
        .collect()
}

/// The API that rustdoc describes, one item a line, each once although some can
/// be named by two paths.
fn api(description: &Path) -> String {
    let api = Builder::from_rustdoc_json(description)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .expect("rustdoc writes the format that the library reads");
    let mut seen = HashSet::new();
    api.items()
        .map(|item| format!("{item}\n"))
        .filter(|line| seen.insert(line.clone()))
        .collect()
}

/// Has rustdoc describe `package` as JSON, which the stable compiler only does
/// when it is told to allow what is not stable.
///
/// What is compiled for that goes into a folder of its own, because it would
/// not fit an ordinary build.
fn describe(package: &str) -> PathBuf {
    let folder = root().join("target").join("api");
    let arguments = ["rustdoc", "--quiet", "--lib", "--all-features", "--package"];
    let format = ["-Z", "unstable-options", "--output-format", "json"];
    let output = Command::new("cargo")
        .args(arguments)
        .arg(package)
        .args(format)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root())
        .output()
        .expect("cargo is running this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let name = format!("{}.json", package.replace('-', "_"));
    folder.join("doc").join(name)
}
