//! `cargo xtask sim`: the simulator over many seeds, built as a release is.
//!
//! A thousand seeds or two run in every `cargo xtask test`; here are as many as
//! there is time for, or the one that failed.

use clap::Args;

use crate::step::Step;

/// Which seeds.
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) from: u64,
    /// How many worlds
    #[arg(long = "seeds", value_name = "N", default_value_t = 10_000)]
    pub(crate) count: u64,
}

/// Runs the seeds' worlds, and says whether every invariant held.
pub(crate) fn run(seeds: &Seeds) -> bool {
    let arguments = [
        "run",
        "--release",
        "--package",
        "notify-tests",
        "--bin",
        "sim",
        "--",
    ];
    let (from, count) = (seeds.from.to_string(), seeds.count.to_string());
    Step::cargo("simulator", &arguments)
        .args(&["--from".into(), from, "--seeds".into(), count])
        .run()
}
