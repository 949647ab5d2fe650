//! Python packages, in a virtual environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian::{self, Program};
use crate::need::{Missing, Need};
use crate::step::Step;

/// Packages as a requirements file pins them, with their versions and hashes.
pub(crate) struct PythonPackages {
    pub(crate) requirements: &'static str,
    /// The environment's folder.
    pub(crate) folder: &'static str,
}

const PYTHON: Program = Program {
    name: "python3",
    package: "python3",
};

impl Need for PythonPackages {
    fn ensure(&self) -> Result<(), Missing> {
        PYTHON.ensure()?;
        if self.is_installed() || self.install() {
            Ok(())
        } else {
            Err(self.missing())
        }
    }
}

impl PythonPackages {
    /// Whether a run before this one has installed exactly these, and the Python
    /// that they were installed for is still there.
    fn is_installed(&self) -> bool {
        let wanted = fs::read(self.requirements).ok();
        let starts = || {
            let mut python = Command::new(self.python());
            python.arg("--version").stdout(Stdio::null());
            python.status().is_ok_and(|status| status.success())
        };
        wanted.is_some() && wanted == fs::read(self.installed()).ok() && starts()
    }

    fn install(&self) -> bool {
        // Debian has what makes an environment in a package of its own.
        let made = self.make_environment().run()
            || (debian::install("python3-venv") && self.make_environment().run());
        made && self.pip_install().run() && fs::copy(self.requirements, self.installed()).is_ok()
    }

    fn make_environment(&self) -> Step {
        let mut command = Command::new(PYTHON.name);
        command.args(["-m", "venv", "--clear", self.folder]);
        Step::new("a Python environment", command)
    }

    fn pip_install(&self) -> Step {
        let mut command = Command::new(self.python());
        command
            .args(["-m", "pip", "--disable-pip-version-check", "--quiet"])
            .args(["install", "--no-deps", "--require-hashes"])
            .args(["--requirement", self.requirements]);
        Step::new("Python packages", command)
    }

    fn missing(&self) -> Missing {
        let Self {
            requirements,
            folder,
        } = self;
        Missing(format!(
            "the packages of {requirements} are not installed; \
             python3 -m venv {folder} && {folder}/bin/python -m pip install \
             --no-deps --require-hashes --requirement {requirements}"
        ))
    }

    fn python(&self) -> PathBuf {
        Path::new(self.folder).join("bin/python")
    }

    /// A copy of the file that was installed from.
    fn installed(&self) -> PathBuf {
        Path::new(self.folder).join("installed.txt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_say_how_to_get_them() {
        let nowhere = PythonPackages {
            requirements: "no-such-file",
            folder: "target/nowhere",
        };
        assert!(!nowhere.is_installed());
        assert_eq!(
            nowhere.missing().to_string(),
            "the packages of no-such-file are not installed; \
             python3 -m venv target/nowhere && target/nowhere/bin/python -m pip install \
             --no-deps --require-hashes --requirement no-such-file"
        );
    }
}
