//! Reading, on connections that can't write. A reader sees the last commit before
//! its first query, whole, and never waits for the writer.

use std::sync::Arc;

use notify_core::delivery::{DeadLetter, DeliveryState, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::store::{
    DeadFilter, JobView, List, Listed, PAGE_BYTES_MAX, Page, StoreError, TokenHash,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, JobStatus};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::connect::WORKING_WAIT;
use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::rows::{
    AttemptRow, DeadRow, DeliveryRow, EndpointRow, EventRow, JobRow, Place, Record, dead_condition,
    number, signed, status_code, unsigned,
};
use crate::worker::Desk;
use crate::writer::{Poison, healthy};

/// What a reading thread owns.
pub(crate) struct Reader {
    conn: Connection,
    poison: Poison,
}

impl Desk for Reader {
    /// Whatever it was reading was of one state of the database, which is over.
    fn panicked(&mut self) {}

    fn close(self) {}
}

impl Reader {
    pub(crate) fn open(files: &Files, poison: Poison) -> Result<Self, OpenError> {
        let (conn, _) = crate::connect::reader(files)?;
        let wait = conn.busy_timeout(WORKING_WAIT);
        wait.map_err(|error| OpenError::fault(&files.database(), error.into()))?;
        Ok(Self { conn, poison })
    }

    /// Reads from one state of the database.
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        healthy(&self.poison)?;
        let snapshot = self.conn.transaction().map_err(Fault::from)?;
        let value = read(&snapshot)?;
        snapshot.finish().map_err(Fault::from)?;
        Ok(value)
    }
}

pub(crate) fn page(
    conn: &Connection,
    job: &JobId,
    after: u64,
    limit: usize,
) -> Result<Option<Page>, Fault> {
    let Some(job) = JobRow::named(conn, job)? else {
        return Ok(None);
    };
    let rest = "WHERE job = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";
    let key = params![job.number, signed(after), signed(limit as u64)];
    let mut bytes = 0;
    let mut is_full = |row: &EventRow| {
        let is_first = bytes == 0;
        bytes += row.json.len();
        !is_first && bytes > PAGE_BYTES_MAX
    };
    let rows = EventRow::until(conn, rest, key, &mut is_full)?;
    let events = rows.iter().map(|row| row.record(job.epoch)).collect();
    let newest = EventRow::newest(conn, job.number)?;
    Ok(Some(Page {
        head: job.head(newest.as_ref()),
        events,
    }))
}

pub(crate) fn job(conn: &Connection, id: &JobId) -> Result<Option<JobView>, Fault> {
    let row = JobRow::named(conn, id)?;
    row.map(|row| job_view(conn, row)).transpose()
}

pub(crate) fn jobs(
    conn: &Connection,
    status: Option<JobStatus>,
    list: &List,
) -> Result<Listed<JobView>, Fault> {
    // A job without an event counts as queued.
    let rest = "WHERE id < ?1 AND (?2 IS NULL OR coalesce(status, 0) = ?2)
                ORDER BY id DESC LIMIT ?3";
    let key = params![before(list), status.map(status_code), one_more(list)];
    let rows = JobRow::all(conn, rest, key)?;
    listed(rows, list, |row| row.number, |row| job_view(conn, row))
}

pub(crate) fn token(conn: &Connection, job: &JobId) -> Result<Option<TokenHash>, Fault> {
    Ok(JobRow::named(conn, job)?.and_then(|row| row.token))
}

pub(crate) fn deliveries(
    conn: &Connection,
    job: &JobId,
    list: &List,
) -> Result<Listed<DeliveryView>, Fault> {
    let Some(job) = JobRow::named(conn, job)? else {
        return Ok(Listed {
            items: Vec::new(),
            next: None,
        });
    };
    let mut statement = conn.prepare_cached(
        "SELECT job, sequence, target, number FROM deliveries
         WHERE job = ?1 AND number < ?2 AND endpoint IN (SELECT id FROM endpoints)
         ORDER BY number DESC LIMIT ?3",
    )?;
    let key = params![job.number, before(list), one_more(list)];
    let mut rows = statement.query(key)?;
    let mut places = Vec::new();
    while let Some(row) = rows.next()? {
        places.push((row.get(3)?, Place::read(row)?));
    }
    let view = |(_, place)| {
        let lacks = || Fault::damaged(format!("deliveries {place}: missing"));
        let row = DeliveryRow::at(conn, place)?.ok_or_else(lacks)?;
        delivery_view(conn, &job, row)
    };
    listed(places, list, |(number, _)| *number, view)
}

pub(crate) fn delivery(conn: &Connection, id: DeliveryId) -> Result<Option<DeliveryView>, Fault> {
    if let Some(place) = Place::of(conn, id)?
        && let Some(row) = DeliveryRow::at(conn, place)?
    {
        let job = JobRow::numbered(conn, place.job)?;
        let job = job.ok_or_else(|| Fault::damaged(format!("deliveries {place}: no job")))?;
        // An old place carries no CRC; what is found there says what it is.
        let is_it = row.id(job.epoch) == id;
        // What came of it at an endpoint that was deleted nobody can look at.
        let is_shown = row.state == DeliveryState::Pending
            || EndpointRow::numbered(conn, row.endpoint)?.is_some();
        return (is_it && is_shown)
            .then(|| delivery_view(conn, &job, row))
            .transpose();
    }
    // One that has outlived its job.
    let letter = DeadRow::redelivered(conn, id)?;
    letter.map(|letter| orphan_view(conn, letter)).transpose()
}

