//! How a command runs and ends.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Success,
    /// It did not.
    Failure,
    /// Wrong usage or settings; nothing was begun.
    Usage,
    /// The data directory can't be used.
    DataDir,
    /// The store has failed.
    StoreFailed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::DataDir => 3,
            Exit::StoreFailed => 4,
        })
    }
}

/// Why a command stopped before its end.
pub(crate) struct Stop {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Stop {
    pub(crate) fn usage(message: impl ToString) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.to_string(),
        }
    }

    pub(crate) fn failure(message: impl ToString) -> Self {
        Self {
            exit: Exit::Failure,
            message: message.to_string(),
        }
    }
}

/// Runs a command's future. What is still running when it ends is dropped.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failure(format!("no runtime on this system: {error}")))?;
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(output)
}
