//! A full scan of a data directory, for an operator who wants to know.
//!
//! It reads one state of the database and changes nothing, so it may run beside
//! the process that has the directory open.

use std::path::Path;

use rusqlite::Connection;

use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::rows::{
    AttemptRow, DeadRow, DeliveryRow, EndpointRow, EventRow, JobRow, KeyRow, MetaRow, Record,
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
    /// Attempts, and ends of deliveries that had none.
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
    let mut conn = crate::connect::reader(&files)?;
    let snapshot = conn
        .transaction()
        .map_err(|error| OpenError::fault(&file, error.into()))?;
    let mut report = Report::default();
    integrity(&snapshot, &mut report);
    report.jobs = scan::<JobRow>(&snapshot, &mut report);
    report.events = scan::<EventRow>(&snapshot, &mut report);
    report.pending_deliveries = scan::<DeliveryRow>(&snapshot, &mut report);
    report.attempts = scan::<AttemptRow>(&snapshot, &mut report);
    report.dead_letters = scan::<DeadRow>(&snapshot, &mut report);
    report.endpoints = scan::<EndpointRow>(&snapshot, &mut report);
    scan::<KeyRow>(&snapshot, &mut report);
    scan::<MetaRow>(&snapshot, &mut report);
    for (rule, broken) in RULES {
        if let Err(fault) = hold(&snapshot, rule, broken, &mut report) {
            report.problem(format!("{rule}: {fault}"));
        }
    }
    Ok(report)
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
        "the head of a job's log is its last event",
        "SELECT j.job_id FROM jobs j WHERE j.sequence <>
           coalesce((SELECT max(sequence) FROM events WHERE job = j.id), 0)",
    ),
    (
        "a job's status is its last event's",
        "SELECT j.job_id FROM jobs j LEFT JOIN events e ON e.job = j.id AND e.sequence = j.sequence
         WHERE j.status IS NOT e.status",
    ),
    (
        "every lifecycle event is kept",
        "SELECT j.job_id FROM jobs j WHERE j.lifecycle_events <>
           (SELECT count(*) FROM events WHERE job = j.id AND kind <> 0)",
    ),
    (
        "nothing follows a terminal event",
        "SELECT j.job_id FROM jobs j JOIN events e ON e.job = j.id
         WHERE e.kind = 2 AND e.sequence < j.sequence",
    ),
    (
        "a job's retention runs if and only if it has ended and nothing is pending",
        "SELECT j.job_id FROM jobs j WHERE (j.ended_at IS NOT NULL) <>
           (coalesce(j.status, 0) >= 2
            AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.job = j.id))",
    ),
    (
        "a job's deliveries are counted",
        "SELECT j.job_id FROM jobs j WHERE j.deliveries <>
           (SELECT count(*) FROM (SELECT number FROM deliveries WHERE job = j.id
              UNION SELECT number FROM attempts WHERE job = j.id))",
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
        "a delivery has its job and its event, or owns a copy",
        "SELECT d.delivery FROM deliveries d
         WHERE (d.job_id IS NULL AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = d.job))
           OR (d.json IS NULL AND NOT EXISTS
             (SELECT 1 FROM events e WHERE e.job = d.job AND e.sequence = d.sequence))",
    ),
    (
        "a delivery has its endpoint",
        "SELECT delivery FROM (SELECT delivery, endpoint FROM deliveries
           UNION SELECT delivery, endpoint FROM attempts)
         WHERE endpoint NOT IN (SELECT id FROM endpoints)",
    ),
    (
        "a delivery is found by its id",
        "SELECT d.delivery FROM (SELECT delivery, job, number FROM deliveries
           UNION SELECT delivery, job, number FROM attempts) d
         LEFT JOIN delivery_ids i ON i.delivery = d.delivery
         WHERE i.job IS NOT d.job OR i.number IS NOT d.number",
    ),
    (
        "an id names a delivery",
        "SELECT i.delivery FROM delivery_ids i
         WHERE NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.job = i.job AND d.number = i.number)
           AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.job = i.job AND a.number = i.number)",
    ),
    (
        "a delivery that ended is not pending",
        "SELECT d.delivery FROM deliveries d JOIN attempts a ON a.job = d.job AND a.number = d.number
         WHERE a.state <> 0",
    ),
    (
        "who names an endpoint is counted",
        "SELECT e.endpoint FROM endpoints e LEFT JOIN
           (SELECT endpoint, count(*) AS named FROM
             (SELECT endpoint, job, number FROM deliveries
              UNION SELECT endpoint, job, number FROM attempts
              UNION ALL SELECT endpoint, id, -1 FROM jobs WHERE endpoint IS NOT NULL)
            GROUP BY endpoint) n ON n.endpoint = e.id
         WHERE e.named <> coalesce(n.named, 0)",
    ),
    (
        "jobs and dead letters are counted, and numbers are not used twice",
        "SELECT 'meta' FROM meta WHERE jobs <> (SELECT count(*) FROM jobs)
           OR dead_letters <> (SELECT count(*) FROM dead_letters)
           OR next_number <= (SELECT max(0, coalesce(max(id), 0)) FROM jobs)
           OR next_number <= (SELECT max(0, coalesce(max(number), 0)) FROM attempts)",
    ),
];
