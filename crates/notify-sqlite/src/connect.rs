//! Connections to the database: one that writes, a few that read.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Fault, OpenError};
use crate::files::{DataDir, Files, free_bytes};
use crate::options::{SqliteOptions, Synchronous};
use crate::{migrate, schema, wal};

/// The oldest SQLite that may be used: earlier ones can corrupt the log when two
/// connections write and checkpoint at once (the "WAL-reset bug").
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS_MAX: usize = 96;

/// What the writer may cache of the database, in KiB.
const CACHE_KIB: i64 = 16 * 1024;

/// What the log is cut to when it begins anew, in bytes.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// How long opening waits for someone else who holds the database.
pub(crate) const OPENING_WAIT: Duration = Duration::from_secs(5);

/// How long work does: everyone else's waits behind it.
pub(crate) const WORKING_WAIT: Duration = Duration::from_millis(100);

/// Opens the database for writing, and makes it if there is none.
pub(crate) fn writer(dir: &DataDir, options: &SqliteOptions) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::SqliteTooOld {
            found: rusqlite::version(),
        });
    }
    dir.prepare_database()?;
    warn_of_a_cut(&dir.files().wal());
    let file = dir.files().database();
    let mut conn = open(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|fault| OpenError::fault(&file, fault))?;
    let found = admit(&conn, &file)?;
    prepare(&conn, options.synchronous).map_err(|fault| OpenError::fault(&file, fault))?;
    if found == migrate::OLD_VERSION {
        let free_bytes = free_bytes(&dir.files().dir);
        migrate::migrate(&mut conn, dir.files(), options.canonical, free_bytes)?;
    }
    Ok(conn)
}

/// Opens the database for reading only; it may be of an earlier version, which is
/// said.
pub(crate) fn reader(files: &Files) -> Result<(Connection, i64), OpenError> {
    let file = files.database();
    let conn = open(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|fault| OpenError::fault(&file, fault))?;
    let found = admit(&conn, &file)?;
    Ok((conn, found))
}

/// Opens a database that the writer has opened, to fold in its log.
pub(crate) fn folder(files: &Files, synchronous: Synchronous) -> Result<Connection, OpenError> {
    let file = files.database();
    open(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .and_then(|conn| {
            settle(&conn, synchronous)?;
            Ok(conn)
        })
        .map_err(|fault| OpenError::fault(&file, fault))
}

/// Says what SQLite will not say: that it drops the end of its log. Whether the
/// database can be opened is for SQLite to judge.
fn warn_of_a_cut(file: &Path) {
    let name = file.display();
    match wal::look(file) {
        Ok(log) if log.headless => tracing::warn!(
            file = %name,
            "the log's header is damaged; what was only in the log, if anything, is lost",
        ),
        Ok(log) if log.cut > 0 => tracing::warn!(
            file = %name,
            pages_kept = log.kept,
            pages_cut = log.cut,
            "the log is cut: behind its last whole commit stands one that was never finished, \
             or that is damaged",
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(file = %name, %error, "the log can't be looked at"),
    }
}

fn open(file: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let conn = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // A clean close checkpoints of its own accord; any other leaves things as
    // they are.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
    )?;
    conn.busy_timeout(OPENING_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(conn)
}

/// Checks, before anything is changed, that the database is one to work with; its
/// version.
fn admit(conn: &Connection, file: &Path) -> Result<i64, OpenError> {
    let fault = |fault| OpenError::fault(file, fault);
    let found = schema::version(conn).map_err(fault)?;
    if found > schema::VERSION {
        return Err(OpenError::Newer {
            file: file.to_owned(),
            found,
            known: schema::VERSION,
        });
    }
    let is_new = found == 0 && schema::is_empty(conn).map_err(fault)?;
    if is_new && !conn.is_readonly("main").unwrap_or(true) {
        return Ok(found);
    }
    let verified = match found {
        migrate::OLD_VERSION => migrate::verify(conn),
        _ => schema::verify(conn),
    };
    verified.map(|()| found).map_err(fault)
}

/// How a connection flushes. It folds nothing in of its own accord.
fn settle(conn: &Connection, synchronous: Synchronous) -> Result<(), Fault> {
    conn.pragma_update(None, "synchronous", synchronous.pragma())?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(())
}

fn prepare(conn: &Connection, synchronous: Synchronous) -> Result<(), Fault> {
    let is_new = schema::is_empty(conn)?;
    if is_new {
        conn.execute_batch(schema::BIRTH)?;
    }
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::damaged(format!(
            "its journal mode is {mode}, not wal"
        )));
    }
    settle(conn, synchronous)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    if is_new {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        schema::create(conn)?;
        crate::rows::MetaRow::NEW.store(conn)?;
        conn.execute_batch("COMMIT")?;
    }
    Ok(())
}
