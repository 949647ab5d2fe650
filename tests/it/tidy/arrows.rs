//! Who may import whom, judged by what each `Cargo.toml` names.
//!
//! An arrow never points up: the core knows nobody, the rooms around it know
//! the core, and only the program and the tests know them all. A library that
//! shapes a whole crate (an HTTP client, a database, a web framework) has one
//! home, so that replacing it stays one crate's business.
//!
//! A crate's tests are held to the same table, because what they import shows
//! what the crate cannot be understood without. The exceptions are the packages
//! that exist to test and to build the others.

use std::path::PathBuf;

use serde_json::Value;

use super::check_none;
use super::metadata::{described, flag, list, text};

/// The crates that the rest of the world can depend on, from the inside out.
const CRATES: &[&str] = &[
    "notify-core",
    "notify-verify",
    "notify-http",
    "notify-sqlite",
    "notify-hub",
    "notify-sse",
    "notify-server",
];

/// The crate that others can depend on for their tests alone: what every store
/// passes. It names none.
const SUITE: &str = "notify-conformance";

/// The packages that exist to show, to test and to build the crates.
const TOOLS: &[&str] = &[
    "notify-bench",
    "notify-fuzz",
    "notify-receivers",
    "notify-tests",
    "xtask",
];

#[test]
fn every_package_has_its_place_in_the_table() {
    let strangers = packages()
        .into_iter()
        .filter(|package| !is_ours(&package.name))
        .map(|package| format!("{} is in no table of this module", package.name));
    check_none(strangers);
}

#[test]
fn the_core_imports_no_crate_of_the_workspace() {
    check_imports("notify-core", &[], &[]);
}

#[test]
fn the_verifier_imports_only_the_core() {
    check_imports("notify-verify", &["notify-core"], &[]);
}

#[test]
fn the_transport_imports_only_the_core() {
    check_imports("notify-http", &["notify-core"], &[]);
}

#[test]
fn the_sqlite_store_imports_only_the_core() {
    check_imports("notify-sqlite", &["notify-core"], &[]);
}

#[test]
fn the_suite_of_stores_imports_only_the_core() {
    check_imports(SUITE, &["notify-core"], &[]);
}

#[test]
fn the_hub_imports_the_core_and_behind_features_a_transport_and_a_store() {
    check_imports(
        "notify-hub",
        &["notify-core"],
        &["notify-http", "notify-sqlite"],
    );
}

#[test]
fn the_streams_import_only_the_core_and_the_hub() {
    check_imports("notify-sse", &["notify-core", "notify-hub"], &[]);
}

#[test]
fn the_streams_take_the_hub_without_its_features() {
    let hub = dependencies("notify-sse")
        .into_iter()
        .find(|dependency| dependency.name == "notify-hub" && dependency.kind == Kind::Normal)
        .expect("notify-sse depends on notify-hub");
    assert!(
        !hub.default_features,
        "a service that only streams must not compile an HTTP client"
    );
}

#[test]
fn the_program_imports_no_test_support() {
    check_imports("notify-server", CRATES, &[]);
}

#[test]
fn the_tests_import_only_what_users_can_import() {
    check_imports("notify-tests", &[CRATES, &[SUITE]].concat(), &[]);
}

#[test]
fn the_fuzz_targets_import_only_what_reads_bytes_from_outside() {
    let readers = ["notify-core", "notify-http", "notify-verify"];
    check_imports("notify-fuzz", &readers, &[]);
}

#[test]
fn the_example_receivers_import_only_what_a_customer_needs() {
    check_imports("notify-receivers", &["notify-verify"], &[]);
}

#[test]
fn xtask_imports_no_crate_of_the_workspace() {
    check_imports("xtask", &[], &[]);
}

#[test]
fn only_the_benches_name_reqwest() {
    // They measure delivering against it. A second client would be a second way out.
    check_named_only_by("reqwest", &["notify-bench"]);
}

#[test]
fn only_the_transport_names_a_resolver() {
    // Every address that a name has must pass by the egress guard.
    check_named_only_by("hickory-resolver", &["notify-http"]);
}

