//! Why a server does not start, or does not stop in order.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use notify_hub::{ConfigInvalid, Failure, OpenError};

use crate::settings::API_KEY_BYTES_MIN;

/// Settings with which no server may start.
#[derive(Debug)]
pub(crate) enum ServeRefused {
    /// Others could reach the server, and there is no key to tell who may.
    KeyMissing(SocketAddr),
    /// Others could reach the server, and with it what listens on this machine.
    AllowLoopback(SocketAddr),
    /// A setting of the notifier is wrong.
    Config(ConfigInvalid),
}

impl fmt::Display for ServeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMissing(listen) => write!(
                f,
                "api_key: must be set to listen at {listen}, which others can reach \
                 (NOTIFY_API_KEY, at least {} bytes)",
                API_KEY_BYTES_MIN
            ),
            Self::AllowLoopback(listen) => write!(
                f,
                "--allow-loopback: only when listening on loopback, not at {listen}"
            ),
            Self::Config(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for ServeRefused {}

/// Why a server did not start, or did not stop in order.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The data directory can't be used.
    Open(OpenError),
    /// The file with the API key's hash can't be used.
    KeyFile(PathBuf, io::Error),
    /// No key can be made.
    NoRandomness,
    /// The store or a part of the notifier has failed.
    Failed(Failure),
    /// It can't listen there.
    Bind(SocketAddr, io::Error),
    /// It can't tell where it listens.
    Address(io::Error),
    /// It can't be told to stop.
    Signals(io::Error),
    /// A second signal came.
    Interrupted,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "{error} ({source})"),
                None => error.fmt(f),
            },
            Self::KeyFile(file, error) => write!(f, "{}: {error}", file.display()),
            Self::NoRandomness => f.write_str("the system gives no random bytes for an API key"),
            Self::Failed(failure) => write!(
                f,
                "{failure}; what was acknowledged is kept, start again once it is mended"
            ),
            Self::Bind(listen, error) => write!(f, "cannot listen at {listen}: {error}"),
            Self::Address(error) => write!(f, "cannot tell where it listens: {error}"),
            Self::Signals(error) => write!(f, "cannot wait for signals: {error}"),
            Self::Interrupted => f.write_str("stopped by a second signal"),
        }
    }
}

impl std::error::Error for ServeError {}
