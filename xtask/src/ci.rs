//! `cargo xtask ci`: everything that must hold before a change lands.

use std::iter;
use std::process::{Command, Stdio};

use crate::step::Step;
use crate::test::{self, TestOptions};

/// Runs every check, cheapest first, and stops at the first that fails.
pub(crate) fn run() -> bool {
    let checks = [format(), format_of_customer(), lints(), docs()].into_iter();
    for mut check in checks.chain(iter::once_with(dependency_policy).flatten()) {
        if !check.run() {
            println!("ci: stopped at `{}`", check.name());
            return false;
        }
    }
    test::run(&TestOptions {
        require_all: true,
        ..TestOptions::default()
    })
}

fn format() -> Step {
    Step::cargo("format", &["fmt", "--all", "--check"])
}

/// A workspace of its own, which `--all` passes over.
fn format_of_customer() -> Step {
    let arguments = ["fmt", "--manifest-path", test::CUSTOMER, "--check"];
    Step::cargo("format of the customer's receiver", &arguments)
}

fn lints() -> Step {
    let arguments = ["clippy", "--workspace", "--all-targets", "--all-features"];
    let deny_warnings = ["--", "-D", "warnings"].map(String::from);
    Step::cargo("lints", &arguments).args(&deny_warnings)
}

fn docs() -> Step {
    let arguments = ["doc", "--workspace", "--no-deps", "--all-features"];
    Step::cargo("docs", &arguments).env("RUSTDOCFLAGS", "-D warnings")
}

/// What `deny.toml` says, where cargo-deny is installed.
///
/// Advisories are left out: they come from a database that changes by the day,
/// and a change must not fail for what it didn't touch.
fn dependency_policy() -> Option<Step> {
    let name = "dependency policy";
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !installed {
        println!("== {name}: not checked, cargo-deny is not installed");
        return None;
    }
    let arguments = ["deny", "check", "bans", "licenses", "sources"];
    Some(Step::cargo(name, &arguments))
}
