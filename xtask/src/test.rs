//! `cargo xtask test`: every test there is, and one closing line.

use std::fs;

use clap::Args;

use crate::fuzz::CUSTOMER_JSON;
use crate::step::Step;
use crate::suite;
use crate::tally::Tally;

/// The receiver that is built by itself.
pub(crate) const CUSTOMER: &str = "tests/customer/Cargo.toml";

/// How to run the tests.
#[derive(Args, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Take a skipped test or suite for a failure
    #[arg(long)]
    pub(crate) require_all: bool,
    /// What the test binaries are given: a part of a test's name, or their flags
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) for_binaries: Vec<String>,
}

/// Runs the tests, prints the closing line, and says whether all is well.
pub(crate) fn run(options: &TestOptions) -> bool {
    let total = run_steps(options);
    if total.is_empty() {
        println!("no test ran; nothing is called {:?}", options.for_binaries);
    }
    println!("{total}");
    total.is_success(options.require_all)
}

fn run_steps(options: &TestOptions) -> Tally {
    // The integration tests start the programs that this builds; without them
    // they would only fail one by one.
    if !build_programs().run() || !build_customer() {
        return Tally::ONE_FAILED;
    }
    let left_out = suite::prepare();
    let mut total = left_out.tally;
    for step in test_steps() {
        total += step
            .args(&options.for_binaries)
            .args(&left_out.for_binaries)
            .run_tests();
    }
    if !hub_without_features().run() {
        total += Tally::ONE_FAILED;
    }
    total
}

fn build_programs() -> Step {
    // The tests' own package is among them so that features, and with them what
    // is built, are those of the tests: nothing is built twice.
    let packages = ["notify-server", "notify-receivers", "notify-tests"];
    let packages = packages.map(|name| ["--package", name]).concat();
    let arguments = [&["build", "--bins"][..], &packages].concat();
    Step::cargo("build the programs", &arguments)
}

/// A customer's receiver in a build of its own, whose features no other shares.
fn build_customer() -> bool {
    // The versions are the project's; what the package doesn't need drops out.
    if let Err(error) = fs::copy("Cargo.lock", "tests/customer/Cargo.lock") {
        println!("xtask: cannot copy the lock file: {error}");
        return false;
    }
    let arguments = ["build", "--manifest-path", CUSTOMER];
    Step::cargo("build the customer's receiver", &arguments)
        .args(&["--target-dir".into(), "target/customer".into()])
        .run()
}

/// Each ends in `--`, after which the test binaries' own arguments follow.
fn test_steps() -> [Step; 4] {
    [
        // `--all-targets` leaves the doc tests out, so they are a step of
        // their own.
        Step::cargo(
            "unit and integration tests",
            &[
                "test",
                "--workspace",
                "--all-targets",
                "--no-fail-fast",
                "--",
            ],
        ),
        Step::cargo(
            "doc tests",
            &["test", "--workspace", "--doc", "--no-fail-fast", "--"],
        ),
        // On its own, because in a build of the whole workspace other crates
        // could switch the features on or supply what one of them lacks.
        Step::cargo(
            "notify-verify with all features",
            &[
                "test",
                "--package",
                "notify-verify",
                "--all-features",
                "--no-fail-fast",
                "--",
            ],
        ),
        // Also on its own: every crate built with it would read JSON that way.
        Step::cargo(
            "the fuzz targets, as JSON is read in a customer's build",
            &[
                "test",
                "--package",
                "notify-fuzz",
                "--features",
                CUSTOMER_JSON,
                "--no-fail-fast",
                "--",
            ],
        ),
    ]
}

/// Users who bring their own transport and store compile no HTTP client.
fn hub_without_features() -> Step {
    let arguments = ["check", "--package", "notify-hub", "--no-default-features"];
    Step::cargo("notify-hub without features", &arguments)
}
