//! The tables of version 1, as far as it takes to carry them over.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::error::Fault;
use crate::rows::Sum;
use crate::schema;

/// A table of version 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldTable {
    pub(crate) name: &'static str,
    /// Its columns, of which the last is the CRC, but for the one that has none.
    pub(crate) columns: &'static str,
    /// How the CRC takes each of them: `i` a number, `b` bytes; in capitals what may
    /// be missing. A missing `?` is the last that counts. A `-` does not count.
    sums: &'static str,
}

impl OldTable {
    /// Whether it is the same in this version.
    pub(crate) fn is_kept(&self) -> bool {
        self.name == "idempotency"
    }

    /// Whether a row is as it was written; its columns begin at `first`.
    pub(crate) fn is_sound(&self, row: &Row<'_>, first: usize) -> Result<bool, Fault> {
        let crc: i64 = row.get(first + self.sums.len())?;
        Ok(self.sum(row, first)? == Some(crc))
    }

    /// The CRC that a row should carry, unless a column is of another type.
    fn sum(&self, row: &Row<'_>, first: usize) -> Result<Option<i64>, Fault> {
        let mut sum = Sum::of(self.name);
        let mut ended = false;
        for (column, kind) in self.sums.bytes().enumerate() {
            let value = row.get_ref(first + column)?;
            if ended || kind == b'-' {
                continue;
            }
            sum = match (kind, value) {
                (b'i', ValueRef::Integer(value)) => sum.int(value),
                (b'?', ValueRef::Integer(value)) => sum.int(value),
                (b'I', ValueRef::Integer(value)) => sum.maybe_int(Some(value)),
                (b'I', _) => sum.maybe_int(None),
                (b'b', ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => sum.bytes(bytes),
                (b'B', ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => {
                    sum.maybe_bytes(Some(bytes))
                }
                (b'B', _) => sum.maybe_bytes(None),
                (b'?', _) => {
                    ended = true;
                    sum
                }
                _ => return Ok(None),
            };
        }
        Ok(Some(sum.finish()))
    }
}

pub(super) const META: OldTable = OldTable {
    name: "meta",
    columns: "id, next_number, jobs, dead_letters, crc",
    sums: "-iii",
};

pub(super) const JOBS: OldTable = OldTable {
    name: "jobs",
    columns: "id, job_id, epoch, sequence, status, lifecycle_events, token, endpoint, filter, \
         created_at, updated_at, ended_at, deliveries, crc",
    sums: "ibbiIiBIIiiIi",
};

pub(super) const EVENTS: OldTable = OldTable {
    name: "events",
    columns: "job, sequence, kind, status, json, crc",
    sums: "iiiib",
};

pub(super) const ENDPOINTS: OldTable = OldTable {
    name: "endpoints",
    columns: "id, endpoint, url, secret, previous_secret, enabled, named, crc",
    sums: "ibbBBii",
};

pub(super) const DELIVERIES: OldTable = OldTable {
    name: "deliveries",
    columns: "job, number, delivery, endpoint, sequence, kind, status, generation, accepted_at, \
         due_at, first_failed_at, attempts_made, entries, job_id, epoch, json, crc",
    sums: "iibiiiiiiiIiiBBB",
};

pub(super) const ATTEMPTS: OldTable = OldTable {
    name: "attempts",
    columns: "job, number, entry, delivery, endpoint, sequence, generation, state, attempt, at, \
         duration_ns, status, error, snippet, next_attempt_at, crc",
    sums: "iiibiiii?iiIBBI",
};

pub(super) const LETTERS: OldTable = OldTable {
    name: "dead_letters",
    columns: "id, delivery, job_id, epoch, sequence, kind, status, json, endpoint, url, \
         generation, reason, died_at, attempts, crc",
    sums: "ibbbiiibbbiiib",
};

const KEYS: OldTable = OldTable {
    name: "idempotency",
    columns: "job, key, fingerprint, sequence, crc",
    sums: "ibbi",
};

const IDS: OldTable = OldTable {
    name: "delivery_ids",
    columns: "delivery, job, number",
    sums: "",
};

/// Every table of version 1.
pub(crate) const OLD_TABLES: &[OldTable] = &[
    META, JOBS, EVENTS, ENDPOINTS, DELIVERIES, ATTEMPTS, LETTERS, KEYS, IDS,
];

/// Its indexes, whose names are wanted anew.
pub(super) const OLD_INDEXES: &[&str] = &[
    "jobs_by_end",
    "endpoints_disabled",
    "dead_letters_by_job",
    "dead_letters_by_endpoint",
];

/// Checks that a database is ours and has the tables of version 1.
pub(crate) fn verify(conn: &Connection) -> Result<(), Fault> {
    schema::verify_application(conn)?;
    let mut columns_of = conn.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    for table in OLD_TABLES {
        let names = columns_of.query_map([table.name], |row| row.get(0))?;
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        if names.join(", ") != table.columns {
            let name = table.name;
            return Err(Fault::damaged(format!(
                "table {name} is not as it should be"
            )));
        }
    }
    Ok(())
}

/// Reads and checks every row of a table: how many there are, and what is wrong.
pub(crate) fn scan(
    conn: &Connection,
    table: &OldTable,
    problem: &mut dyn FnMut(String),
) -> Result<u64, Fault> {
    let (name, columns) = (table.name, table.columns);
    let mut statement = conn.prepare(&format!("SELECT {columns} FROM {name}"))?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if !table.sums.is_empty() && !table.is_sound(row, 0)? {
            problem(format!("{name}, row {count}: bad CRC"));
        }
    }
    Ok(count)
}

/// Spells an endpoint's URL otherwise and enables it or not, as the program of version
/// 1 would have; how many there were of it.
#[cfg(test)]
pub(crate) fn respell(
    conn: &Connection,
    from: &str,
    to: &str,
    enabled: bool,
) -> Result<usize, Fault> {
    let sql = "UPDATE endpoints SET url = ?2, enabled = ?3 WHERE url = ?1";
    conn.execute(sql, rusqlite::params![from, to, enabled])?;
    let sql = format!("SELECT {} FROM endpoints WHERE url = ?1", ENDPOINTS.columns);
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([to])?;
    let mut changed = 0;
    while let Some(row) = rows.next()? {
        let sum = ENDPOINTS.sum(row, 0)?.unwrap_or_default();
        let sql = "UPDATE endpoints SET crc = ?2 WHERE url = ?1";
        changed += conn.execute(sql, rusqlite::params![to, sum])?;
    }
    Ok(changed)
}
