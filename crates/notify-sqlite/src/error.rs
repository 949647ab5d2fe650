//! What can go wrong: at opening, for the operator; while working, for callers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use notify_core::ledger::Found;
use notify_core::store::StoreError;
use rusqlite::ErrorCode;

/// Why a data directory could not be opened. Nothing in it was overwritten.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process (or another store of this one) has it open.
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file or directory can't be made, read or written.
    Io {
        /// The file or directory.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A later version of this program wrote it.
    Newer {
        /// The database.
        file: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An earlier version wrote it, and there is not enough space to bring it to this
    /// one: it takes a copy of it, a log and new tables.
    NoSpace {
        /// The database.
        file: PathBuf,
        /// How many bytes it takes, at most.
        needed_bytes: u64,
        /// How many bytes are free.
        free_bytes: u64,
    },
    /// The database is not as this program wrote it.
    Damaged {
        /// The database.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The SQLite library is older than [`SQLITE_VERSION_MIN`](crate::SQLITE_VERSION_MIN).
    SqliteTooOld {
        /// Its version.
        found: &'static str,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { dir } => write!(
                f,
                "{}: in use by another process; stop it, or name another data directory",
                dir.display()
            ),
            Self::Io { file, .. } => write!(
                f,
                "{}: can't be used; check that it exists, is writable and belongs to this user",
                file.display()
            ),
            Self::Newer { file, found, known } => write!(
                f,
                "{}: written by a later version (schema {found}, this program knows {known}); \
                 start that version",
                file.display()
            ),
            Self::NoSpace {
                file,
                needed_bytes,
                free_bytes,
            } => write!(
                f,
                "{}: written by an earlier version; to bring it to this one takes \
                 {needed_bytes} bytes of free space, and there are {free_bytes}",
                file.display()
            ),
            Self::Damaged { file, what } => write!(
                f,
                "{}: damaged: {what}; keep a copy, and restore it from a backup",
                file.display()
            ),
            Self::SqliteTooOld { found } => write!(
                f,
                "SQLite {found} can corrupt its log; 3.51.3 or later is needed"
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl OpenError {
    pub(crate) fn io(file: &Path, source: io::Error) -> Self {
        Self::Io {
            file: file.to_owned(),
            source,
        }
    }

    /// What a fault while opening `file` is to the operator.
    pub(crate) fn fault(file: &Path, fault: Fault) -> Self {
        match fault {
            Fault::Damaged(what) => Self::Damaged {
                file: file.to_owned(),
                what,
            },
            Fault::Sql(error) => Self::io(file, io::Error::other(error)),
        }
    }
}

/// What went wrong in the middle of an operation.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite could not do it.
    Sql(rusqlite::Error),
    /// A row is not as it was written; it is named.
    Damaged(String),
}

impl Fault {
    /// A row that is not as it was written.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// What is known of a row, if it could be read at all.
    pub(crate) fn found<T>(row: Result<Option<T>, Self>) -> Result<Found<T>, Self> {
        match row {
            Ok(row) => Ok(row.into()),
            Err(Self::Damaged(name)) => {
                tracing::error!(row = name, "damaged");
                Ok(Found::Damaged(name))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether there was no space to write to.
    pub(crate) fn is_full(&self) -> bool {
        self.code() == Some(ErrorCode::DiskFull)
    }

    /// Whether someone else holds the database, so that nothing was done.
    pub(crate) fn is_busy(&self) -> bool {
        let code = self.code();
        matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }

    /// Whether the disk has failed; what it holds is not known any more.
    pub(crate) fn is_io(&self) -> bool {
        self.code() == Some(ErrorCode::SystemIoFailure)
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sql(error) => error.sqlite_error_code(),
            Self::Damaged(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        let damaged = matches!(
            error,
            FromSqlConversionFailure(..)
                | IntegralValueOutOfRange(..)
                | InvalidColumnType(..)
                | Utf8Error(..)
        ) || matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        );
        if damaged {
            Self::Damaged(error.to_string())
        } else {
            Self::Sql(error)
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        if fault.is_full() {
            return Self::Full;
        }
        if fault.is_busy() {
            return Self::NotNow;
        }
        tracing::error!(%fault, "the store");
        match fault {
            Fault::Damaged(row) => Self::Damaged(row),
            Fault::Sql(error) => Self::Failed(error.to_string()),
        }
    }
}
