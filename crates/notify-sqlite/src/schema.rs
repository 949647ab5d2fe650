//! The tables, and how a database comes to have them.
//!
//! Times are milliseconds since the Unix epoch. `crc` is the CRC-32 of the rest
//! of its row. Everything that is numbered takes the next number of one counter,
//! so numbers grow with time and are never used twice.
//!
//! | table | a row is |
//! |---|---|
//! | `meta` | the one row of counters |
//! | `jobs` | a job: its token's hash, whom it tells, its end |
//! | `events` | an event that is kept; the newest of a job is the head of its log |
//! | `idempotency` | an idempotency key, kept as long as its job |
//! | `endpoints` | a receiver, with its own secrets |
//! | `deliveries` | a delivery, pending or settled, with the attempt that settled it |
//! | `attempts` | an attempt after which a delivery went on |
//! | `delivery_ids` | where a delivery of version 1 is to be found by its id |
//! | `dead_letters` | a delivery that was given up, with all it takes to send it after all |
//!
//! `status`: 0 queued, 1 processing, 2 completed, 3 failed, 4 cancelled.
//! `kind`: 0 progress, 1 lifecycle, 2 terminal. `state` of a delivery: 0 pending, 1
//! delivered, 2 dead, 3 superseded. `filter`: 1 for queued, 2 for processing, added
//! up. `reason`: 0 exhausted, 1 gone, 2 address refused, 3 expired, 4 overtaken, 5
//! secret missing, 6 backlog full, 7 URL invalid, 8 internal.
//!
//! - **meta**: numbers from `next_number` on were never used; they are reserved in
//!   blocks. `jobs` and `dead_letters` count these if `exact` is 1, as an orderly
//!   close leaves it; after a crash they are counted at opening.
//! - **jobs**: written when a job is made, registered, changes its status, ends or
//!   goes on. `told` is 1 once it may have a delivery: only then is it to be found by
//!   its epoch, which comes in no order; `crc` leaves it out. `sequence` is its newest
//!   event's of then: if there is a newer one, that
//!   is when the job was last heard of, and else `updated_at`. `endpoint` is the
//!   number of whom it tells. `ended_at` says since when it has ended with nothing
//!   pending; only jobs without are looked at when the store is opened.
//! - **events**: `lifecycle` counts its job's lifecycle events, up to it.
//! - **endpoints**: `previous_secret` signs too until `previous_until`, or, without a
//!   time, until it is replaced. `sick_since` is set while nothing but a probe is
//!   attempted there, or nothing at all, as while `enabled` is 0; `well_since` is when
//!   that last ended. `named_at` is when it was last named, up to an hour later not
//!   noted. One that nothing names is forgotten in time.
//! - **deliveries**: `target` is 0 for the job's own endpoint and 1 for the one that
//!   the event named; with the job's `epoch` and the `sequence` it makes the id, which
//!   is `dlv_`, the epoch, the sequence in base 36 (7 characters) and the target. A
//!   delivery of version 1 has its id in `delivery`. `number` is its place in its job's
//!   list. `entries` counts its rows of `attempts`; the columns from `attempt` on are
//!   the attempt that settled it. Progress that waits owns a copy of its JSON, since
//!   the log drops old progress.
//! - **dead_letters**: one with `due_at` is being redelivered: it is the pending
//!   delivery, and counts as no dead letter until it is given up again. `endpoint` is
//!   empty if it never came to one; `url` is then the text that was given for one.
//!   `attempts` is JSON. `bytes` is what it counts for where dead letters have to make
//!   room; it and whose it is stand before the large columns, as all are walked over
//!   once after opening.

use rusqlite::Connection;

use crate::error::Fault;

/// The version that this program writes, in `user_version`.
pub(crate) const VERSION: i64 = 2;

/// Marks a database as ours, in `application_id`: "ntfy".
pub(crate) const APPLICATION: i64 = 0x6e74_6679;

/// What a new database is before it has tables. It can't be changed later.
pub(crate) const BIRTH: &str = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA page_size = 4096;";

