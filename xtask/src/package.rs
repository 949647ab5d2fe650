//! `cargo xtask package`: whether the crates could be published as they are.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::step::Step;

/// Packages every crate that is for others, builds each from its package alone
/// with the packages of those below it, and says whether all could be built.
///
/// Cargo finds the order, leaves out what is not to be published, and uploads
/// nothing. What is not committed yet is packaged too.
pub(crate) fn run() -> bool {
    // A published version never changes, so cargo would take a package of ours
    // that it has seen before, by name and version, for the one of this run. A
    // folder that it has never seen, built anew, keeps the runs apart.
    let all_runs = Path::new("target/publish");
    let this_run = all_runs.join(unix_seconds().to_string());
    let arguments = ["publish", "--workspace", "--dry-run", "--allow-dirty"];
    let built = Step::cargo("packages", &arguments)
        .args(&["--target-dir".into(), this_run.display().to_string()])
        .run();
    let _ = fs::remove_dir_all(all_runs);
    built
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
