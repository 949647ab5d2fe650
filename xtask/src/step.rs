//! One child process: announced, streamed through, timed.

use std::io::{self, Read, Write};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::tally::Tally;

/// A command with the name that people see.
pub(crate) struct Step {
    name: String,
    command: Command,
}

impl Step {
    /// A step that starts `command`.
    pub(crate) fn new(name: impl Into<String>, mut command: Command) -> Step {
        // `cargo run` describes this package to this process. Handed on, those
        // variables would make every build script that watches one of them run
        // again, here and at the next plain `cargo test`.
        for (variable, _) in env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        Step {
            name: name.into(),
            command,
        }
    }

    /// A step that starts `cargo` with these arguments.
    pub(crate) fn cargo(name: &str, arguments: &[&str]) -> Step {
        let mut command = Command::new("cargo");
        command.args(arguments);
        Step::new(name, command)
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, arguments: &[String]) -> Step {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, variable: &str, value: &str) -> Step {
        self.command.env(variable, value);
        self
    }

    /// The name that people see.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs to the end and says whether it succeeded. What it prints goes
    /// straight to this program's own output.
    pub(crate) fn run(&mut self) -> bool {
        self.timed(|command| command.status().map(|status| status.success()))
    }

    /// Runs a command that closes each of its test binaries with a
    /// `test result:` line, and returns their sum.
    ///
    /// What it prints is passed on as it comes. A run that fails without a
    /// failed test counts as one failure.
    pub(crate) fn run_tests(&mut self) -> Tally {
        let mut tally = Tally::default();
        let succeeded = self.timed(|command| {
            let (status, counted) = stream(command, OUTPUT_END_WAIT_MAX)?;
            tally = counted;
            Ok(status.success())
        });
        tally.or_failed(succeeded)
    }

    fn timed(&mut self, run: impl FnOnce(&mut Command) -> io::Result<bool>) -> bool {
        println!("== {}", self.name);
        let started = Instant::now();
        let succeeded = run(&mut self.command).unwrap_or_else(|error| {
            let program = self.command.get_program().to_string_lossy();
            eprintln!("{program}: {error}");
            false
        });
        let outcome = if succeeded { "ok" } else { "FAILED" };
        let seconds = started.elapsed().as_secs_f64();
        println!("== {}: {outcome}, {seconds:.1} s", self.name);
        succeeded
    }
}

/// Runs `command`, passing its standard output on and counting it. Once it has
/// ended, its output must end within `wait_max`.
fn stream(command: &mut Command, wait_max: Duration) -> io::Result<(ExitStatus, Tally)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let counted = child.stdout.take().map(count_in_background);
    let status = child.wait()?;
    let tally = match counted.map(|counted| counted.recv_timeout(wait_max)) {
        Some(Ok(tally)) => tally?,
        // A grandchild still holds the pipe. Reading on would wait for as long
        // as it lives, so a program that a test forgot would stop CI for good.
        _ => return Err(io::Error::other("a test left a program of its own running")),
    };
    Ok((status, tally))
}

fn count_in_background(mut output: ChildStdout) -> mpsc::Receiver<io::Result<Tally>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more once the wait above has run out.
        let _ = sender.send(pass_on(&mut output, &mut io::stdout()));
    });
    receiver
}

/// Copies `from` to `to` as it comes, also within a line, and adds up the
/// closing lines that go by.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(tally),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = buffer.get(..length).unwrap_or_default();
        to.write_all(chunk)?;
        to.flush()?;
        for &byte in chunk {
            if byte == b'\n' {
                tally += Tally::from_line(&String::from_utf8_lossy(&line)).unwrap_or_default();
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
}

/// How long the output may stay open after the command itself has ended.
const OUTPUT_END_WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step::new("a script", command)
    }

    #[test]
    fn output_is_passed_on_unchanged_and_its_closing_lines_are_added_up() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 1 ignored; \n\
                      \u{1b}[1mtext\r\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\nno end";
        let mut copy = Vec::new();
        // One byte at a time is the worst a pipe can do.
        let mut from = ByteByByte(output.as_bytes());
        let tally = pass_on(&mut from, &mut copy).unwrap();
        assert_eq!(copy, output.as_bytes());
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_run_that_fails_without_a_failed_test_counts_as_one_failure() {
        assert_eq!(shell("exit 101").run_tests(), Tally::ONE_FAILED);
        assert_eq!(shell("exit 0").run_tests(), Tally::default());
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let mut step = Step::new("nothing", Command::new("no-such-program-anywhere"));
        assert!(!step.run());
        assert_eq!(step.run_tests(), Tally::ONE_FAILED);
    }

    #[test]
    fn a_program_that_a_test_forgot_is_a_failure_and_not_a_wait() {
        // The shell ends at once; what it started holds the output open.
        let mut step = shell("sleep 2 &");
        let ended = stream(&mut step.command, Duration::from_millis(10));
        assert!(ended.is_err());
    }

    #[test]
    fn a_cargo_step_does_not_pass_this_package_on() {
        let step = Step::cargo("version", &["--version"]);
        let removed = step
            .command
            .get_envs()
            .any(|(name, value)| name == "CARGO_PKG_NAME" && value.is_none());
        assert!(removed);
    }

    struct ByteByByte<'a>(&'a [u8]);

    impl Read for ByteByByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (self.0.split_first(), buffer.first_mut()) {
                (Some((&byte, rest)), Some(slot)) => {
                    *slot = byte;
                    self.0 = rest;
                    Ok(1)
                }
                _ => Ok(0),
            }
        }
    }
}
