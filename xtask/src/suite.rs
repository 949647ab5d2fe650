//! Integration tests that need something from outside the workspace.
//!
//! Their tests are ordinary tests: a suite is one module of the integration-test
//! binary, and what it adds is only what that module needs. A suite whose needs
//! cannot be met is left out by its module's name, says why, and is counted, so
//! that the rest still runs on a machine that lacks something and nobody takes
//! the run for complete.

use crate::debian::Program;
use crate::mounts::Mounts;
use crate::need::Need;
use crate::npm::NodePackages;
use crate::python::PythonPackages;
use crate::rustdoc::RustdocJson;
use crate::tally::Tally;

/// Every suite there is.
const SUITES: &[Suite] = &[
    Suite {
        module: "curl",
        needs: &[&Program {
            name: "curl",
            package: "curl",
        }],
    },
    Suite {
        module: "crash::strace",
        needs: &[&STRACE],
    },
    Suite {
        module: "crash::attach",
        // To trace what one has not started takes root on many machines, as
        // mounting does.
        needs: &[&STRACE, &Mounts],
    },
    Suite {
        module: "crash::foreign",
        needs: &[&SQLITE],
    },
    Suite {
        module: "crash::clock",
        needs: &[&FAKETIME],
    },
    Suite {
        module: "crash::root",
        needs: &[&Mounts],
    },
    Suite {
        module: "interop::python",
        needs: &[&PythonPackages {
            requirements: "examples/receivers/requirements.txt",
            folder: "target/interop/python",
        }],
    },
    Suite {
        module: "interop::node",
        needs: &[&NodePackages {
            source: "examples/receivers/node",
            folder: "target/interop/node",
        }],
    },
    Suite {
        module: "tidy::api",
        needs: &[&RustdocJson],
    },
];

/// It lets system calls fail.
pub(crate) const STRACE: Program = Program {
    name: "strace",
    package: "strace",
};

/// A stranger at the database.
pub(crate) const SQLITE: Program = Program {
    name: "sqlite3",
    package: "sqlite3",
};

/// The program itself is not used, but the library that it comes with.
pub(crate) const FAKETIME: Program = Program {
    name: "faketime",
    package: "faketime",
};

/// One module of the integration tests and what it needs.
struct Suite {
    module: &'static str,
    needs: &'static [&'static dyn Need],
}

/// What is left out of a run.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    /// The suites, counted as skipped.
    pub(crate) tally: Tally,
    /// The arguments that keep the test binaries from running them.
    pub(crate) for_binaries: Vec<String>,
}

impl LeftOut {
    fn leave_out(&mut self, module: &str) {
        self.tally += Tally::ONE_SKIPPED;
        let whole_module = format!("{module}::");
        self.for_binaries.extend(["--skip".into(), whole_module]);
    }
}

/// Meets the needs of every suite and says which have to be left out.
pub(crate) fn prepare() -> LeftOut {
    let mut left_out = LeftOut::default();
    for Suite { module, needs } in SUITES {
        let missing = needs.iter().filter_map(|need| need.ensure().err());
        let missing: Vec<String> = missing.map(|missing| missing.to_string()).collect();
        if !missing.is_empty() {
            println!("== suite {module}: SKIPPED, {}", missing.join("; "));
            left_out.leave_out(module);
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_left_out_is_counted_and_kept_from_running() {
        let mut left_out = LeftOut::default();
        left_out.leave_out("curl");
        assert_eq!(left_out.tally, Tally::ONE_SKIPPED);
        assert_eq!(left_out.for_binaries, ["--skip", "curl::"]);
    }
}