#[test]
fn only_the_transport_names_a_url_parser() {
    // A URL that two parsers read apart is two receivers, or the wrong one. The fuzz
    // target judges the transport by it.
    check_named_only_by("url", &["notify-http", "notify-fuzz"]);
}

#[test]
fn only_the_sqlite_store_names_rusqlite() {
    // The benches measure the store against the bare library.
    check_named_only_by("rusqlite", &["notify-sqlite", "notify-bench"]);
}

#[test]
fn only_the_crates_that_serve_routes_and_the_verifier_name_axum() {
    check_named_only_by(
        "axum",
        &[
            "notify-sse",
            "notify-server",
            "notify-verify",
            "notify-receivers",
            "notify-fuzz",
            "notify-tests",
        ],
    );
}

#[test]
fn the_verifier_names_axum_only_behind_a_feature() {
    let always = dependencies("notify-verify")
        .into_iter()
        .filter(|found| found.name == "axum" && found.kind == Kind::Normal && !found.optional);
    check_none(always.map(|_| "notify-verify always compiles axum".into()));
}

#[test]
fn the_core_names_no_io_no_url_parser_and_no_randomness() {
    let banned = [
        "tokio",
        "reqwest",
        "axum",
        "hyper",
        "url",
        "getrandom",
        "rand",
    ];
    let named = dependencies("notify-core")
        .into_iter()
        .filter(|dependency| banned.contains(&dependency.name.as_str()));
    check_none(named.map(|dependency| format!("notify-core names {}", dependency.name)));
}

/// Of the workspace, `package` may import `always`, and `behind_a_feature` only
/// as optional dependencies.
#[track_caller]
fn check_imports(package: &str, always: &[&str], behind_a_feature: &[&str]) {
    let mut breaches = Vec::new();
    for Dependency {
        name,
        kind,
        optional,
        ..
    } in dependencies(package)
    {
        if always.contains(&name.as_str()) || !is_ours(&name) {
            continue;
        }
        if !behind_a_feature.contains(&name.as_str()) {
            breaches.push(format!("{package} must not import {name}"));
        } else if kind == Kind::Normal && !optional {
            breaches.push(format!("{package} must import {name} behind a feature"));
        }
    }
    check_none(breaches);
}

#[track_caller]
fn check_named_only_by(library: &str, homes: &[&str]) {
    let outside = packages()
        .into_iter()
        .filter(|package| !homes.contains(&package.name.as_str()))
        .filter(|package| {
            package
                .dependencies
                .iter()
                .any(|found| found.name == library)
        })
        .map(|package| format!("{} must not name {library}", package.name));
    check_none(outside);
}

fn is_ours(name: &str) -> bool {
    CRATES.contains(&name) || name == SUITE || TOOLS.contains(&name)
}

/// What one package of the workspace names in its `Cargo.toml`.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    dependencies: Vec<Dependency>,
}

/// One dependency as it is written, whether or not a build needs it.
struct Dependency {
    name: String,
    kind: Kind,
    optional: bool,
    default_features: bool,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// The dependencies of `package` that are judged, or none if there is no such
/// package.
fn dependencies(package: &str) -> Vec<Dependency> {
    packages()
        .into_iter()
        .find(|found| found.name == package)
        .map(|found| found.dependencies)
        .unwrap_or_default()
}

/// The workspace's packages, each with the dependencies that are judged.
pub(super) fn packages() -> Vec<Package> {
    described().iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let name = text(package, "name");
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let mut dependencies: Vec<Dependency> = list(package, "dependencies")
        .iter()
        .map(dependency)
        .collect();
    if TOOLS.contains(&name.as_str()) {
        dependencies.retain(|dependency| dependency.kind != Kind::Dev);
    }
    Package {
        name,
        folder: manifest.parent().expect("a file has a folder").to_owned(),
        dependencies,
    }
}

fn dependency(dependency: &Value) -> Dependency {
    Dependency {
        name: text(dependency, "name"),
        kind: match dependency.get("kind").and_then(Value::as_str) {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            Some(unknown) => panic!("cargo knows a new kind of dependency: {unknown}"),
        },
        optional: flag(dependency, "optional"),
        default_features: flag(dependency, "uses_default_features"),
    }
}
