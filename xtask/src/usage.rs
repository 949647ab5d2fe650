//! What the command line asks for.

use crate::bench::{self, Measurement};
use crate::fuzz::Campaign;
use crate::sim::Seeds;

/// What `cargo xtask help` prints.
pub(crate) const USAGE: &str = "\
usage: cargo xtask <command>

  test [--require-all] [-- FILTER...]
      Build the program, then run every test: unit, integration and doc tests,
      and the feature combinations. What follows `--` goes to the test binaries.
      A suite whose outside program is missing is skipped and counted;
      with --require-all that is a failure.
  ci
      Format, lints, docs, dependency policy, then `test --require-all`.
  bench delivery [-- --before PROGRAM]
      What it costs to deliver a webhook, against the bare HTTP client; and
      against `delivery` as an earlier build made it. Takes minutes.
  bench store [-- JOBS]
      What it costs that accepted means durable, against bare SQLite.
  bench verify
      What it costs a receiver to verify a webhook, against the bare HMAC.
  crash
      Kill the program, cut its power, fill and break its disk, lock, read and
      copy its database, take its descriptors, set its clock wrong, and count what
      is lost of what it acknowledged. Takes minutes, and root.
  package
      Make and build the package of every crate as it would be published, in the
      order of their dependencies. Uploads nothing. Takes minutes.
  sim [--seeds N] [--from S]
      Simulate scheduler and store under faults, in N worlds (10000) from the
      seed S (0) on. The first that breaks an invariant is shown, with its seed.
  fuzz [TARGET] [--seconds N]
      Let coverage guide bytes through whatever reads them from outside: N
      seconds (60) for each target of tests/fuzz, or for TARGET alone.
  help
      This text.";

/// One command, as asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Print [`USAGE`].
    Help,
    /// Check everything.
    Ci,
    /// Run the tests.
    Test(TestOptions),
    /// Measure.
    Bench(Measurement),
    /// Break things.
    Crash,
    /// Try to publish.
    Package,
    /// Simulate.
    Sim(Seeds),
    /// Fuzz.
    Fuzz(Campaign),
}

/// How to run the tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    /// Whether a skipped test or suite is a failure.
    pub(crate) require_all: bool,
    /// What the test binaries are given: a part of a test's name, or their flags.
    pub(crate) for_binaries: Vec<String>,
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
///
/// A sentence for the person who typed them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Task, String> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().ok_or("no command given")?;
    let task = match command.as_str() {
        "help" | "--help" | "-h" => Task::Help,
        "ci" => Task::Ci,
        "test" => return parse_test(arguments).map(Task::Test),
        "crash" => Task::Crash,
        "package" => Task::Package,
        "sim" => return parse_sim(arguments).map(Task::Sim),
        "fuzz" => return parse_fuzz(arguments).map(Task::Fuzz),
        "bench" => return parse_bench(arguments).map(Task::Bench),
        unknown => return Err(format!("no command `{unknown}`")),
    };
    match arguments.next() {
        None => Ok(task),
        Some(extra) => Err(format!("`{command}` takes no `{extra}`")),
    }
}

fn parse_test(mut arguments: impl Iterator<Item = String>) -> Result<TestOptions, String> {
    let mut options = TestOptions::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--require-all" => options.require_all = true,
            "--" => options.for_binaries.extend(arguments.by_ref()),
            unknown => {
                return Err(format!(
                    "`test` takes no `{unknown}`; a filter follows `--`"
                ));
            }
        }
    }
    Ok(options)
}

fn parse_sim(mut arguments: impl Iterator<Item = String>) -> Result<Seeds, String> {
    let mut seeds = Seeds::default();
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--from" => &mut seeds.from,
            "--seeds" => &mut seeds.count,
            unknown => return Err(format!("`sim` takes no `{unknown}`")),
        };
        let number = arguments.next().and_then(|number| number.parse().ok());
        *place = number.ok_or(format!("`{argument}` takes a whole number"))?;
    }
    Ok(seeds)
}

fn parse_fuzz(mut arguments: impl Iterator<Item = String>) -> Result<Campaign, String> {
    let mut campaign = Campaign::default();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|number| number.parse().ok());
            // To the fuzzer, no time at all means without end.
            let number = number.filter(|&seconds| seconds > 0);
            campaign.seconds = number.ok_or("`--seconds` takes a whole number from 1")?;
        } else if argument.starts_with('-') || campaign.target.is_some() {
            return Err(format!("`fuzz` takes no `{argument}`"));
        } else {
            campaign.target = Some(argument);
        }
    }
    Ok(campaign)
}

