//! Why the story did not end well.

use std::fmt;
use std::time::Duration;

use crate::client::ClientError;

/// The story did not end well.
#[derive(Debug)]
pub(super) enum DemoError {
    /// A part of it could not be started.
    Start(String),
    /// There is no key for the service.
    NoKey,
    /// A call failed.
    Call(&'static str, ClientError),
    /// The doors do not agree.
    Mismatch(String),
    /// It took longer than this.
    TooLong(Duration),
}

impl DemoError {
    pub(super) fn start(error: impl fmt::Display) -> Self {
        Self::Start(error.to_string())
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(what) => f.write_str(what),
            Self::NoKey => f.write_str("there is no key for the service"),
            Self::Call(call, error) => write!(f, "{call}: {error}"),
            Self::Mismatch(what) => write!(f, "the doors do not agree: {what}"),
            Self::TooLong(limit) => write!(f, "not done after {} s", limit.as_secs()),
        }
    }
}

impl std::error::Error for DemoError {}
