//! Programs that come as crates, in a folder of this workspace's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::need::{Missing, Need};
use crate::step::Step;

/// A program of one version, and the crate of the same name that brings it.
#[derive(Debug)]
pub(crate) struct CargoProgram {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// Not where a person's own programs are: another project may want another
/// version.
const FOLDER: &str = "target/tools";

impl Need for CargoProgram {
    fn ensure(&self) -> Result<(), Missing> {
        if self.is_installed() || (self.install().run() && self.is_installed()) {
            Ok(())
        } else {
            Err(self.missing())
        }
    }
}

impl CargoProgram {
    /// Where it is, once it is installed.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(FOLDER).join("bin").join(self.name)
    }

    fn is_installed(&self) -> bool {
        let Self { name, version } = self;
        let said = Command::new(self.path()).arg("--version").output();
        said.is_ok_and(|said| said.stdout.trim_ascii() == format!("{name} {version}").as_bytes())
    }

    fn install(&self) -> Step {
        let Self { name, version } = *self;
        let arguments = ["install", name, "--version", version];
        let into = ["--locked", "--force", "--root", FOLDER].map(String::from);
        Step::cargo(name, &arguments).args(&into)
    }

    fn missing(&self) -> Missing {
        let Self { name, version } = self;
        Missing(format!(
            "`{name}` {version} is not installed; \
             cargo install {name} --version {version} --locked --root {FOLDER}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        let nothing = CargoProgram {
            name: "no-such-program",
            version: "1.0.0",
        };
        assert!(!nothing.is_installed());
        assert_eq!(
            nothing.missing().to_string(),
            "`no-such-program` 1.0.0 is not installed; \
             cargo install no-such-program --version 1.0.0 --locked --root target/tools"
        );
    }
}
