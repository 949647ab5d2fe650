//! A full scan of a data directory, for an operator who wants to know.
//!
//! It reads one state of the database and changes nothing, so it may run beside
//! the process that has the directory open.

use std::path::Path;

use rusqlite::Connection;

use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::migrate;
use crate::rows::{
    AttemptRow, DeadRow, DeliveryRow, EndpointRow, EventRow, JobRow, KeyRow, MetaRow, Record,
    number, unsigned,
};

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Jobs.
    pub jobs: u64,
    /// Events that are kept.
    pub events: u64,
    /// Deliveries that are not settled.
    pub pending_deliveries: u64,
    /// Attempts.
    pub attempts: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// How many problems there are.
    pub problems_found: u64,
    /// The first of them, at most [`Report::PROBLEMS_MAX`], each as one line.
    pub problems: Vec<String>,
}

impl Report {
    /// The most problems that are listed.
    pub const PROBLEMS_MAX: usize = 100;

    /// Whether everything is as it should be.
    pub fn is_sound(&self) -> bool {
        self.problems_found == 0
    }

    fn problem(&mut self, what: impl Into<String>) {
        self.problems_found += 1;
        if self.problems.len() < Self::PROBLEMS_MAX {
            self.problems.push(what.into());
        }
    }
}

/// Scans the data directory `dir`: SQLite's own structure, the CRC of every row,
/// and what must hold between rows.
///
/// # Errors
/// [`OpenError`] if the database can't be opened at all.
pub fn check(dir: impl AsRef<Path>) -> Result<Report, OpenError> {
    let files = Files::at(dir.as_ref());
    files.find()?;
    let file = files.database();
    let (mut conn, version) = crate::connect::reader(&files)?;
    let snapshot = conn
        .transaction()
        .map_err(|error| OpenError::fault(&file, error.into()))?;
    let mut report = Report::default();
    integrity(&snapshot, &mut report);
    if version == migrate::OLD_VERSION {
        check_old(&snapshot, &mut report);
        return Ok(report);
    }
    report.jobs = scan::<JobRow>(&snapshot, &mut report);
    report.events = scan::<EventRow>(&snapshot, &mut report);
    scan::<DeliveryRow>(&snapshot, &mut report);
    let attempts = scan::<AttemptRow>(&snapshot, &mut report);
    let letters = scan::<DeadRow>(&snapshot, &mut report);
    report.endpoints = scan::<EndpointRow>(&snapshot, &mut report);
    scan::<KeyRow>(&snapshot, &mut report);
    scan::<MetaRow>(&snapshot, &mut report);
    match counts(&snapshot) {
        Ok([pending, orphaned, redelivered, settling]) => {
            report.pending_deliveries = pending + orphaned;
            report.dead_letters = letters.saturating_sub(redelivered);
            report.attempts = attempts + settling;
        }
        Err(fault) => report.problem(fault.to_string()),
    }
    for (rule, broken) in RULES {
        if let Err(fault) = hold(&snapshot, rule, broken, &mut report) {
            report.problem(format!("{rule}: {fault}"));
        }
    }
    Ok(report)
}

/// The rows of an earlier version, which is brought to this one when it is opened.
fn check_old(conn: &Connection, report: &mut Report) {
    for table in migrate::OLD_TABLES {
        let mut problems = Vec::new();
        let count = migrate::scan(conn, table, &mut |problem| problems.push(problem));
        problems.into_iter().for_each(|what| report.problem(what));
        let count = count.unwrap_or_else(|fault| {
            report.problem(format!("{}: {fault}", table.name));
            0
        });
        match table.name {
            "jobs" => report.jobs = count,
            "events" => report.events = count,
            "deliveries" => report.pending_deliveries = count,
            "attempts" => report.attempts = count,
            "dead_letters" => report.dead_letters = count,
            "endpoints" => report.endpoints = count,
            _ => {}
        }
    }
}

/// How many deliveries of known jobs are pending, how many others, how many dead
/// letters are being redelivered, and how many attempts have settled a delivery.
fn counts(conn: &Connection) -> Result<[u64; 4], Fault> {
    let count = |sql| Ok::<_, Fault>(unsigned(number(conn, sql, [])?.unwrap_or_default()));
    Ok([
        count("SELECT count(*) FROM deliveries WHERE state = 0")?,
        count(
            "SELECT count(*) FROM dead_letters WHERE due_at IS NOT NULL
               AND (job_id, epoch) NOT IN (SELECT job_id, epoch FROM jobs)",
        )?,
        count("SELECT count(*) FROM dead_letters WHERE due_at IS NOT NULL")?,
        count("SELECT count(*) FROM deliveries WHERE attempt IS NOT NULL")?,
    ])
}

fn integrity(conn: &Connection, report: &mut Report) {
    let lines = || -> Result<Vec<String>, Fault> {
        let mut statement = conn.prepare("PRAGMA integrity_check")?;
        let lines = statement.query_map([], |row| row.get(0))?;
        Ok(lines.collect::<Result<_, _>>()?)
    };
    match lines() {
        Ok(lines) => {
            for line in lines.into_iter().filter(|line| line != "ok") {
                report.problem(format!("structure: {line}"));
            }
        }
        Err(fault) => report.problem(format!("structure: {fault}")),
    }
}

