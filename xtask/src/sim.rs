//! `cargo xtask sim`: the simulator over many seeds, built as a release is.
//!
//! A thousand seeds or two run in every `cargo xtask test`; here are as many as
//! there is time for, or the one that failed.

use crate::step::Step;

/// Which seeds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) from: u64,
    pub(crate) count: u64,
}

impl Default for Seeds {
    fn default() -> Self {
        Self {
            from: 0,
            count: 10_000,
        }
    }
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
