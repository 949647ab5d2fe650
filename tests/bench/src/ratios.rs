//! What criterion measured, as ratios against a floor of the same run.
//!
//! A time means something on one machine on one day; a multiple of the floor's
//! time means about the same everywhere.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where a bench has criterion keep what it measures.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/criterion")
}

/// Forgets what an earlier run measured, so that nothing of it is printed.
///
/// # Errors
/// If it can't be deleted.
pub fn forget(group: &str) -> io::Result<()> {
    match fs::remove_dir_all(folder().join(group)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Prints the medians of a group as ratios against that of `floor`, the fastest
/// first. Prints nothing unless something was measured: a bench that is only
/// tried out runs each thing once.
///
/// # Errors
/// If what criterion kept can't be read.
#[expect(clippy::print_stdout, reason = "it reports to a person")]
pub fn print(group: &str, floor: &str) -> Result<(), Box<dyn Error>> {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    if !asked("--bench") || asked("--test") {
        return Ok(());
    }
    let mut medians = medians(&folder().join(group))?;
    medians.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let of_floor = medians.iter().find(|(name, _)| name == floor);
    let (_, of_floor) = of_floor.ok_or("the floor was not measured")?;
    println!("{group}: time as a multiple of the floor's");
    for (name, nanoseconds) in &medians {
        println!("  {:6.2}  {name}", nanoseconds / of_floor);
    }
    println!();
    Ok(())
}

/// The median of each thing in a group, in nanoseconds, by its name.
fn medians(group: &Path) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let mut medians = Vec::new();
    for entry in fs::read_dir(group)? {
        let folder = entry?.path().join("new");
        let Ok(known) = fs::read(folder.join("benchmark.json")) else {
            continue;
        };
        let known: Value = serde_json::from_slice(&known)?;
        let estimates: Value = serde_json::from_slice(&fs::read(folder.join("estimates.json"))?)?;
        let name = known.pointer("/function_id").and_then(Value::as_str);
        let median = estimates.pointer("/median/point_estimate");
        if let (Some(name), Some(median)) = (name, median.and_then(Value::as_f64)) {
            medians.push((name.to_owned(), median));
        }
    }
    Ok(medians)
}
