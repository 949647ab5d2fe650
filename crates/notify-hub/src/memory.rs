//! A store in memory: bounded, gone with its process.
//!
//! One lock and plain maps. Every rule is the [ledger](notify_core::ledger)'s; here
//! rows are found ([`tables`]), decided over ([`decide`]), changed ([`apply`]), and forgotten when their time is
//! over ([`forget`]).

mod apply;
mod decide;
mod delete;
mod forget;
mod tables;

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView};
use notify_core::endpoint::Endpoint;
use notify_core::job::JobStatus;
use notify_core::retention::Retention;
use notify_core::store::{
    Archive, Batch, Counters, DeadFilter, JobView, List, Listed, PAGE_BYTES_MAX, Page, Room, Store,
    StoreResult, TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, EventRecord, JobId, Timestamp};

use tables::Tables;

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Deliveries that are not settled; beyond it events with a webhook are refused.
    pub pending_deliveries_max: usize,
    /// Deliveries to one endpoint that are not settled; what comes beyond it is given
    /// up.
    pub pending_per_endpoint_max: usize,
    /// What jobs and their deliveries occupy, in bytes; beyond it appends are
    /// refused.
    pub job_bytes_max: usize,
    /// Dead letters; the oldest leave first.
    pub dead_letters_max: usize,
    /// Progress events kept of a running job.
    pub progress_events_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            pending_deliveries_max: 1_000_000,
            pending_per_endpoint_max: 100_000,
            job_bytes_max: 1024 * 1024 * 1024,
            dead_letters_max: 1_000,
            progress_events_max: 16,
        }
    }
}

/// Keeps everything in memory.
#[derive(Debug)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            tables: Mutex::new(Tables::new(limits)),
        }
    }

    /// A panic while deciding leaves the tables as they were, and applying what was
    /// decided does not panic; so a lock that another thread poisoned is still good.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut Tables) -> T) -> StoreResult<'_, T> {
        Box::pin(ready(Ok(ask(&mut self.lock()))))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl Store for MemoryStore {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        let written = self.lock().write(now, &batch);
        Box::pin(ready(written))
    }

    fn claim(&self, now: Timestamp, room: Room, limit: usize) -> StoreResult<'_, Written> {
        let written = self.lock().claim(now, &room, limit);
        Box::pin(ready(written))
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        let trimmed = self.lock().trim(now, retention, rows_max);
        Box::pin(ready(trimmed))
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        self.ask(|tables| tables.clock_set(step))
    }
}

impl Archive for MemoryStore {
    fn read(&self, job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>> {
        self.ask(|tables| {
            let job = tables.jobs.get(job)?;
            let later = job.events.range(after.saturating_add(1)..);
            let mut bytes = 0;
            let fits = |record: &&EventRecord| {
                let is_first = bytes == 0;
                bytes += record.json().len();
                is_first || bytes <= PAGE_BYTES_MAX
            };
            let later = later.map(|(_, record)| record);
            Some(Page {
                head: job.row.head,
                events: later.take(limit).take_while(fits).cloned().collect(),
            })
        })
    }

    fn job(&self, job: &JobId) -> StoreResult<'_, Option<JobView>> {
        self.ask(|tables| tables.job_view(job))
    }

    fn jobs(&self, status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>> {
        self.ask(|tables| {
            let newest_first = tables.job_ids.range(..before(&list)).rev();
            let jobs = newest_first.filter_map(|(&number, job)| {
                let view = tables.job_view(job)?;
                let wanted =
                    status.is_none_or(|status| view.head.status.unwrap_or_default() == status);
                wanted.then_some((number, view))
            });
            page(jobs, &list)
        })
    }

    fn token(&self, job: &JobId) -> StoreResult<'_, Option<TokenHash>> {
        self.ask(|tables| tables.jobs.get(job)?.row.token)
    }

    fn deliveries(&self, job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>> {
        self.ask(|tables| {
            let Some(job) = tables.jobs.get(job) else {
                return page(std::iter::empty(), &list);
            };
            let newest_first = job.deliveries.range(..before(&list)).rev();
            let views =
                newest_first.filter_map(|(&number, id)| Some((number, tables.delivery_view(*id)?)));
            page(views, &list)
        })
    }

    fn delivery(&self, delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>> {
        self.ask(|tables| tables.delivery_view(delivery))
    }

    fn dead_letters(&self, filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>> {
        self.ask(|tables| {
            let newest_first = tables.letters.range(..before(&list)).rev();
            let letters = newest_first.map(|(&number, letter)| (number, letter.shown()));
            page(letters.filter(|(_, shown)| filter.matches(shown)), &list)
        })
    }

    fn count_dead_letters(&self, filter: DeadFilter) -> StoreResult<'_, u64> {
        self.ask(|tables| {
            let letters = tables.letters.values();
            letters.filter(|letter| letter.matches(&filter)).count() as u64
        })
    }

    fn endpoint(&self, endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        self.ask(|tables| {
            let known = tables.endpoints.get(&endpoint)?;
            Some(Arc::clone(&known.row.endpoint))
        })
    }

    fn endpoint_at(&self, url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        self.ask(|tables| {
            let known = tables.endpoints.get(tables.urls.get(url)?)?;
            Some(Arc::clone(&known.row.endpoint))
        })
    }

    fn endpoints(&self, list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>> {
        self.ask(|tables| {
            let newest_first = tables.endpoint_ids.range(..before(&list)).rev();
            let endpoints = newest_first.filter_map(|(&number, id)| {
                let known = tables.endpoints.get(id)?;
                Some((number, Arc::clone(&known.row.endpoint)))
            });
            page(endpoints, &list)
        })
    }

    fn counters(&self) -> StoreResult<'_, Counters> {
        self.ask(|tables| Counters {
            jobs: tables.jobs.len() as u64,
            pending_deliveries: tables.pending.total(),
            dead_letters: tables.letters.len() as u64,
            oldest_due_at: tables.pending.oldest_due(),
        })
    }
}

/// The number that a list goes on below. Nobody else's cursor means anything.
fn before(list: &List) -> u64 {
    let cursor = list.cursor.as_deref();
    cursor.map_or(u64::MAX, |cursor| cursor.parse().unwrap_or(0))
}

/// Cuts a page out of items that come newest first, each with a number that falls.
fn page<T>(items: impl Iterator<Item = (u64, T)>, list: &List) -> Listed<T> {
    let mut rest = items.peekable();
    let mut items = Vec::new();
    let mut next = None;
    while items.len() < list.limit
        && let Some((number, item)) = rest.next()
    {
        items.push(item);
        next = Some(number.to_string());
    }
    Listed {
        items,
        next: next.filter(|_| rest.peek().is_some()),
    }
}

#[cfg(test)]
mod tests;
