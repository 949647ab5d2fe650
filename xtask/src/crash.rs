//! `cargo xtask crash`: the long form of the crash rig, built as a release is.

use crate::need::Need;
use crate::step::Step;
use crate::suite::{FAKETIME, SQLITE, STRACE};

/// Builds the program, breaks it, and says whether nothing was lost.
pub(crate) fn run() -> bool {
    for need in [STRACE, SQLITE, FAKETIME] {
        // The rig goes on without, says what it left out, and is not content.
        if let Err(missing) = need.ensure() {
            println!("== crash: {missing}");
        }
    }
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
