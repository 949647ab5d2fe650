//! What the command line asks for.

use clap::{Parser, Subcommand};

use crate::bench::Measurement;
use crate::fuzz::Campaign;
use crate::sim::Seeds;
use crate::test::TestOptions;

/// The workspace's own commands.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
pub(crate) struct Usage {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// One command, as asked for.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Task {
    /// Build the programs, then run every test
    ///
    /// Unit, integration and doc tests, and the feature combinations. A suite whose
    /// outside program is missing is skipped and counted.
    Test(TestOptions),
    /// Format, lints, docs, dependency policy, then `test --require-all`
    Ci,
    /// Measure against a floor of the same run
    Bench(Measurement),
    /// Break the program, and count what is lost of what it acknowledged
    ///
    /// Kill it, cut its power, fill and break its disk, lock, read and copy its
    /// database, take its descriptors, set its clock wrong. Takes minutes, and root.
    Crash,
    /// Make and build the package of every crate as it would be published
    ///
    /// In the order of their dependencies. Uploads nothing. Takes minutes.
    Package,
    /// Simulate scheduler and store under faults
    ///
    /// The first world that breaks an invariant is shown, with its seed.
    Sim(Seeds),
    /// Let coverage guide bytes through whatever reads them from outside
    Fuzz(Campaign),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::bench::Bench;

    fn parse(line: &str) -> Result<Task, clap::Error> {
        let arguments = ["xtask"].into_iter().chain(line.split_whitespace());
        Usage::try_parse_from(arguments).map(|usage| usage.task)
    }

    #[track_caller]
    fn check(line: &str, expected: Task) {
        assert_eq!(parse(line).unwrap(), expected, "{line}");
    }

    #[track_caller]
    fn check_refused(line: &str, why: ErrorKind) {
        let refused = parse(line).unwrap_err();
        assert_eq!((refused.kind(), refused.exit_code()), (why, 2), "{line}");
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.into()).collect()
    }

    fn test_task(require_all: bool, for_binaries: &[&str]) -> Task {
        Task::Test(TestOptions {
            require_all,
            for_binaries: texts(for_binaries),
        })
    }

    #[test]
    fn the_definition_holds() {
        Usage::command().debug_assert();
    }

    #[test]
    fn each_command_is_known_by_its_name() {
        check("ci", Task::Ci);
        check("crash", Task::Crash);
        check("package", Task::Package);
        check("test", test_task(false, &[]));
        check("test --require-all", test_task(true, &[]));
        for help in ["help", "--help", "-h"] {
            assert_eq!(parse(help).unwrap_err().exit_code(), 0, "{help}");
        }
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_test_binaries() {
        check("test -- lane::", test_task(false, &["lane::"]));
        check(
            "test --require-all -- lane --exact --require-all",
            test_task(true, &["lane", "--exact", "--require-all"]),
        );
    }

    #[test]
    fn a_bench_is_given_what_follows_the_dashes() {
        let measured = |bench, for_bench: &[&str]| {
            let for_bench = texts(for_bench);
            Task::Bench(Measurement { bench, for_bench })
        };
        check("bench store", measured(Bench::Store, &[]));
        check("bench verify --", measured(Bench::Verify, &[]));
        let rounds = &["--rounds", "7"];
        check(
            "bench delivery -- --rounds 7",
            measured(Bench::Delivery, rounds),
        );
    }

    #[test]
    fn a_simulation_takes_its_seeds() {
        let seeds = |from, count| Task::Sim(Seeds { from, count });
        check("sim", seeds(0, 10_000));
        check("sim --from 7 --seeds 1", seeds(7, 1));
        check_refused("sim --seeds", ErrorKind::InvalidValue);
        check_refused("sim --seeds x", ErrorKind::ValueValidation);
        check_refused("sim --seeds -1", ErrorKind::UnknownArgument);
        check_refused("sim --seed 1", ErrorKind::UnknownArgument);
    }

    #[test]
    fn a_campaign_takes_a_target_and_its_seconds() {
        let campaign = |target: Option<&str>, seconds| {
            let target = target.map(String::from);
            Task::Fuzz(Campaign { target, seconds })
        };
        check("fuzz", campaign(None, 60));
        check("fuzz --seconds 5", campaign(None, 5));
        check("fuzz url --seconds 5", campaign(Some("url"), 5));
        check("fuzz --seconds 5 url", campaign(Some("url"), 5));
        check_refused("fuzz --seconds", ErrorKind::InvalidValue);
        check_refused("fuzz --seconds 0", ErrorKind::ValueValidation);
        check_refused("fuzz url ids", ErrorKind::UnknownArgument);
        check_refused("fuzz --jobs", ErrorKind::UnknownArgument);
    }

    #[test]
    fn anything_else_is_wrong_usage() {
        check_refused("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        check_refused("tset", ErrorKind::InvalidSubcommand);
        check_refused("ci --fast", ErrorKind::UnknownArgument);
        check_refused("bench", ErrorKind::MissingRequiredArgument);
        check_refused("bench verfiy", ErrorKind::InvalidValue);
        check_refused("bench verify 2", ErrorKind::UnknownArgument);
        check_refused("test lane", ErrorKind::UnknownArgument);
    }
}
