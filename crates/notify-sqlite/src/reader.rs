//! Reading, on connections that can't write. A reader sees the last commit before
//! its first query, whole, and never waits for the writer.

use std::sync::Arc;

use notify_core::delivery::{DeadLetter, DeliveryState, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::store::{
    DeadFilter, JobView, List, Listed, PAGE_BYTES_MAX, Page, StoreError, TokenHash,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, EventId, JobId, JobStatus};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::connect::WORKING_WAIT;
use crate::error::{Fault, OpenError};
use crate::files::Files;
use crate::rows::{
    AttemptRow, DeadRow, DeliveryRow, EndpointRow, EventRow, JobRow, Record, dead_condition,
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
        let conn = crate::connect::reader(files)?;
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
    let events = rows.iter().map(|row| row.record(job.head.epoch)).collect();
    Ok(Some(Page {
        head: job.head,
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
    let job = JobRow::named(conn, job)?.map_or(-1, |row| row.number);
    let mut statement = conn.prepare_cached(
        "SELECT number FROM deliveries WHERE job = ?1 AND number < ?2
         UNION SELECT number FROM attempts WHERE job = ?1 AND number < ?2
         ORDER BY number DESC LIMIT ?3",
    )?;
    let key = params![job, before(list), one_more(list)];
    let numbers = statement.query_map(key, |row| row.get(0))?;
    let numbers = numbers.collect::<Result<Vec<i64>, _>>()?;
    let view = |number| {
        let lacks = || Fault::damaged(format!("deliveries {job}-{number}: missing"));
        delivery_view(conn, job, number)?.ok_or_else(lacks)
    };
    listed(numbers, list, |number| *number, view)
}

pub(crate) fn delivery(conn: &Connection, id: DeliveryId) -> Result<Option<DeliveryView>, Fault> {
    let place: Option<(i64, i64)> = conn
        .prepare_cached("SELECT job, number FROM delivery_ids WHERE delivery = ?1")?
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((job, number)) = place else {
        return Ok(None);
    };
    // The place carries no CRC; what is found there says what it is.
    match delivery_view(conn, job, number)? {
        Some(view) if view.id == id => Ok(Some(view)),
        _ => Err(Fault::damaged(format!("delivery_ids {id}: wrong place"))),
    }
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
    let last = EventRow::find(conn, row.number, row.head.sequence)?;
    let webhook = match row.webhook {
        None => None,
        Some((endpoint, filter)) => {
            let endpoint = EndpointRow::numbered(conn, endpoint)?;
            endpoint.map(|known| (known.endpoint.url.clone(), filter))
        }
    };
    Ok(JobView {
        last: last.map(|event| event.record(row.head.epoch)),
        id: row.id,
        head: row.head,
        created_at: row.created_at,
        updated_at: row.updated_at,
        registered: row.token.is_some(),
        webhook,
    })
}

/// A delivery as its rows tell it: what waits has one of `deliveries`, what is
/// settled is read back from its last of `attempts`.
fn delivery_view(conn: &Connection, job: i64, number: i64) -> Result<Option<DeliveryView>, Fault> {
    let pending = DeliveryRow::find(conn, job, number)?;
    let entries = AttemptRow::of(conn, job, number)?;
    let (id, endpoint, sequence, generation, state) = match (&pending, entries.last()) {
        (Some(row), _) => (
            row.delivery,
            row.endpoint,
            row.sequence,
            row.generation,
            DeliveryState::Pending,
        ),
        (None, Some(last)) => (
            last.delivery,
            last.endpoint,
            last.sequence,
            last.generation,
            last.state,
        ),
        (None, None) => return Ok(None),
    };
    let lacks = |what: &str| Fault::damaged(format!("deliveries {id}: {what} is missing"));
    let (job_id, epoch) = match &pending {
        Some(row) => row.job(conn)?,
        None => JobRow::numbered(conn, job)?
            .map(|job| (job.id, job.head.epoch))
            .ok_or_else(|| lacks("its job"))?,
    };
    let endpoint = EndpointRow::numbered(conn, endpoint)?
        .ok_or_else(|| lacks("its endpoint"))?
        .endpoint;
    Ok(Some(DeliveryView {
        id,
        job_id,
        event_id: EventId::new(epoch, sequence),
        endpoint_id: endpoint.id,
        url: endpoint.url.clone(),
        state,
        generation,
        attempts: entries.into_iter().filter_map(|one| one.attempt).collect(),
    }))
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