/// Reads and checks every row of a table; how many there are.
fn scan<R: Record>(conn: &Connection, report: &mut Report) -> u64 {
    let mut count = 0;
    let mut each = || -> Result<(), Fault> {
        let mut statement = conn.prepare(&R::select(""))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            count += 1;
            if let Err(fault) = R::checked(row) {
                report.problem(fault.to_string());
            }
        }
        Ok(())
    };
    if let Err(fault) = each() {
        report.problem(format!("{}: {fault}", R::TABLE));
    }
    count
}

fn hold(conn: &Connection, rule: &str, broken: &str, report: &mut Report) -> Result<(), Fault> {
    let mut statement = conn.prepare(broken)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let which: String = row.get(0)?;
        report.problem(format!("{which}: {rule}"));
    }
    Ok(())
}

/// What must hold between rows, and a query for those where it does not.
const RULES: &[(&str, &str)] = &[
    (
        "a job's status is its newest event's",
        "SELECT j.job_id FROM jobs j WHERE j.status IS NOT
           (SELECT status FROM events WHERE job = j.id ORDER BY sequence DESC LIMIT 1)",
    ),
    (
        "a job's newest event is not older than the job knows",
        "SELECT j.job_id FROM jobs j WHERE j.sequence >
           coalesce((SELECT max(sequence) FROM events WHERE job = j.id), 0)",
    ),
    (
        "every lifecycle event is kept",
        "SELECT j.job_id FROM jobs j WHERE
           coalesce((SELECT lifecycle FROM events WHERE job = j.id ORDER BY sequence DESC LIMIT 1), 0)
             <> (SELECT count(*) FROM events WHERE job = j.id AND kind <> 0)",
    ),
    (
        "nothing follows a terminal event",
        "SELECT j.job_id FROM jobs j JOIN events e ON e.job = j.id
         WHERE e.kind = 2 AND e.sequence < (SELECT max(sequence) FROM events WHERE job = j.id)",
    ),
    (
        "a job's retention runs if and only if it has ended and nothing is pending",
        "SELECT j.job_id FROM jobs j WHERE (j.ended_at IS NOT NULL) <>
           (coalesce(j.status, 0) >= 2
            AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.job = j.id AND d.state = 0))",
    ),
    (
        "an event belongs to a job",
        "SELECT 'events ' || e.job || '-' || e.sequence FROM events e
         WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = e.job)",
    ),
    (
        "an idempotency key belongs to a job",
        "SELECT 'idempotency ' || i.job FROM idempotency i
         WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = i.job)",
    ),
    (
        "a delivery has its job, and its event if it waits",
        "SELECT 'deliveries ' || d.job || '-' || d.sequence || '-' || d.target FROM deliveries d
         WHERE NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = d.job)
           OR (d.state = 0 AND d.generation = 0 AND d.json IS NULL AND NOT EXISTS
             (SELECT 1 FROM events e WHERE e.job = d.job AND e.sequence = d.sequence))",
    ),
    (
        // An endpoint that was deleted is still named by what is settled, and by jobs.
        "a delivery that waits has its endpoint",
        "SELECT 'deliveries ' || d.job || '-' || d.sequence || '-' || d.target FROM deliveries d
         WHERE d.state = 0 AND d.endpoint NOT IN (SELECT id FROM endpoints)",
    ),
    (
        "a delivery that waits anew is its dead letter's row, and that has its endpoint",
        "SELECT 'deliveries ' || d.job || '-' || d.sequence || '-' || d.target
         FROM deliveries d JOIN jobs j ON j.id = d.job
         WHERE d.state = 0 AND d.generation > 0 AND NOT EXISTS
           (SELECT 1 FROM dead_letters l WHERE l.job_id = j.job_id AND l.epoch = j.epoch AND l.sequence = d.sequence
              AND l.target = d.target AND l.due_at IS NOT NULL)
         UNION ALL SELECT 'dead_letters ' || delivery FROM dead_letters
         WHERE due_at IS NOT NULL AND endpoint NOT IN (SELECT endpoint FROM endpoints)",
    ),
    (
        "an attempt belongs to a delivery, which counts it",
        "SELECT 'attempts ' || a.job || '-' || a.sequence || '-' || a.target FROM attempts a
         LEFT JOIN deliveries d ON d.job = a.job AND d.sequence = a.sequence AND d.target = a.target
         WHERE d.entries IS NULL OR a.entry >= d.entries",
    ),
    (
        "a delivery of version 1 is found by its id",
        "SELECT d.delivery FROM deliveries d LEFT JOIN delivery_ids i ON i.delivery = d.delivery
         WHERE d.delivery IS NOT NULL
           AND (i.job IS NOT d.job OR i.sequence IS NOT d.sequence OR i.target IS NOT d.target)",
    ),
    (
        "an id of version 1 names a delivery",
        "SELECT i.delivery FROM delivery_ids i LEFT JOIN deliveries d
           ON d.job = i.job AND d.sequence = i.sequence AND d.target = i.target
         WHERE d.delivery IS NOT i.delivery",
    ),
    (
        "jobs and dead letters are counted, and numbers are not used twice",
        "SELECT 'meta' FROM meta WHERE
           (exact AND (jobs <> (SELECT count(*) FROM jobs)
              OR dead_letters <> (SELECT count(*) FROM dead_letters WHERE due_at IS NULL)))
           OR next_number <= (SELECT max(0, coalesce(max(id), 0)) FROM jobs)
           OR next_number <= (SELECT max(0, coalesce(max(id), 0)) FROM dead_letters)
           OR next_number <= (SELECT max(0, coalesce(max(number), 0)) FROM deliveries)",
    ),
];