/// Every table and index of [`VERSION`], by name. `sqlite_schema` keeps the very
/// text, so it can be compared.
pub(crate) const TABLES: &[(&str, &str)] = &[
    (
        "meta",
        "CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  next_number INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  dead_letters INTEGER NOT NULL,
  exact INTEGER NOT NULL,
  crc INTEGER NOT NULL
) STRICT",
    ),
    (
        "jobs",
        "CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL UNIQUE,
  epoch TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  status INTEGER,
  token BLOB,
  endpoint INTEGER,
  filter INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  ended_at INTEGER,
  told INTEGER NOT NULL,
  crc INTEGER NOT NULL
) STRICT",
    ),
    (
        "jobs_by_epoch",
        "CREATE INDEX jobs_by_epoch ON jobs (epoch) WHERE told = 1",
    ),
    (
        "jobs_open",
        "CREATE INDEX jobs_open ON jobs (id) WHERE ended_at IS NULL",
    ),
    (
        "jobs_by_end",
        "CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL",
    ),
    (
        "events",
        "CREATE TABLE events (
  job INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  status INTEGER NOT NULL,
  lifecycle INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  json BLOB NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID",
    ),
    (
        "idempotency",
        "CREATE TABLE idempotency (
  job INTEGER NOT NULL,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID",
    ),
    (
        "endpoints",
        "CREATE TABLE endpoints (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL UNIQUE,
  url TEXT NOT NULL UNIQUE,
  secret TEXT,
  previous_secret TEXT,
  previous_until INTEGER,
  enabled INTEGER NOT NULL,
  named_at INTEGER NOT NULL,
  sick_since INTEGER,
  well_since INTEGER,
  crc INTEGER NOT NULL
) STRICT",
    ),
    (
        "endpoints_sick",
        "CREATE INDEX endpoints_sick ON endpoints (id) WHERE sick_since IS NOT NULL",
    ),
    (
        "deliveries",
        "CREATE TABLE deliveries (
  job INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  target INTEGER NOT NULL,
  number INTEGER NOT NULL,
  delivery TEXT,
  endpoint INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  state INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  first_failed_at INTEGER,
  attempts_made INTEGER NOT NULL,
  entries INTEGER NOT NULL,
  json BLOB,
  attempt INTEGER,
  at INTEGER,
  duration_ns INTEGER,
  answer INTEGER,
  error TEXT,
  snippet TEXT,
  next_attempt_at INTEGER,
  crc INTEGER NOT NULL,
  PRIMARY KEY (job, sequence, target)
) STRICT, WITHOUT ROWID",
    ),
    (
        "attempts",
        "CREATE TABLE attempts (
  job INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  target INTEGER NOT NULL,
  entry INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  duration_ns INTEGER NOT NULL,
  answer INTEGER,
  error TEXT,
  snippet TEXT,
  next_attempt_at INTEGER,
  crc INTEGER NOT NULL,
  PRIMARY KEY (job, sequence, target, entry)
) STRICT, WITHOUT ROWID",
    ),
    (
        "delivery_ids",
        "CREATE TABLE delivery_ids (
  delivery TEXT PRIMARY KEY,
  job INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  target INTEGER NOT NULL
) STRICT, WITHOUT ROWID",
    ),
    (
        "dead_letters",
        "CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY,
  delivery TEXT NOT NULL UNIQUE,
  job_id TEXT NOT NULL,
  epoch TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  target INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  status INTEGER NOT NULL,
  endpoint TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  json BLOB NOT NULL,
  url TEXT NOT NULL,
  generation INTEGER NOT NULL,
  reason INTEGER NOT NULL,
  died_at INTEGER NOT NULL,
  attempts TEXT NOT NULL,
  accepted_at INTEGER,
  due_at INTEGER,
  first_failed_at INTEGER,
  attempts_made INTEGER,
  crc INTEGER NOT NULL
) STRICT",
    ),
    (
        "dead_letters_by_job",
        "CREATE INDEX dead_letters_by_job ON dead_letters (job_id)",
    ),
    (
        "dead_letters_by_endpoint",
        "CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint)",
    ),
    (
        "dead_letters_by_event",
        "CREATE INDEX dead_letters_by_event ON dead_letters (epoch, sequence)",
    ),
    (
        "dead_letters_by_age",
        "CREATE INDEX dead_letters_by_age ON dead_letters (died_at) WHERE due_at IS NULL",
    ),
    (
        "dead_letters_redelivered",
        "CREATE INDEX dead_letters_redelivered ON dead_letters (id) WHERE due_at IS NOT NULL",
    ),
];

/// Makes the tables of an empty database.
pub(crate) fn create(conn: &Connection) -> Result<(), Fault> {
    for (_, sql) in TABLES {
        conn.execute_batch(sql)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION)?;
    conn.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// The version of the database; 0 for an empty one.
pub(crate) fn version(conn: &Connection) -> Result<i64, Fault> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Whether the database holds nothing at all.
pub(crate) fn is_empty(conn: &Connection) -> Result<bool, Fault> {
    let objects: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(objects == 0)
}

/// Checks that the database is ours and has every table as [`TABLES`] says.
/// More of them do not matter: an operator may have added an index.
pub(crate) fn verify(conn: &Connection) -> Result<(), Fault> {
    verify_application(conn)?;
    let mut find = conn.prepare("SELECT sql FROM sqlite_schema WHERE name = ?1")?;
    for (name, sql) in TABLES {
        let mut rows = find.query([name])?;
        let found: Option<String> = rows.next()?.map(|row| row.get(0)).transpose()?;
        if found.as_deref() != Some(sql) {
            return Err(Fault::damaged(format!(
                "table {name} is not as it should be"
            )));
        }
    }
    Ok(())
}

/// Checks that the database is ours.
pub(crate) fn verify_application(conn: &Connection) -> Result<(), Fault> {
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application == APPLICATION {
        Ok(())
    } else {
        Err(Fault::damaged("it is a database of another program"))
    }
}
