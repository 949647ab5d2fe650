//! `cargo xtask bench`: measurements, built as a release is.
//!
//! They print ratios against a floor that the same run measures, so that they
//! mean the same on any machine. None is a test: a machine that is busy with
//! something else must not fail a change.

use clap::{Args, ValueEnum};

use crate::step::Step;

/// A measurement in `notify-bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// What it costs to deliver a webhook, against the bare HTTP client; and with
    /// `-- --before PROGRAM` against `delivery` of an earlier build. Takes minutes.
    Delivery,
    /// Whether one customer's trouble touches another: what sound endpoints see while
    /// others hang, fail and lose their names. Takes minutes.
    Isolation,
    /// What it costs that accepted means durable, against bare SQLite. A number of
    /// jobs may follow `--`.
    Store,
    /// What it costs a receiver to verify a webhook, against the bare HMAC
    Verify,
}

/// How a bench is run.
enum Form {
    /// Criterion measures it.
    Criterion,
    /// It is a program.
    Program,
    /// It is a program that starts `notify`, built as a release too.
    ProgramThatStartsNotify,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Isolation => "isolation",
            Self::Store => "store",
            Self::Verify => "verify",
        }
    }

    const fn form(self) -> Form {
        match self {
            Self::Delivery | Self::Isolation => Form::Program,
            Self::Store => Form::ProgramThatStartsNotify,
            Self::Verify => Form::Criterion,
        }
    }
}

/// A measurement to make.
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct Measurement {
    /// Which
    pub(crate) bench: Bench,
    /// What the bench itself is given
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) for_bench: Vec<String>,
}

/// Measures, and says whether that went through.
pub(crate) fn run(measurement: &Measurement) -> bool {
    let name = measurement.bench.name();
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
    let arguments: &[&str] = match measurement.bench.form() {
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
