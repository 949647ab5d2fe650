//! `cargo xtask bench`: measurements, built as a release is.
//!
//! They print ratios against a floor that the same run measures, so that they
//! mean the same on any machine. None is a test: a machine that is busy with
//! something else must not fail a change.

use crate::step::Step;

/// A measurement, by the name of its program in `notify-bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bench(pub(crate) &'static str);

/// Every measurement there is.
pub(crate) const ALL: &[Bench] = &[Bench("store"), Bench("verify")];

/// Measures, and says whether that went through.
pub(crate) fn run(bench: Bench) -> bool {
    let Bench(name) = bench;
    let program = ["build", "--release", "--package", "notify-server"];
    if !Step::cargo("build the program", &program).run() {
        return false;
    }
    let arguments = [
        "run",
        "--release",
        "--package",
        "notify-bench",
        "--bin",
        name,
    ];
    Step::cargo(&format!("bench {name}"), &arguments).run()
}