pub(crate) fn dead_letters(
    conn: &Connection,
    filter: &DeadFilter,
    list: &List,
) -> Result<Listed<DeadLetter>, Fault> {
    let (condition, mut values) = dead_condition(filter);
    values.push(Value::Integer(before(list)));
    values.push(Value::Integer(one_more(list)));
    let rest = format!("WHERE {condition} AND id < ? ORDER BY id DESC LIMIT ?");
    let rows = DeadRow::all(conn, &rest, params_from_iter(values))?;
    listed(rows, list, |row| row.number, |row| row.letter())
}

pub(crate) fn count_dead_letters(conn: &Connection, filter: &DeadFilter) -> Result<u64, Fault> {
    let (condition, values) = dead_condition(filter);
    let sql = format!("SELECT count(*) FROM dead_letters WHERE {condition}");
    let count = number(conn, &sql, params_from_iter(values))?;
    Ok(unsigned(count.unwrap_or_default()))
}

pub(crate) fn endpoint(conn: &Connection, id: EndpointId) -> Result<Option<Arc<Endpoint>>, Fault> {
    Ok(EndpointRow::with_id(conn, id)?.map(|row| row.endpoint))
}

pub(crate) fn endpoint_at(
    conn: &Connection,
    url: &EndpointUrl,
) -> Result<Option<Arc<Endpoint>>, Fault> {
    Ok(EndpointRow::at(conn, url)?.map(|row| row.endpoint))
}

pub(crate) fn endpoints(conn: &Connection, list: &List) -> Result<Listed<Arc<Endpoint>>, Fault> {
    let rest = "WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let rows = EndpointRow::all(conn, rest, params![before(list), one_more(list)])?;
    listed(rows, list, |row| row.number, |row| Ok(row.endpoint))
}

fn job_view(conn: &Connection, row: JobRow) -> Result<JobView, Fault> {
    let last = EventRow::newest(conn, row.number)?;
    let webhook = match row.webhook {
        None => None,
        Some((endpoint, filter)) => {
            let endpoint = EndpointRow::numbered(conn, endpoint)?;
            endpoint.map(|known| (known.endpoint.url.clone(), filter))
        }
    };
    Ok(JobView {
        head: row.head(last.as_ref()),
        updated_at: row.last_heard_of(last.as_ref()),
        last: last.map(|event| event.record(row.epoch)),
        id: row.id,
        created_at: row.created_at,
        registered: row.token.is_some(),
        webhook,
    })
}

fn delivery_view(conn: &Connection, job: &JobRow, row: DeliveryRow) -> Result<DeliveryView, Fault> {
    let (place, id) = (row.place, row.id(job.epoch));
    let lacks = |what: &str| Fault::damaged(format!("deliveries {place}: {what} is missing"));
    let endpoint = EndpointRow::numbered(conn, row.endpoint)?
        .ok_or_else(|| lacks("its endpoint"))?
        .endpoint;
    let is_redelivered = row.generation > 0 && row.state == DeliveryState::Pending;
    let attempts = if is_redelivered {
        let letter = DeadRow::redelivered(conn, id)?;
        letter.ok_or_else(|| lacks("its dead letter"))?.history()?
    } else {
        let entries = AttemptRow::of(conn, place)?.into_iter();
        entries
            .map(|entry| entry.attempt)
            .chain(row.last.clone())
            .collect()
    };
    Ok(DeliveryView {
        id,
        job_id: job.id.clone(),
        event_id: row.event_id(job.epoch),
        endpoint_id: endpoint.id,
        url: endpoint.url.clone(),
        state: row.state,
        generation: row.generation,
        attempts,
    })
}

/// A redelivery whose job was forgotten.
fn orphan_view(conn: &Connection, letter: DeadRow) -> Result<DeliveryView, Fault> {
    let id = letter.of.id;
    let lacks = || Fault::damaged(format!("dead_letters {id}: its endpoint is missing"));
    let endpoint = letter.of.endpoint.ok_or_else(lacks)?;
    let endpoint = EndpointRow::with_id(conn, endpoint)?.ok_or_else(lacks)?;
    Ok(DeliveryView {
        id,
        attempts: letter.history()?,
        job_id: letter.of.job,
        event_id: letter.of.record.id(),
        endpoint_id: endpoint.endpoint.id,
        url: endpoint.endpoint.url.clone(),
        state: DeliveryState::Pending,
        generation: letter.of.generation,
    })
}

/// The number that a list goes on below. Nobody else's cursor means anything.
fn before(list: &List) -> i64 {
    let cursor = list.cursor.as_deref();
    cursor.map_or(i64::MAX, |cursor| cursor.parse().unwrap_or(0))
}

/// One row more than asked for tells whether there is a next page.
fn one_more(list: &List) -> i64 {
    signed(list.limit as u64).saturating_add(1)
}

fn listed<R, T>(
    rows: Vec<R>,
    list: &List,
    key: impl Fn(&R) -> i64,
    item: impl Fn(R) -> Result<T, Fault>,
) -> Result<Listed<T>, Fault> {
    let more = rows.len() > list.limit;
    let mut items = Vec::new();
    let mut next = None;
    for row in rows.into_iter().take(list.limit) {
        next = Some(key(&row).to_string());
        items.push(item(row)?);
    }
    Ok(Listed {
        items,
        next: next.filter(|_| more),
    })
}
