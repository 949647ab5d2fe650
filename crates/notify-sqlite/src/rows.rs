//! Rows as values: each table's row knows how to be read, checked and written.
//!
//! Every row carries a CRC-32 of its other columns and of its table's name. A
//! row that does not agree with its own is refused and named, never served.

mod attempt;
mod code;
mod dead;
mod delivery;
mod endpoint;
mod event;
mod job;
mod meta;
mod place;

use std::str::FromStr;

use notify_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::error::Fault;

pub(crate) use attempt::AttemptRow;
pub(crate) use code::status_code;
use code::{kind_code, kind_of, state_code, state_of, status_of};
pub(crate) use dead::{DeadRow, Waits, condition as dead_condition, history_text};
pub(crate) use delivery::DeliveryRow;
pub(crate) use endpoint::EndpointRow;
pub(crate) use event::EventRow;
pub(crate) use job::JobRow;
#[cfg(test)]
pub(crate) use job::UPDATES_OF_A_JOB;
pub(crate) use meta::{Counts, KeyRow, MetaRow};
pub(crate) use place::Place;

/// A row of one table.
pub(crate) trait Record: Sized {
    /// The table's name.
    const TABLE: &'static str;
    /// Its columns in the order that [`Record::read`] takes them.
    const COLUMNS: &'static str;

    /// Reads a row without checking it, and the CRC that it carries.
    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault>;

    /// The CRC that it should carry.
    fn sum(&self) -> i64;

    /// Its key, for whoever has to look at it.
    fn name(&self) -> String;

    /// Reads a row, and refuses one that is not as it was written.
    fn checked(row: &Row<'_>) -> Result<Self, Fault> {
        let (record, found) =
            Self::read(row).map_err(|fault| Fault::damaged(format!("{}: {fault}", Self::TABLE)))?;
        if record.sum() == found {
            Ok(record)
        } else {
            let name = record.name();
            Err(Fault::damaged(format!("{} {name}: bad CRC", Self::TABLE)))
        }
    }

    /// The one row that `rest` (from `WHERE` on) finds.
    fn one(conn: &Connection, rest: &str, params: impl Params) -> Result<Option<Self>, Fault> {
        let mut statement = conn.prepare_cached(&Self::select(rest))?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(Self::checked).transpose()
    }

    /// Every row that `rest` (from `WHERE` on) finds.
    fn all(conn: &Connection, rest: &str, params: impl Params) -> Result<Vec<Self>, Fault> {
        Self::until(conn, rest, params, &mut |_| false)
    }

    /// The rows that `rest` finds before the first that is one too many.
    fn until(
        conn: &Connection,
        rest: &str,
        params: impl Params,
        is_too_many: &mut dyn FnMut(&Self) -> bool,
    ) -> Result<Vec<Self>, Fault> {
        let mut statement = conn.prepare_cached(&Self::select(rest))?;
        let mut rows = statement.query(params)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let record = Self::checked(row)?;
            if is_too_many(&record) {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// A query over [`Record::COLUMNS`].
    fn select(rest: &str) -> String {
        format!("SELECT {} FROM {} {rest}", Self::COLUMNS, Self::TABLE)
    }
}

/// A CRC-32 in the making.
pub(crate) struct Sum(crc32fast::Hasher);

impl Sum {
    /// Begins with the table's name, so that no row stands in for one of another.
    pub(crate) fn of(table: &str) -> Self {
        Self(crc32fast::Hasher::new()).bytes(table.as_bytes())
    }

    pub(crate) fn int(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut sum = self.int(i64::try_from(value.len()).unwrap_or(i64::MAX));
        sum.0.update(value);
        sum
    }

    pub(crate) fn maybe_int(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.int(1).int(value),
            None => self.int(0),
        }
    }

    pub(crate) fn maybe_bytes(self, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.int(1).bytes(value),
            None => self.int(0),
        }
    }

    pub(crate) fn finish(self) -> i64 {
        i64::from(self.0.finalize())
    }
}

/// A number as SQLite has it. None that occurs is near the end of `i64`, except
/// a time that means "never".
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

pub(crate) fn millis(at: Timestamp) -> i64 {
    signed(at.as_millis())
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_millis(unsigned(row.get(column)?)))
}

pub(crate) fn maybe_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    let millis: Option<i64> = row.get(column)?;
    Ok(millis.map(|millis| Timestamp::from_millis(unsigned(millis))))
}

pub(crate) fn small(row: &Row<'_>, column: usize) -> Result<u32, Fault> {
    let value: i64 = row.get(column)?;
    u32::try_from(value).map_err(|_| Fault::damaged(format!("column {column} is out of range")))
}

/// A column with the text of an id.
pub(crate) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(rusqlite::Error::from)?;
    text.parse()
        .map_err(|_| Fault::damaged(format!("column {column} can't be read")))
}

fn maybe_parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<Option<T>, Fault> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse())
        .transpose()
        .map_err(|_| Fault::damaged(format!("column {column} can't be read")))
}

/// The one number that a query finds.
pub(crate) fn number(
    conn: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Option<i64>, Fault> {
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row(params, |row| row.get(0)).optional()?)
}
