//! Packages for Node.js, in a folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::debian::Program;
use crate::need::{Missing, Need};
use crate::step::Step;

/// Packages as a `package-lock.json` pins them, with their versions and hashes.
pub(crate) struct NodePackages {
    /// The folder with `package.json` and `package-lock.json`.
    pub(crate) source: &'static str,
    /// The folder to install into.
    pub(crate) folder: &'static str,
}

const NODE: Program = Program {
    name: "node",
    package: "nodejs",
};

const NPM: Program = Program {
    name: "npm",
    package: "npm",
};

const MANIFEST: &str = "package.json";
const LOCK: &str = "package-lock.json";

impl Need for NodePackages {
    fn ensure(&self) -> Result<(), Missing> {
        NODE.ensure()?;
        NPM.ensure()?;
        if self.is_installed() || self.install() {
            Ok(())
        } else {
            Err(self.missing())
        }
    }
}

impl NodePackages {
    /// Whether a run before this one has installed exactly these.
    fn is_installed(&self) -> bool {
        let wanted = fs::read(Path::new(self.source).join(LOCK)).ok();
        wanted.is_some() && wanted == fs::read(self.installed()).ok()
    }

    fn install(&self) -> bool {
        self.copy_manifests().is_ok()
            && self.npm_ci().run()
            && fs::copy(Path::new(self.source).join(LOCK), self.installed()).is_ok()
    }

    fn copy_manifests(&self) -> io::Result<()> {
        fs::create_dir_all(self.folder)?;
        for name in [MANIFEST, LOCK] {
            let (from, to) = (Path::new(self.source), Path::new(self.folder));
            fs::copy(from.join(name), to.join(name))?;
        }
        Ok(())
    }

    fn npm_ci(&self) -> Step {
        let mut command = Command::new(NPM.name);
        command.args(["--prefix", self.folder, "ci"]).args([
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        Step::new("Node.js packages", command)
    }

    fn missing(&self) -> Missing {
        let Self { source, folder } = self;
        Missing(format!(
            "the packages of {source}/{LOCK} are not installed; \
             copy {MANIFEST} and {LOCK} to {folder}, and there: npm ci --ignore-scripts"
        ))
    }

    /// A copy of the file that was installed from; npm empties the folder that
    /// it is in first.
    fn installed(&self) -> PathBuf {
        Path::new(self.folder).join("node_modules/installed.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_say_how_to_get_them() {
        let nowhere = NodePackages {
            source: "no-such-folder",
            folder: "target/nowhere",
        };
        assert!(!nowhere.is_installed());
        assert_eq!(
            nowhere.missing().to_string(),
            "the packages of no-such-folder/package-lock.json are not installed; \
             copy package.json and package-lock.json to target/nowhere, \
             and there: npm ci --ignore-scripts"
        );
    }
}
