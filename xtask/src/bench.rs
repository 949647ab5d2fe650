//! `cargo xtask bench`: measurements, built as a release is.
//!
//! They print ratios against a floor that the same run measures, so that they
//! mean the same on any machine. None is a test: a machine that is busy with
//! something else must not fail a change.

use crate::step::Step;

/// A measurement in `notify-bench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bench {
    /// What it is called by.
    pub(crate) name: &'static str,
    /// Whether criterion measures it; else it is a program of its own.
    criterion: bool,
}

/// Every measurement there is.
pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: "store",
        criterion: false,
    },
    Bench {
        name: "verify",
        criterion: true,
    },
];

/// Measures, and says whether that went through.
pub(crate) fn run(bench: Bench) -> bool {
    let Bench { name, criterion } = bench;
    if criterion {
        let arguments = ["bench", "--package", "notify-bench", "--bench", name];
        return Step::cargo(&format!("bench {name}"), &arguments).run();
    }
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
