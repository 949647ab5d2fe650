//! The commands and their flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use notify_sqlite::BackupError;

use crate::exit::{Exit, Stop, block_on};
use crate::listen::{self, ListenOptions};
use crate::serve::{self, Keep, ServeError};
use crate::settings::{ServerConfig, Sources};
use crate::{check_url, demo, logs, print};

/// Runs the program `notify` with these arguments (the program's name first) and
/// this environment.
///
/// The exit code is 0 if all went well, 1 if it did not, 2 for wrong usage or
/// settings, 3 for a data directory that can't be used, and 4 for a store that
/// failed.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version come this way too, with exit code 0.
        Err(error) => {
            let shown = print::escaped_lines(&error.render().to_string());
            match error.use_stderr() {
                true => print::error(shown.trim_end()),
                false => print::line(shown.trim_end()),
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = text_of(env).and_then(|env| match cli.command {
        Command::Demo => demo::run(),
        Command::Serve(args) => args.run(env),
        Command::Listen(args) => args.run(&env),
        Command::CheckUrl(args) => args.run(env),
        Command::Check(args) => args.run(),
        Command::Backup(args) => args.run(),
    });
    let exit = outcome.unwrap_or_else(|stop| {
        print::error(&format!("notify: {}", stop.message));
        stop.exit
    });
    exit.into()
}

#[derive(Parser)]
#[command(
    name = "notify",
    version,
    about = "Tells customers how their jobs go: signed webhooks and resumable streams"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole story on this machine, in a few seconds
    Demo,
    /// Run the server
    Serve(ServeArgs),
    /// Receive webhooks on this machine, verify and print them
    Listen(ListenArgs),
    /// Say whether webhooks may go to a URL, and why not
    CheckUrl(CheckUrlArgs),
    /// Scan a whole data directory, also beside the server that uses it
    Check(CheckArgs),
    /// Copy a data directory's database, also beside the server that uses it
    Backup(BackupArgs),
}

/// Settings come from flags, NOTIFY_… variables and a file, in this order.
#[derive(Args)]
struct ServeArgs {
    /// The settings file; ./notify.toml is read if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where to keep everything; not used with --in-memory [default: ./notify-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Keep everything in memory; a restart forgets it
    #[arg(long)]
    in_memory: bool,
    /// Let webhooks go to this machine; only when listening on loopback
    #[arg(long)]
    allow_loopback: bool,
}

impl ServeArgs {
    fn run(self, env: Vec<(String, String)>) -> Result<Exit, Stop> {
        let file = settings_file(self.config)?;
        let flags = [
            ("listen", "--listen", self.listen),
            ("data_dir", "--data-dir", self.data_dir),
        ];
        let set = flags
            .into_iter()
            .filter_map(|(key, flag, value)| Some((key, flag, value?)));
        let sources = Sources {
            file,
            env,
            flags: set.collect(),
        };
        let config = ServerConfig::load(sources).map_err(Stop::usage)?;
        let keep = if self.in_memory {
            Keep::InMemory
        } else {
            Keep::In(config.data_dir.clone())
        };
        let config = serve::prepare(config, keep, self.allow_loopback).map_err(Stop::usage)?;
        logs::init(config.log_format);
        block_on(serve::run(config))?.map_err(|error| Stop {
            exit: match error {
                ServeError::Open(_) | ServeError::KeyFile(..) => Exit::DataDir,
                ServeError::Failed(_) => Exit::StoreFailed,
                _ => Exit::Failure,
            },
            message: error.to_string(),
        })?;
        Ok(Exit::Success)
    }
}

/// Without a secret, webhooks are shown but marked as unverified.
#[derive(Args)]
struct ListenArgs {
    /// Where to listen on 127.0.0.1; 0 takes any free port
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The secret that webhooks are signed with; better in NOTIFY_SECRET
    #[arg(long)]
    secret: Option<String>,
    /// Answer 500 to the first N webhooks
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail: u32,
    /// Wait so long before each answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
}

impl ListenArgs {
    fn run(self, env: &[(String, String)]) -> Result<Exit, Stop> {
        let from_env = || {
            let mut variables = env.iter();
            variables.find_map(|(name, value)| (name == "NOTIFY_SECRET").then(|| value.clone()))
        };
        let options = ListenOptions {
            port: self.port,
            secret: self.secret.or_else(from_env),
            fail_first: self.fail,
            delay: Duration::from_millis(self.delay_ms),
        };
        let listen = listen::prepare(options).map_err(Stop::usage)?;
        block_on(listen::run(listen))?.map_err(Stop::failure)?;
        Ok(Exit::Success)
    }
}

/// Judges by the settings of the server: the same file, the same variables.
#[derive(Args)]
struct CheckUrlArgs {
    /// The URL as a customer wrote it
    url: String,
    /// The settings file; ./notify.toml is read if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge only what needs no name to be resolved
    #[arg(long)]
    no_resolve: bool,
}

impl CheckUrlArgs {
    fn run(self, env: Vec<(String, String)>) -> Result<Exit, Stop> {
        let sources = Sources {
            file: settings_file(self.config)?,
            env,
            flags: Vec::new(),
        };
        let config = ServerConfig::load(sources).map_err(Stop::usage)?;
        check_url::run(&self.url, &config.notifier.egress, !self.no_resolve)
    }
}

/// Reads everything and changes nothing.
#[derive(Args)]
struct CheckArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "./notify-data")]
    data_dir: PathBuf,
}

impl CheckArgs {
    fn run(self) -> Result<Exit, Stop> {
        let report = notify_sqlite::check(&self.data_dir).map_err(|error| Stop {
            exit: Exit::DataDir,
            message: error.to_string(),
        })?;
        print::line(&format!(
            "{} jobs, {} events, {} deliveries pending, {} attempts, {} dead letters, {} endpoints",
            report.jobs,
            report.events,
            report.pending_deliveries,
            report.attempts,
            report.dead_letters,
            report.endpoints
        ));
        for problem in &report.problems {
            print::line(&print::escaped(problem));
        }
        print::line(&format!("{} problems", report.problems_found));
        Ok(if report.is_sound() {
            Exit::Success
        } else {
            Exit::Failure
        })
    }
}

/// The copy is whole, up to when the command was given. To restore it, put it into
/// an empty directory as notify.db and start the server on that.
#[derive(Args)]
struct BackupArgs {
    /// The copy; a file that is there already is left as it is
    file: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "./notify-data")]
    data_dir: PathBuf,
}

impl BackupArgs {
    fn run(self) -> Result<Exit, Stop> {
        let bytes = notify_sqlite::backup(&self.data_dir, &self.file).map_err(|error| Stop {
            exit: match error {
                BackupError::Open(_) => Exit::DataDir,
                BackupError::Exists { .. } => Exit::Usage,
                _ => Exit::Failure,
            },
            message: error.to_string(),
        })?;
        let file = print::escaped(&self.file.display().to_string());
        print::line(&format!("{file}: {bytes} bytes"));
        Ok(Exit::Success)
    }
}

/// The settings file's name and text. One that was not asked for need not be
/// there.
fn settings_file(asked_for: Option<PathBuf>) -> Result<Option<(String, String)>, Stop> {
    let path = asked_for.clone().unwrap_or_else(|| "notify.toml".into());
    let name = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((name, text))),
        Err(error) if asked_for.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(Stop::usage(format!("{name}: {error}"))),
    }
}

/// The variables that concern this program, as text.
fn text_of(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Stop> {
    let ours = env.into_iter().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        name.starts_with("NOTIFY_").then_some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(Stop::usage(format!("{name}: must be UTF-8 text"))),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
