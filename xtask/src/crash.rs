//! `cargo xtask crash`: the long form of the crash rig, built as a release is.

use crate::step::Step;

/// Builds the program, breaks it, and says whether nothing was lost.
pub(crate) fn run() -> bool {
    let build = [
        "build",
        "--release",
        "-p",
        "notify-server",
        "-p",
        "notify-tests",
    ];
    let rig = ["run", "--release", "-p", "notify-tests", "--bin", "crash"];
    Step::cargo("build the program and the rig", &build).run() && Step::cargo("crash", &rig).run()
}
