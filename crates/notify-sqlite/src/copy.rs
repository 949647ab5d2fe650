//! Writing a whole copy of a database.
//!
//! SQLite writes it from one state of the database (`VACUUM INTO`), however much is
//! written meanwhile, and leaves out what is free. It appears under its name once it
//! is on the disk, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;
use crate::files::private;

/// Copies a database into the file `to`, whatever is there, if the copy can be
/// `proved` to be one; how many bytes it has.
pub(crate) fn copy(
    source: &Connection,
    to: &Path,
    proved: impl FnOnce(&Connection) -> Result<(), Fault>,
) -> io::Result<u64> {
    let partial = Partial::of(to)?;
    let name = partial.file.to_str();
    let name = name.ok_or_else(|| io::Error::other("its name must be UTF-8 text"))?;
    source
        .execute("VACUUM INTO ?1", [name])
        .map_err(io::Error::other)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(&partial.file, flags)
        .map_err(Fault::from)
        .and_then(|copy| proved(&copy))
        .map_err(|fault| io::Error::other(fault.to_string()))?;
    let copy = File::open(&partial.file)?;
    copy.sync_all()?;
    let bytes = copy.metadata()?.len();
    fs::rename(&partial.file, to)?;
    File::open(&partial.dir)?.sync_all()?;
    Ok(bytes)
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
