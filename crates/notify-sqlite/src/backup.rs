//! A whole copy of a data directory's database, also beside the process that has
//! it open.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::copy::copy;
use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::{migrate, schema};

/// Why there is no copy. Nothing is left behind; only a process that is ended in
/// the middle leaves a file whose name ends in `.partial-` and a number.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The data directory can't be used.
    Open(OpenError),
    /// There is such a file already; it was left as it is.
    Exists {
        /// The copy's file.
        file: PathBuf,
    },
    /// The copy can't be written.
    Io {
        /// The copy's file.
        file: PathBuf,
        /// What the operating system or SQLite says.
        source: io::Error,
    },
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Exists { file } => write!(
                f,
                "{}: there is such a file already; name another one",
                file.display()
            ),
            Self::Io { file, source } => write!(f, "{}: {source}", file.display()),
        }
    }
}

impl std::error::Error for BackupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => error.source(),
            Self::Exists { .. } | Self::Io { .. } => None,
        }
    }
}

/// Copies the database of the data directory `dir` into the file `to`, which only
/// this user may read; says how many bytes it has.
///
/// All that was acknowledged before the call is in it. It becomes a data directory
/// by being the file `notify.db` of an empty one.
///
/// # Errors
/// [`BackupError`]; then there is no copy.
pub fn backup(dir: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64, BackupError> {
    let (files, to) = (Files::at(dir.as_ref()), to.as_ref());
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists {
            file: to.to_owned(),
        });
    }
    files.find().map_err(BackupError::Open)?;
    let (source, _) = crate::connect::reader(&files).map_err(BackupError::Open)?;
    copy(&source, to, prove).map_err(|source| BackupError::Io {
        file: to.to_owned(),
        source,
    })
}

/// Whether a copy is one to start on.
fn prove(copy: &Connection) -> Result<(), Fault> {
    match schema::version(copy)? {
        schema::VERSION => schema::verify(copy),
        migrate::OLD_VERSION => migrate::verify(copy),
        _ => Err(Fault::damaged("the copy has another version")),
    }
}
