//! The one row of counters, and idempotency keys.

use notify_core::IdempotencyKey;
use notify_core::event::Fingerprint;
use rusqlite::{Connection, Row, params};

use super::{Record, Sum};
use crate::error::Fault;

/// The one row of `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetaRow {
    /// From here on no number was ever used.
    pub(crate) next_number: i64,
    pub(crate) counts: Counts,
    /// Whether the counts are those of now.
    pub(crate) exact: bool,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) jobs: i64,
    pub(crate) dead_letters: i64,
}

impl Counts {
    /// Counts anew, from the smallest indexes.
    pub(crate) fn counted(conn: &Connection) -> Result<Self, Fault> {
        let count = |sql| Ok::<_, Fault>(super::number(conn, sql, [])?.unwrap_or_default());
        Ok(Self {
            jobs: count("SELECT count(*) FROM jobs WHERE ended_at IS NULL")?
                + count("SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL")?,
            dead_letters: count("SELECT count(*) FROM dead_letters WHERE due_at IS NULL")?,
        })
    }
}

impl MetaRow {
    pub(crate) const NEW: Self = Self {
        next_number: 1,
        counts: Counts {
            jobs: 0,
            dead_letters: 0,
        },
        exact: true,
    };

    pub(crate) fn load(conn: &Connection) -> Result<Self, Fault> {
        let row = Self::one(conn, "WHERE id = 1", [])?;
        row.ok_or_else(|| Fault::damaged("meta: the row is missing"))
    }

    pub(crate) fn store(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO meta (id, next_number, jobs, dead_letters, exact, crc)
             VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            self.next_number,
            self.counts.jobs,
            self.counts.dead_letters,
            self.exact,
            self.sum()
        ])?;
        Ok(())
    }
}

impl Record for MetaRow {
    const TABLE: &'static str = "meta";
    const COLUMNS: &'static str = "next_number, jobs, dead_letters, exact, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let meta = Self {
            next_number: row.get(0)?,
            counts: Counts {
                jobs: row.get(1)?,
                dead_letters: row.get(2)?,
            },
            exact: row.get(3)?,
        };
        Ok((meta, row.get(4)?))
    }

    fn sum(&self) -> i64 {
        let sum = Sum::of(Self::TABLE).int(self.next_number);
        let sum = sum.int(self.counts.jobs).int(self.counts.dead_letters);
        sum.int(self.exact.into()).finish()
    }

    fn name(&self) -> String {
        "1".into()
    }
}

/// A row of `idempotency`.
#[derive(Debug)]
pub(crate) struct KeyRow {
    pub(crate) job: i64,
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sequence: i64,
}

impl KeyRow {
    pub(crate) fn find(
        conn: &Connection,
        job: i64,
        key: &IdempotencyKey,
    ) -> Result<Option<Self>, Fault> {
        Self::one(
            conn,
            "WHERE job = ?1 AND key = ?2",
            params![job, key.as_str()],
        )
    }

    pub(crate) fn insert(&self, conn: &Connection) -> Result<(), Fault> {
        conn.prepare_cached(
            "INSERT INTO idempotency (job, key, fingerprint, sequence, crc)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            self.job,
            self.key,
            self.fingerprint.0,
            self.sequence,
            self.sum()
        ])?;
        Ok(())
    }
}

impl Record for KeyRow {
    const TABLE: &'static str = "idempotency";
    const COLUMNS: &'static str = "job, key, fingerprint, sequence, crc";

    fn read(row: &Row<'_>) -> Result<(Self, i64), Fault> {
        let key = Self {
            job: row.get(0)?,
            key: row.get(1)?,
            fingerprint: Fingerprint(row.get(2)?),
            sequence: row.get(3)?,
        };
        Ok((key, row.get(4)?))
    }

    fn sum(&self) -> i64 {
        Sum::of(Self::TABLE)
            .int(self.job)
            .bytes(self.key.as_bytes())
            .bytes(&self.fingerprint.0)
            .int(self.sequence)
            .finish()
    }

    fn name(&self) -> String {
        format!("{} {:?}", self.job, self.key)
    }
}
