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
    /// How it is run.
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Criterion measures it.
    Criterion,
    /// It is a program.
    Program,
    /// It is a program that starts `notify`, built as a release too.
    ProgramThatStartsNotify,
}

/// Every measurement there is.
pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: "delivery",
        form: Form::Program,
    },
    Bench {
        name: "store",
        form: Form::ProgramThatStartsNotify,
    },
    Bench {
        name: "verify",
        form: Form::Criterion,
    },
];

/// A measurement to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// Which.
    pub(crate) bench: Bench,
    /// What the bench itself is given.
    pub(crate) for_bench: Vec<String>,
}

/// Measures, and says whether that went through.
pub(crate) fn run(measurement: &Measurement) -> bool {
    let Bench { name, form } = measurement.bench;
    let notify = ["build", "--release", "--package", "notify-server"];
    let program = [
        "run",
        "--release",
        "--package",
        "notify-bench",
        "--bin",
        name,
        "--",
    ];
    let criterion = ["bench", "--package", "notify-bench", "--bench", name, "--"];
    let arguments: &[&str] = match form {
        Form::Criterion => &criterion,
        Form::Program => &program,
        Form::ProgramThatStartsNotify => {
            if !Step::cargo("build the program", &notify).run() {
                return false;
            }
            &program
        }
    };
    Step::cargo(&format!("bench {name}"), arguments)
        .args(&measurement.for_bench)
        .run()
}
