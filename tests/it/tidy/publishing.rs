//! What a crate brings along when it is published.
//!
//! `cargo xtask package` shows that the packages build. Here is what no build
//! misses and a reader does: what the crate is, what it may be used for, and an
//! example that works.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::metadata::{described, list, text};
use super::{check_none, root};

/// The registry takes no more.
const KEYWORDS_MAX: usize = 5;
/// The registry takes no longer one.
const KEYWORD_BYTES_MAX: usize = 20;

#[test]
fn what_is_published_is_what_lies_in_crates() {
    let crates = root().join("crates");
    let misplaced = described()
        .into_iter()
        .filter(|package| is_published(package) != folder(package).starts_with(&crates));
    check_none(misplaced.map(|package| text(&package, "name")));
}

#[test]
fn every_crate_says_what_it_is() {
    check_crates(|package| {
        let silent = ["description", "license", "readme"]
            .into_iter()
            .filter(|field| package.get(field).is_none_or(Value::is_null));
        let empty = ["keywords", "categories"]
            .into_iter()
            .filter(|field| list(package, field).is_empty());
        silent
            .chain(empty)
            .map(|field| format!("no {field}"))
            .collect()
    });
}

#[test]
fn every_crate_is_found_by_keywords_that_the_registry_takes() {
    check_crates(|package| {
        let keywords = list(package, "keywords");
        let many = (keywords.len() > KEYWORDS_MAX).then(|| "too many keywords".to_owned());
        let refused = keywords
            .iter()
            .filter_map(Value::as_str)
            .filter(|keyword| !is_keyword(keyword))
            .map(|keyword| format!("{keyword} is no keyword"));
        many.into_iter().chain(refused).collect()
    });
}

#[test]
fn every_crate_with_features_shows_them_all_in_its_docs() {
    check_crates(|package| {
        let features = package.get("features").and_then(Value::as_object);
        let shown = package.pointer("/metadata/docs/rs/all-features");
        let hidden = features.is_some_and(|features| !features.is_empty())
            && shown.and_then(Value::as_bool) != Some(true);
        hidden
            .then(|| "its docs hide features".to_owned())
            .into_iter()
            .collect()
    });
}

#[test]
fn every_crate_carries_its_licences() {
    let licences = ["LICENSE-APACHE", "LICENSE-MIT"];
    check_crates(|package| {
        let missing = licences
            .into_iter()
            .filter(|name| read(&folder(package).join(name)) != read(&root().join(name)));
        missing.map(|name| format!("no {name}")).collect()
    });
}

#[test]
fn every_crates_readme_holds_an_example_that_is_compiled() {
    check_crates(|package| {
        let readme = read(&folder(package).join("README.md"));
        let library = read(&folder(package).join("src/lib.rs"));
        let breach = if !readme.contains("```rust") {
            Some("no Rust example in its README.md")
        } else if !library.contains("include_str!(\"../README.md\")") {
            Some("lib.rs does not include README.md for the doc tests")
        } else {
            None
        };
        breach.map(String::from).into_iter().collect()
    });
}

/// Fails with the breaches that `judge` finds in each published crate.
#[track_caller]
fn check_crates(judge: impl Fn(&Value) -> Vec<String>) {
    let crates = described().into_iter().filter(is_published);
    check_none(crates.flat_map(|package| {
        let name = text(&package, "name");
        let breaches = judge(&package).into_iter();
        breaches
            .map(|breach| format!("{name}: {breach}"))
            .collect::<Vec<_>>()
    }));
}

/// Whether anyone may publish it: `publish = false` is a list of no registries.
fn is_published(package: &Value) -> bool {
    package.get("publish").is_some_and(Value::is_null)
}

fn is_keyword(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
    text.len() <= KEYWORD_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(known)
}

fn folder(package: &Value) -> PathBuf {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    manifest.parent().expect("a file has a folder").to_owned()
}

/// A file's text; none where there is no such file.
fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
