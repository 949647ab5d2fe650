//! Programs that come as Debian packages.

use std::env;
use std::process::{Command, Stdio};

use crate::need::{Missing, Need};
use crate::step::Step;

/// A program on the search path, and the package that brings it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Need for Program {
    fn ensure(&self) -> Result<(), Missing> {
        if self.is_on_path() || (install(self.package) && self.is_on_path()) {
            Ok(())
        } else {
            Err(self.missing())
        }
    }
}

impl Program {
    fn is_on_path(&self) -> bool {
        let folders = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&folders).any(|folder| folder.join(self.name).is_file())
    }

    fn missing(&self) -> Missing {
        let Program { name, package } = self;
        Missing(format!(
            "`{name}` is not installed; on Debian: sudo apt-get install {package}"
        ))
    }
}

/// Installs a package where that takes no password, and says whether it did.
pub(crate) fn install(package: &str) -> bool {
    let Some(privilege) = Privilege::without_password() else {
        return false;
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    // A machine that has never asked for the list of packages finds none.
    privilege.apt_get(&install).run()
        || (privilege.apt_get(&["update"]).run() && privilege.apt_get(&install).run())
}

/// How this process may install a package without asking anyone.
#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

impl Privilege {
    fn without_password() -> Option<Privilege> {
        let user = Command::new("id").arg("-u").output();
        if user.is_ok_and(|user| user.stdout.trim_ascii() == b"0") {
            return Some(Privilege::Root);
        }
        let sudo = Command::new("sudo")
            .args(["-n", "true"])
            .stderr(Stdio::null())
            .status();
        sudo.is_ok_and(|status| status.success())
            .then_some(Privilege::Sudo)
    }

    fn apt_get(self, arguments: &[&str]) -> Step {
        let mut command = match self {
            Privilege::Root => Command::new("env"),
            Privilege::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                command
            }
        };
        // sudo drops the environment, so the variable travels as an argument.
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .args(arguments);
        Step::new(format!("apt-get {}", arguments.join(" ")), command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOWHERE: Program = Program {
        name: "no-such-program-anywhere",
        package: "no-such-package",
    };

    #[test]
    fn a_program_is_found_on_the_search_path() {
        let shell = Program {
            name: "sh",
            package: "dash",
        };
        assert!(shell.is_on_path());
        assert!(!NOWHERE.is_on_path());
    }

    #[test]
    fn a_missing_program_says_how_to_get_it() {
        assert_eq!(
            NOWHERE.missing().to_string(),
            "`no-such-program-anywhere` is not installed; \
             on Debian: sudo apt-get install no-such-package"
        );
    }
}
