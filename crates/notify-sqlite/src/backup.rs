//! A whole copy of a data directory's database, also beside the process that has
//! it open.
//!
//! SQLite writes the copy from one state of the database (`VACUUM INTO`), however
//! much is written meanwhile, and leaves out what is free. It appears under its
//! name once it is on the disk, or not at all.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::{Fault, OpenError};
use crate::files::{Files, private};
use crate::schema;

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
    let source = crate::connect::reader(&files).map_err(BackupError::Open)?;
    copy(&source, to).map_err(|source| BackupError::Io {
        file: to.to_owned(),
        source,
    })
}

fn copy(source: &Connection, to: &Path) -> io::Result<u64> {
    let partial = Partial::of(to)?;
    let name = partial.file.to_str();
    let name = name.ok_or_else(|| io::Error::other("its name must be UTF-8 text"))?;
    source
        .execute("VACUUM INTO ?1", [name])
        .map_err(io::Error::other)?;
    prove(&partial.file).map_err(|fault| io::Error::other(fault.to_string()))?;
    let copy = File::open(&partial.file)?;
    copy.sync_all()?;
    let bytes = copy.metadata()?.len();
    fs::rename(&partial.file, to)?;
    File::open(&partial.dir)?.sync_all()?;
    Ok(bytes)
}

/// Whether a copy is one to start on.
fn prove(copy: &Path) -> Result<(), Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(copy, flags)?;
    if schema::version(&copy)? == schema::VERSION {
        schema::verify(&copy)
    } else {
        Err(Fault::damaged("the copy has another version"))
    }
}

/// A copy in the making, beside where it is to be; removed when it is dropped.
struct Partial {
    dir: PathBuf,
    file: PathBuf,
}

impl Partial {
    fn of(to: &Path) -> io::Result<Self> {
        let name = to
            .file_name()
            .ok_or_else(|| io::Error::other("this names no file"))?;
        let dir = match to.parent() {
            Some(dir) if dir != Path::new("") => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut partial = OsString::from(name);
        partial.push(format!(".partial-{}", std::process::id()));
        let file = dir.join(partial);
        // SQLite takes an empty file and its permissions.
        private().create_new(true).open(&file)?;
        Ok(Self { dir, file })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has its name by now, or is of no use.
        let _ = fs::remove_file(&self.file);
    }
}
