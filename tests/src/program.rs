//! The real program `notify`, started as a user would start it.
//!
//! It must have been built: `cargo xtask test` does that first.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program that does not run has failed its test"
)]

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Far longer than anything takes that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// A program that is running. It is killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed where errors and logs go.
    pub stderr: String,
}

impl Program {
    /// Starts `notify` with these arguments and nothing of this process's
    /// environment that it would take for a setting.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(notify(args, env))
    }

    /// Starts any other program.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Runs `notify` to its end.
    pub async fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
        Self::start(args, env).ended().await
    }

    /// Waits until it says where it listens.
    pub async fn address(&self) -> SocketAddr {
        let line = self.stderr_line("listening on http://").await;
        let (_, address) = line.split_once("http://").unwrap();
        address.parse().unwrap()
    }

    /// Waits until it says where it listens; `None` if it ends before that.
    pub async fn try_address(&self) -> Option<SocketAddr> {
        let lines = self.stderr.search("listening on http://", 1).await;
        let (_, address) = lines.first()?.split_once("http://")?;
        address.parse().ok()
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Waits until it has closed its output, which it does by ending.
    pub async fn closed(&self) {
        self.stderr.ended().await;
    }

    /// Waits for a line with `part` in it, where it prints.
    pub async fn stdout_line(&self, part: &str) -> String {
        self.stdout.wait_for(part, 1).await.remove(0)
    }

    /// Waits for so many lines with `part` in them, where it prints.
    pub async fn stdout_lines(&self, part: &str, count: usize) -> Vec<String> {
        self.stdout.wait_for(part, count).await
    }

    /// Waits for a line with `part` in it, where its errors and logs go.
    pub async fn stderr_line(&self, part: &str) -> String {
        self.stderr.wait_for(part, 1).await.remove(0)
    }

    /// The lines that it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.so_far()
    }

    /// Asks it to stop, as an operator does.
    ///
    /// # Panics
    /// If it has ended already.
    pub async fn terminate(&self) {
        // The standard library sends no signal but SIGKILL.
        let id = self.id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {id}")])
            .status();
        assert!(sent.await.expect("a shell").success());
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let status = match tokio::time::timeout(LONG, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it still runs: {:?} {:?}", self.stdout, self.stderr),
        };
        Ended {
            code: status.code(),
            stdout: self.stdout.all().await,
            stderr: self.stderr.all().await,
        }
    }

    /// Ends it as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// `notify` with these arguments, to be spawned, perhaps in a folder with a
/// settings file.
pub fn notify(args: &[&str], env: &[(&str, &str)]) -> Command {
    within(Command::new(path()), args, env)
}

/// As [`notify`], with so few files that it may have open, and no way to raise
/// that.
pub fn notify_with_open_files(files_max: u32, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -n {files_max} && exec \"$0\" \"$@\"");
    shell.args(["-c", &script]).arg(path());
    within(shell, args, env)
}

fn within(mut command: Command, args: &[&str], env: &[(&str, &str)]) -> Command {
    // Next to itself lies no settings file, and none of the variables that are
    // removed is meant for it.
    command.args(args).current_dir(path().parent().unwrap());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("NOTIFY_") {
            command.env_remove(name);
        }
    }
    command.envs(env.iter().copied());
    command
}

/// The same command in a shell that sets a limit first, such as `ulimit -n 256`.
pub fn under_shell(limit: &str, command: Command) -> Command {
    let command = command.as_std();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    like(&mut limited, command);
    limited
}

/// Has a wrapper's command run where another would, with its environment.
pub fn like(wrapper: &mut Command, command: &std::process::Command) {
    if let Some(dir) = command.get_current_dir() {
        wrapper.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
}

/// In the folder of this program's profile; tests are one folder deeper.
fn path() -> PathBuf {
    let own = env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    let profile = match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap(),
        _ => folder,
    };
    let program = profile.join(format!("notify{}", env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not there; run cargo xtask test",
        program.display()
    );
    program
}

/// What comes through a pipe, line by line.
#[derive(Debug)]
struct Lines {
    /// Those so far; closed at the pipe's end.
    so_far: watch::Receiver<Vec<String>>,
}

impl Lines {
    fn of(pipe: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (kept, so_far) = watch::channel(Vec::new());
        // It ends with the pipe, which is with the program.
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                kept.send_modify(|kept| kept.push(line));
            }
        });
        Self { so_far }
    }

    fn so_far(&self) -> Vec<String> {
        self.so_far.borrow().clone()
    }

    async fn wait_for(&self, part: &str, count: usize) -> Vec<String> {
        let found = self.search(part, count).await;
        let enough = found.len() >= count;
        assert!(
            enough,
            "not {count} lines with {part:?} in {:#?}",
            self.so_far()
        );
        found
    }

    /// Waits for so many lines with `part` in them; fewer if it ends first, or
    /// takes too long.
    async fn search(&self, part: &str, count: usize) -> Vec<String> {
        let mut so_far = self.so_far.clone();
        let mut found = Vec::new();
        let search = so_far.wait_for(|lines| {
            let matching = lines.iter().filter(|line| line.contains(part));
            found = matching.cloned().collect();
            found.len() >= count
        });
        let _ = tokio::time::timeout(LONG, search).await;
        found
    }

    /// Waits for the pipe's end.
    async fn ended(&self) {
        let mut so_far = self.so_far.clone();
        // Only fails, and that at the pipe's end.
        let _ = so_far.wait_for(|_| false).await;
    }

    async fn all(self) -> String {
        self.ended().await;
        self.so_far().join("\n")
    }
}
