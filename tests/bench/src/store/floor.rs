//! The floor: the same rows and the same flushes, and nothing else.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::median;

/// A bare loop that writes the rows of so many events (`queued`, then
/// `completed`, of one job after the other), so many to a transaction; events
/// per second.
///
/// # Errors
/// If the database does not work.
pub fn rows_per_second(dir: &Path, batch: usize, events: usize) -> rusqlite::Result<f64> {
    let mut db = Connection::open(dir.join("floor.db"))?;
    db.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 1000;
         CREATE TABLE jobs (id INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL,
           sequence INTEGER NOT NULL, status INTEGER, lifecycle_events INTEGER NOT NULL, token BLOB,
           endpoint INTEGER, filter INTEGER, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
           ended_at INTEGER, deliveries INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
         CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
         CREATE TABLE events (job INTEGER NOT NULL, sequence INTEGER NOT NULL, kind INTEGER NOT NULL,
           status INTEGER NOT NULL, json BLOB NOT NULL, crc INTEGER NOT NULL,
           PRIMARY KEY (job, sequence)) STRICT, WITHOUT ROWID;",
    )?;
    let queued = br#"{"status":"queued","timestamp":1712534400}"#;
    let completed = format!(
        r#"{{"status":"completed","result":"{}","timestamp":1712534400}}"#,
        "x".repeat(200)
    );
    let began = Instant::now();
    let mut written = 0;
    // Jobs come 256 abreast, as the callers of the other side do.
    let abreast = 256;
    while written < events {
        let transaction = db.transaction()?;
        {
            let mut insert_job = transaction.prepare_cached(
                "INSERT INTO jobs VALUES (?1, ?2, 'k3f9a2m7q1xz', 1, 0, 1, NULL, NULL, NULL, ?3, ?3, NULL, 0, 7)",
            )?;
            let mut end_job = transaction.prepare_cached(
                "UPDATE jobs SET sequence = 2, status = 2, lifecycle_events = 2, updated_at = ?2, ended_at = ?2, crc = 8 WHERE id = ?1",
            )?;
            let mut insert_event =
                transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, 1, ?3, ?4, 9)")?;
            for nth in written..written + batch {
                let (round, place) = (nth / abreast, nth % abreast);
                let job = i64::try_from(round / 2 * abreast + place).unwrap_or_default();
                let at = 1_712_534_400_000_i64 + job;
                if round % 2 == 0 {
                    insert_job.execute(params![job, format!("job-{place}-{round}"), at])?;
                    insert_event.execute(params![job, 1, 0, queued.as_slice()])?;
                } else {
                    end_job.execute(params![job, at])?;
                    insert_event.execute(params![job, 2, 2, completed.as_bytes()])?;
                }
            }
        }
        transaction.commit()?;
        written += batch;
    }
    let written = f64::from(u32::try_from(written).unwrap_or(u32::MAX));
    Ok(written / began.elapsed().as_secs_f64())
}

/// The median time to append 4 KiB to a growing file and flush it.
///
/// # Errors
/// If the file can't be written.
pub fn append_median(dir: &Path, times: usize) -> std::io::Result<Duration> {
    let mut file = File::create(dir.join("floor.log"))?;
    let page = [0x5a; 4096];
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        taken.push(began.elapsed());
    }
    Ok(median(taken))
}
