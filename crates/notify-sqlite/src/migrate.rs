//! Bringing a database of an earlier version to this one, at opening.
//!
//! First a copy is made beside it, which is kept: whoever wants to go back starts the
//! earlier program on that. Then everything is carried over in one transaction, so
//! that a process that is killed at any moment leaves the one version or the other,
//! whole.
//!
//! A row that is damaged is carried over as one, so that it is refused by name as
//! before. One that can't be read at all, or has another's place, is left in the copy
//! alone, and the log says so.

mod deliveries;
mod endpoints;
mod letters;
mod version_1;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use crate::copy;
use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::options::Canonical;
use crate::rows::{Counts, EventRow, JobRow, MetaRow, Record, number, signed, unsigned};
use crate::schema;

use endpoints::ENDPOINT;

#[cfg(test)]
pub(crate) use version_1::respell;
pub(crate) use version_1::{OLD_TABLES, OldTable, scan, verify};

/// The version that is brought to this one.
pub(crate) const OLD_VERSION: i64 = 1;

/// Copies the database, which is of [`OLD_VERSION`], and brings it to this one, if
/// there is enough space.
pub(crate) fn migrate(
    conn: &mut Connection,
    files: &Files,
    canonical: Option<Canonical>,
    free_bytes: Option<u64>,
) -> Result<(), OpenError> {
    let database = files.database();
    let fault = |fault| OpenError::fault(&database, fault);
    let pages = number(conn, "PRAGMA page_count", []).map_err(fault)?;
    let bytes = unsigned(pages.unwrap_or_default()).saturating_mul(PAGE_BYTES);
    let needed_bytes = bytes.saturating_mul(COPIES);
    if let Some(free_bytes) = free_bytes.filter(|free_bytes| *free_bytes < needed_bytes) {
        return Err(OpenError::NoSpace {
            file: database,
            needed_bytes,
            free_bytes,
        });
    }
    let copy = copy_of(files);
    let copied = clear_partial(&files.dir).and_then(|()| copy::copy(conn, &copy, verify));
    copied.map_err(|error| OpenError::io(&copy, error))?;
    let name = copy.display();
    tracing::info!(copy = %name, "of an earlier version; it is copied, and brought to this one");
    carry_over(conn, canonical).map_err(fault)
}

/// Where the copy of an earlier version is.
pub(crate) fn copy_of(files: &Files) -> PathBuf {
    files.dir.join("notify.db.v1-backup")
}

/// Removes what a process has left that was killed while it copied.
fn clear_partial(dir: &Path) -> io::Result<()> {
    for file in fs::read_dir(dir)? {
        let file = file?;
        let name = file.file_name();
        let is_partial = |name: &str| name.starts_with("notify.db.v1-backup.partial-");
        if name.to_str().is_some_and(is_partial) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// The copy, the log and the new tables each take as much as there is, at most.
const COPIES: u64 = 3;

/// As the database was made ([`schema::BIRTH`]).
const PAGE_BYTES: u64 = 4_096;

/// Carries everything over, in one transaction.
pub(crate) fn carry_over(conn: &mut Connection, canonical: Option<Canonical>) -> Result<(), Fault> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let carrying = Carrying { conn: &transaction };
    carrying.make_room()?;
    carrying.meta()?;
    carrying.endpoints(canonical)?;
    carrying.jobs()?;
    carrying.events()?;
    carrying.deliveries()?;
    carrying.letters()?;
    carrying.clear()?;
    transaction.commit()?;
    Ok(())
}

/// The old tables beside the new ones.
struct Carrying<'a> {
    conn: &'a Connection,
}