fn parse_bench(mut arguments: impl Iterator<Item = String>) -> Result<Measurement, String> {
    let name = arguments.next().ok_or("`bench` takes the name of one")?;
    let known = bench::ALL.iter().find(|known| known.name == name);
    let bench = *known.ok_or(format!("no bench `{name}`"))?;
    match arguments.next().as_deref() {
        None | Some("--") => Ok(Measurement {
            bench,
            for_bench: arguments.collect(),
        }),
        Some(extra) => Err(format!(
            "`bench` takes no `{extra}`; what the bench is given follows `--`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_parse(line: &str, expected: Result<Task, &str>) {
        let parsed = parse(line.split_whitespace().map(String::from));
        assert_eq!(parsed, expected.map_err(String::from));
    }

    fn test_task(require_all: bool, for_binaries: &[&str]) -> Result<Task, &'static str> {
        Ok(Task::Test(TestOptions {
            require_all,
            for_binaries: for_binaries.iter().map(|&text| text.into()).collect(),
        }))
    }

    #[test]
    fn each_command_is_known_by_its_name() {
        check_parse("help", Ok(Task::Help));
        check_parse("ci", Ok(Task::Ci));
        check_parse("crash", Ok(Task::Crash));
        check_parse("package", Ok(Task::Package));
        check_parse("test", test_task(false, &[]));
        check_parse("test --require-all", test_task(true, &[]));
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_test_binaries() {
        check_parse("test -- lane::", test_task(false, &["lane::"]));
        check_parse(
            "test --require-all -- lane --exact --require-all",
            test_task(true, &["lane", "--exact", "--require-all"]),
        );
    }

    #[test]
    fn a_bench_is_given_what_follows_the_dashes() {
        let bench = |bench, for_bench: &[&str]| {
            let for_bench = for_bench.iter().map(|&text| text.into()).collect();
            Ok(Task::Bench(Measurement { bench, for_bench }))
        };
        check_parse("bench store", bench(bench::ALL[1], &[]));
        check_parse("bench verify --", bench(bench::ALL[2], &[]));
        check_parse(
            "bench delivery -- --rounds 7",
            bench(bench::ALL[0], &["--rounds", "7"]),
        );
    }

    #[test]
    fn a_simulation_takes_its_seeds() {
        let sim = |from, count| Ok(Task::Sim(Seeds { from, count }));
        check_parse("sim", sim(0, 10_000));
        check_parse("sim --from 7 --seeds 1", sim(7, 1));
        check_parse("sim --seeds", Err("`--seeds` takes a whole number"));
        check_parse("sim --seeds -1", Err("`--seeds` takes a whole number"));
        check_parse("sim --seed 1", Err("`sim` takes no `--seed`"));
    }

    #[test]
    fn a_campaign_takes_a_target_and_its_seconds() {
        let fuzz = |target: Option<&str>, seconds| {
            let target = target.map(String::from);
            Ok(Task::Fuzz(Campaign { target, seconds }))
        };
        check_parse("fuzz", fuzz(None, 60));
        check_parse("fuzz --seconds 5", fuzz(None, 5));
        check_parse("fuzz url --seconds 5", fuzz(Some("url"), 5));
        check_parse("fuzz --seconds 5 url", fuzz(Some("url"), 5));
        let number = Err("`--seconds` takes a whole number from 1");
        check_parse("fuzz --seconds", number);
        check_parse(
            "fuzz --seconds 0",
            Err("`--seconds` takes a whole number from 1"),
        );
        check_parse("fuzz url ids", Err("`fuzz` takes no `ids`"));
        check_parse("fuzz --jobs", Err("`fuzz` takes no `--jobs`"));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        check_parse("", Err("no command given"));
        check_parse("tset", Err("no command `tset`"));
        check_parse("ci --fast", Err("`ci` takes no `--fast`"));
        check_parse("bench", Err("`bench` takes the name of one"));
        check_parse("bench verfiy", Err("no bench `verfiy`"));
        let after_dashes = "`bench` takes no `2`; what the bench is given follows `--`";
        check_parse("bench verify 2", Err(after_dashes));
        check_parse(
            "test lane",
            Err("`test` takes no `lane`; a filter follows `--`"),
        );
    }
}
