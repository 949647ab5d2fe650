//! The data directory: who may use it, and what is in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::OpenError;

/// A data directory that this store has to itself.
#[derive(Debug)]
pub(crate) struct DataDir {
    files: Files,
    /// Locked for as long as it is open.
    _lock: File,
}

/// Where a data directory has its files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
}

impl DataDir {
    /// Makes the directory if there is none, and takes it.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        make_dir(dir).map_err(|error| OpenError::io(dir, error))?;
        let files = Files {
            dir: dir.to_owned(),
        };
        let lock_file = dir.join("notify.lock");
        let lock = private()
            .create(true)
            .truncate(false)
            .open(&lock_file)
            .map_err(|error| OpenError::io(&lock_file, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { files, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: files.dir }),
            Err(TryLockError::Error(error)) => Err(OpenError::io(&lock_file, error)),
        }
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Makes the database's file if there is none, and looks at one that is
    /// there before SQLite does: SQLite takes an empty file for a new database
    /// and throws its log away.
    pub(crate) fn prepare_database(&self) -> Result<(), OpenError> {
        let database = self.files.database();
        match private().create_new(true).open(&database) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(OpenError::io(&database, error)),
        }
        self.files.look()
    }
}

impl Files {
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("notify.db")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.dir.join("notify.db-wal")
    }

    /// Whether there is a database, as far as that can be told without opening it:
    /// closing any handle of its file ends the locks that this process has on it.
    pub(crate) fn find(&self) -> Result<(), OpenError> {
        let database = self.database();
        let found = fs::metadata(&database);
        let bytes = found
            .map_err(|error| OpenError::io(&database, error))?
            .len();
        let wal_bytes = fs::metadata(self.wal()).map_or(0, |wal| wal.len());
        if bytes > 0 || wal_bytes == 0 {
            return Ok(());
        }
        Err(OpenError::Damaged {
            file: database,
            what: "it is empty, but its log is not".into(),
        })
    }

    /// Whether the database's file can be one of SQLite's. Only for whoever is about
    /// to open it and has not yet.
    pub(crate) fn look(&self) -> Result<(), OpenError> {
        let database = self.database();
        let mut header = Vec::new();
        File::open(&database)
            .and_then(|file| file.take(HEADER.len() as u64).read_to_end(&mut header))
            .map_err(|error| OpenError::io(&database, error))?;
        let wal_bytes = fs::metadata(self.wal()).map_or(0, |wal| wal.len());
        let what = match (header.as_slice(), wal_bytes) {
            (HEADER, _) | ([], 0) => return Ok(()),
            ([], _) => "it is empty, but its log is not",
            _ => "its header is not one of SQLite",
        };
        Err(OpenError::Damaged {
            file: database,
            what: what.into(),
        })
    }
}

/// How much space the file system has left, asked for now and then.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    min_free_bytes: u64,
    probed_at: Option<Instant>,
    low: bool,
}

impl Space {
    pub(crate) fn new(files: &Files, min_free_bytes: u64) -> Self {
        Self {
            dir: files.dir.clone(),
            min_free_bytes,
            probed_at: None,
            low: false,
        }
    }

    /// Whether there is less than there should be, once the database has grown
    /// by the bytes that its log holds for it (`owed`).
    pub(crate) fn is_low(&mut self, owed: impl FnOnce() -> u64) -> bool {
        let outdated = |at: Instant| at.elapsed() >= PROBE_INTERVAL;
        if self.probed_at.is_none_or(outdated) {
            self.probed_at = Some(Instant::now());
            let left = free_bytes(&self.dir).map(|free| free.saturating_sub(owed()));
            let low = left.is_some_and(|left| left < self.min_free_bytes);
            if low && !self.low {
                tracing::warn!(dir = %self.dir.display(), "little space left; no events are accepted");
            }
            self.low = low;
        }
        self.low
    }
}

const HEADER: &[u8] = b"SQLite format 3\0";
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(unix)]
fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(dir)
}

/// Options for a file that only its owner may read. SQLite gives its other files
/// the permissions of the database.
#[cfg(unix)]
pub(crate) fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(not(unix))]
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// How many bytes the file system has left, if it says so.
#[cfg(unix)]
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn free_bytes(_dir: &Path) -> Option<u64> {
    None
}
