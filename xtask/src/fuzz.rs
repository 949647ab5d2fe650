//! `cargo xtask fuzz`: the targets of `notify-fuzz`, guided by coverage.
//!
//! Every `cargo xtask test` runs them on seeds and a few mutations; here a
//! fuzzer looks for as long as it is told. What it needs of the compiler are
//! plain flags, so any toolchain will do: there is no sanitizer, since nothing
//! here is unsafe.
//!
//! A campaign keeps what it finds below `target/fuzz`, a folder for each target:
//! `corpus`, where the next campaign goes on, and the bytes that broke it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use clap::{Args, value_parser};

use crate::crates::CargoProgram;
use crate::debian::Program;
use crate::need::Need;
use crate::step::Step;

/// What to fuzz, and for how long.
#[derive(Args, Debug, PartialEq, Eq)]
pub(crate) struct Campaign {
    /// One target of tests/fuzz; without it each in turn
    pub(crate) target: Option<String>,
    /// For how long each
    // To the fuzzer, no time at all means without end.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
}

const CARGO_FUZZ: CargoProgram = CargoProgram {
    name: "cargo-fuzz",
    version: "0.13.2",
};

/// The fuzzer itself comes as source.
const COMPILER: Program = Program {
    name: "c++",
    package: "g++",
};

const PACKAGE: &str = "tests/fuzz";

/// The package's feature that turns on what changes how JSON is read.
pub(crate) const CUSTOMER_JSON: &str = "customer-json";

/// Fuzzes each target that was asked for, and says whether all of them held.
pub(crate) fn run(campaign: &Campaign) -> bool {
    for need in [&CARGO_FUZZ as &dyn Need, &COMPILER] {
        if let Err(missing) = need.ensure() {
            eprintln!("xtask: {missing}");
            return false;
        }
    }
    match prepare(campaign) {
        // Each is fuzzed, whatever becomes of the others.
        Ok(targets) => targets
            .iter()
            .map(|target| target.fuzz(campaign.seconds))
            .fold(true, |all, held| all & held),
        Err(error) => {
            eprintln!("xtask: {error}");
            false
        }
    }
}

fn prepare(campaign: &Campaign) -> io::Result<Vec<Target>> {
    let host = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output()?;
    let host = String::from_utf8_lossy(host.stdout.trim_ascii()).into_owned();
    let names = chosen(names()?, campaign.target.as_deref()).map_err(io::Error::other)?;
    let targets = names.into_iter().map(|name| Target {
        name,
        host: host.clone(),
    });
    Ok(targets.collect())
}

/// The targets there are: each is a program of the package.
fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(Path::new(PACKAGE).join("src/bin"))? {
        let file = file?.file_name().to_string_lossy().into_owned();
        let name = file.strip_prefix("fuzz-");
        names.extend(name.and_then(|name| Some(name.strip_suffix(".rs")?.to_owned())));
    }
    names.sort();
    Ok(names)
}

fn chosen(names: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>, String> {
    match wanted {
        None => Ok(names),
        Some(wanted) if names.iter().any(|name| name == wanted) => Ok(vec![wanted.into()]),
        Some(unknown) => Err(format!(
            "no target `{unknown}`; there are {}",
            names.join(", ")
        )),
    }
}

struct Target {
    name: String,
    host: String,
}

impl Target {
    fn fuzz(&self, seconds: u64) -> bool {
        let corpus = self.folder().join("corpus");
        let ready =
            fs::create_dir_all(corpus).is_ok() && self.write_seeds().run() && self.build().run();
        let held = ready && self.search(seconds).run();
        if ready && !held {
            println!(
                "replay with: cargo run --package notify-fuzz --features {CUSTOMER_JSON} \
                 --bin fuzz-{} FILE",
                self.name
            );
        }
        held
    }

    fn write_seeds(&self) -> Step {
        let program = format!("fuzz-{}", self.name);
        let arguments = [
            "run",
            "--quiet",
            "--package",
            "notify-fuzz",
            "--features",
            CUSTOMER_JSON,
            "--bin",
        ];
        let seeds = format!("{}/seeds", self.folder().display());
        let dictionary = format!("{}/dictionary", self.folder().display());
        Step::cargo(&format!("seeds for {}", self.name), &arguments).args(&[
            program,
            "--".into(),
            "--seeds".into(),
            seeds,
            "--dictionary".into(),
            dictionary,
        ])
    }

    fn build(&self) -> Step {
        let mut command = Command::new(CARGO_FUZZ.path());
        command
            .args(["build", "--fuzz-dir", PACKAGE, "--sanitizer", "none"])
            .args(["--features", CUSTOMER_JSON])
            .args(["--target", &self.host, &format!("fuzz-{}", self.name)]);
        Step::new(format!("build {}", self.name), command)
    }

    /// Runs the program itself: `cargo fuzz run` makes folders in the package.
    fn search(&self, seconds: u64) -> Step {
        let program = format!("target/{}/release/fuzz-{}", self.host, self.name);
        let folder = self.folder();
        let mut command = Command::new(program);
        command
            .arg(format!("-artifact_prefix={}/", folder.display()))
            .arg(format!("-dict={}/dictionary", folder.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=10", "-print_final_stats=1"])
            .args([folder.join("corpus"), folder.join("seeds")]);
        Step::new(format!("fuzz {}", self.name), command)
    }

    fn folder(&self) -> PathBuf {
        Path::new("target/fuzz").join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_chosen_by_its_name() {
        let names = || vec!["event".to_owned(), "url".to_owned()];
        assert_eq!(chosen(names(), None), Ok(names()));
        assert_eq!(chosen(names(), Some("url")), Ok(vec!["url".to_owned()]));
        assert_eq!(
            chosen(names(), Some("ulr")),
            Err("no target `ulr`; there are event, url".to_owned())
        );
    }
}