/// A row's new key: a condition, and what it compares with.
type Key = (&'static str, Vec<i64>);

impl Carrying<'_> {
    /// Sets the old tables aside, and makes the new ones.
    fn make_room(&self) -> Result<(), Fault> {
        for old in OLD_TABLES.iter().filter(|old| !old.is_kept()) {
            let name = old.name;
            let sql = format!("ALTER TABLE {name} RENAME TO old_{name}");
            self.conn.execute_batch(&sql)?;
        }
        for index in version_1::OLD_INDEXES {
            self.conn.execute_batch(&format!("DROP INDEX {index}"))?;
        }
        for (name, sql) in schema::TABLES {
            let mut kept = OLD_TABLES.iter().filter(|old| old.is_kept());
            if !kept.any(|old| old.name == *name) {
                self.conn.execute_batch(sql)?;
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), Fault> {
        for old in OLD_TABLES.iter().filter(|old| !old.is_kept()) {
            let sql = format!("DROP TABLE old_{}", old.name);
            self.conn.execute_batch(&sql)?;
        }
        self.conn.execute_batch("DROP TABLE old_united")?;
        let version = schema::VERSION;
        self.conn.pragma_update(None, "user_version", version)?;
        Ok(())
    }

    /// What was counted is counted anew at opening.
    fn meta(&self) -> Result<(), Fault> {
        let mut meta = None;
        let sql = format!("SELECT {} FROM old_meta", version_1::META.columns);
        let mut statement = self.conn.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if version_1::META.is_sound(row, 0)? {
                meta = Some(MetaRow {
                    next_number: row.get(1)?,
                    counts: Counts::default(),
                    exact: false,
                });
            }
        }
        let meta = meta.ok_or_else(|| Fault::damaged("meta: bad CRC, or missing"))?;
        meta.store(self.conn)
    }

    fn jobs(&self) -> Result<(), Fault> {
        let columns = format!(
            "id, job_id, epoch, sequence, status, token, {ENDPOINT}, filter, created_at,
             updated_at, ended_at, 0"
        );
        self.each(version_1::JOBS, &columns, |job: JobRow| {
            job.insert(self.conn, true)?;
            Ok(("id = ?1", vec![job.number]))
        })
    }

    /// When an event was accepted was not written down: no later than its job was last
    /// heard of.
    fn events(&self) -> Result<(), Fault> {
        let columns = "job, sequence, kind, status,
             sum(kind <> 0) OVER (PARTITION BY job ORDER BY sequence),
             coalesce((SELECT updated_at FROM jobs WHERE jobs.id = old_events.job), 0), json, 0";
        self.each(version_1::EVENTS, columns, |event: EventRow| {
            event.insert(self.conn)?;
            let key = vec![event.job, signed(event.sequence)];
            Ok(("job = ?1 AND sequence = ?2", key))
        })
    }

    /// Carries over each row of a table. `columns` are those of the new row, as they
    /// are had from the old one; `carry` says under which key it stands now.
    fn each<R: Record>(
        &self,
        old: OldTable,
        columns: &str,
        mut carry: impl FnMut(R) -> Result<Key, Fault>,
    ) -> Result<(), Fault> {
        let sql = format!("SELECT {columns}, {} FROM old_{}", old.columns, old.name);
        let mut statement = self.conn.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let carried = self.carry::<R>(old, row).and_then(|(new, is_sound)| {
                let key = carry(new)?;
                Ok((key, is_sound))
            });
            self.keep_if_sound(R::TABLE, carried)?;
        }
        Ok(())
    }

    /// Reads a row's new columns, and checks its old ones behind them.
    fn carry<R: Record>(&self, old: OldTable, row: &Row<'_>) -> Result<(R, bool), Fault> {
        let is_sound = old.is_sound(row, R::COLUMNS.split(", ").count())?;
        let (new, _) = R::read(row)?;
        Ok((new, is_sound))
    }

    /// A row that was damaged is so in its new form, and one that can't be carried over
    /// is left behind.
    fn keep_if_sound(&self, table: &str, carried: Result<(Key, bool), Fault>) -> Result<(), Fault> {
        match carried {
            Ok((_, true)) => Ok(()),
            Ok(((key, values), false)) => {
                tracing::error!(table, ?values, "damaged, and carried over as such");
                let sql = format!("UPDATE {table} SET crc = crc + 1 WHERE {key}");
                self.conn
                    .execute(&sql, rusqlite::params_from_iter(values))?;
                Ok(())
            }
            Err(fault) if is_of_the_row(&fault) => {
                tracing::error!(table, %fault, "a damaged row is left in the copy alone");
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }
}

/// Whether a row can't be read, or has another's place.
fn is_of_the_row(fault: &Fault) -> bool {
    match fault {
        Fault::Damaged(_) => true,
        Fault::Sql(error) => error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation),
    }
}
