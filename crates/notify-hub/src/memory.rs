//! A store in memory: bounded, gone with its process.
//!
//! It is written to be read: one lock, plain maps, and the rules taken from
//! `notify-core`.

mod dead;
mod jobs;
mod lanes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::delivery::{Attempt, DeadLetter, Delivery, DeliveryState, DeliveryView, Lease};
use notify_core::endpoint::Endpoint;
use notify_core::job::JobStatus;
use notify_core::store::{
    Batch, BoxFuture, Counters, DeadFilter, EndpointChange, JobView, List, Listed, PAGE_BYTES_MAX,
    Page, ReadResult, RegisterError, Registered, Registration, Retention, Room, Store, StoreError,
    TokenHash, Trimmed, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, EventRecord, JobId, Timestamp};

use jobs::Job;
use lanes::Lanes;

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Deliveries that are not settled; beyond it appends are refused.
    pub pending_deliveries_max: usize,
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
            job_bytes_max: 1024 * 1024 * 1024,
            dead_letters_max: 1_000,
            progress_events_max: 16,
        }
    }
}

/// Keeps everything in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: MemoryLimits,
    jobs: HashMap<JobId, Job>,
    /// Jobs by when they came; the key is also the list's cursor.
    arrivals: BTreeMap<u64, JobId>,
    /// Finished jobs with nothing pending, by when that became so.
    ended: BTreeSet<(Timestamp, JobId)>,
    endpoints: HashMap<EndpointId, EndpointEntry>,
    endpoints_by_url: HashMap<EndpointUrl, EndpointId>,
    deliveries: HashMap<DeliveryId, Row>,
    lanes: Lanes,
    /// By when they died; the key is also the list's cursor.
    dead: BTreeMap<u64, Dead>,
    dead_by_id: HashMap<DeliveryId, u64>,
    pending: usize,
    job_bytes: usize,
    counter: u64,
}

#[derive(Debug)]
struct EndpointEntry {
    endpoint: Endpoint,
    arrival: u64,
    /// Jobs and deliveries that name it.
    references: usize,
}

/// A delivery, settled or not.
#[derive(Debug)]
struct Row {
    view: DeliveryView,
    /// What is to be delivered, while it is pending.
    pending: Option<Delivery>,
    first_failed_at: Option<Timestamp>,
    /// How far it is kept from the lane's last progress, if it is progress.
    spacing: Duration,
    lease: Option<Lease>,
}

/// A dead letter, with what it takes to deliver it after all.
#[derive(Debug)]
struct Dead {
    letter: DeadLetter,
    delivery: Delivery,
}

/// What a delivery occupies, roughly, beyond its event.
const DELIVERY_BYTES: usize = 512;

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            state: Mutex::new(State {
                limits,
                jobs: HashMap::new(),
                arrivals: BTreeMap::new(),
                ended: BTreeSet::new(),
                endpoints: HashMap::new(),
                endpoints_by_url: HashMap::new(),
                deliveries: HashMap::new(),
                lanes: Lanes::default(),
                dead: BTreeMap::new(),
                dead_by_id: HashMap::new(),
                pending: 0,
                job_bytes: 0,
                counter: 0,
            }),
        }
    }

    /// Every statement leaves the state whole, so a lock that another thread
    /// poisoned by panicking is still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&mut State) -> T) -> ReadResult<'_, T> {
        Box::pin(ready(Ok(read(&mut self.lock()))))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl Store for MemoryStore {
    fn write(&self, now: Timestamp, batch: Batch) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.read(|state| {
            let mut room = batch.may_lease;
            let mut written = Written::default();
            let mut touched = BTreeSet::new();
            for settle in batch.settles {
                let outcome = state.settle(now, settle, &mut written, &mut touched);
                written.settles.push(outcome);
            }
            for append in batch.appends {
                let outcome = state.append(now, append, &mut touched);
                // After each one, so that no progress is left in the middle of a
                // lane, where the rule does not look.
                for lane in outcome.iter().flat_map(|appended| &appended.lanes) {
                    state.rule(now, lane, &mut written);
                }
                written.appends.push(outcome);
            }
            for lane in touched {
                state.lease_head(now, &lane, &mut room, &mut written);
            }
            written.next_due = state.lanes.next_due(now);
            written
        })
    }

    fn register(
        &self,
        now: Timestamp,
        registration: Registration,
    ) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        Box::pin(ready(self.lock().register(now, registration)))
    }

    fn claim(
        &self,
        now: Timestamp,
        room: Room,
        limit: usize,
    ) -> BoxFuture<'_, Result<Written, StoreError>> {
        self.read(|state| state.claim(now, room, limit))
    }

    fn next_due(&self, now: Timestamp) -> ReadResult<'_, Option<Timestamp>> {
        self.read(|state| state.lanes.next_due(now))
    }

    fn read(&self, job: &JobId, after: u64, limit: usize) -> ReadResult<'_, Option<Page>> {
        self.read(|state| {
            let job = state.jobs.get(job)?;
            let later = job.log.records().filter(|record| record.sequence() > after);
            let mut bytes = 0;
            let fits = |record: &&EventRecord| {
                let is_first = bytes == 0;
                bytes += record.json().len();
                is_first || bytes <= PAGE_BYTES_MAX
            };
            Some(Page {
                head: job.head,
                events: later.take(limit).take_while(fits).cloned().collect(),
            })
        })
    }

    fn job(&self, job: &JobId) -> ReadResult<'_, Option<JobView>> {
        self.read(|state| state.job_view(job))
    }

    fn jobs(&self, status: Option<JobStatus>, list: List) -> ReadResult<'_, Listed<JobView>> {
        self.read(|state| {
            let jobs = state.arrivals.iter().rev().filter_map(|(&arrival, job)| {
                let view = state.job_view(job)?;
                let wanted =
                    status.is_none_or(|status| view.head.status.unwrap_or_default() == status);
                wanted.then_some((arrival, view))
            });
            page(jobs, &list)
        })
    }

    fn token(&self, job: &JobId) -> ReadResult<'_, Option<TokenHash>> {
        self.read(|state| state.jobs.get(job)?.token)
    }

    fn deliveries(&self, job: &JobId, list: List) -> ReadResult<'_, Listed<DeliveryView>> {
        self.read(|state| {
            let ids = state.jobs.get(job).map(|job| &job.deliveries);
            let newest_first = ids.into_iter().flatten().rev();
            let views = newest_first.filter_map(|(arrival, id)| {
                Some((*arrival, state.deliveries.get(id)?.view.clone()))
            });
            page(views, &list)
        })
    }

    fn delivery(&self, delivery: DeliveryId) -> ReadResult<'_, Option<DeliveryView>> {
        self.read(|state| state.deliveries.get(&delivery).map(|row| row.view.clone()))
    }

    fn dead_letters(&self, filter: DeadFilter, list: List) -> ReadResult<'_, Listed<DeadLetter>> {
        self.read(|state| {
            let newest_first = state.dead.iter().rev();
            let wanted = newest_first.filter(|(_, dead)| filter.matches(&dead.letter));
            page(wanted.map(|(&key, dead)| (key, dead.letter.clone())), &list)
        })
    }

    fn count_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64> {
        self.read(|state| state.matching_dead(&filter).len() as u64)
    }

    fn redeliver(&self, now: Timestamp, filter: DeadFilter) -> ReadResult<'_, u64> {
        self.read(|state| state.redeliver(now, &filter))
    }

    fn drop_dead_letters(&self, filter: DeadFilter) -> ReadResult<'_, u64> {
        self.read(|state| {
            let matching = state.matching_dead(&filter);
            matching
                .iter()
                .filter_map(|&key| state.take_dead(key))
                .count() as u64
        })
    }

    fn endpoint(&self, endpoint: EndpointId) -> ReadResult<'_, Option<Endpoint>> {
        self.read(|state| {
            state
                .endpoints
                .get(&endpoint)
                .map(|entry| entry.endpoint.clone())
        })
    }

    fn endpoint_at(&self, url: &EndpointUrl) -> ReadResult<'_, Option<Endpoint>> {
        self.read(|state| {
            let id = state.endpoints_by_url.get(url)?;
            state.endpoints.get(id).map(|entry| entry.endpoint.clone())
        })
    }

    fn endpoints(&self, list: List) -> ReadResult<'_, Listed<Endpoint>> {
        self.read(|state| {
            let mut entries: Vec<_> = state.endpoints.values().collect();
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.arrival));
            page(
                entries
                    .into_iter()
                    .map(|entry| (entry.arrival, entry.endpoint.clone())),
                &list,
            )
        })
    }

    fn change_endpoint(
        &self,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> ReadResult<'_, Option<Endpoint>> {
        self.read(|state| {
            let entry = state.endpoints.get_mut(&endpoint)?;
            match change {
                EndpointChange::Enabled(enabled) => entry.endpoint.enabled = enabled,
                EndpointChange::Keyring(keyring) => entry.endpoint.keyring = Some(*keyring),
            }
            Some(entry.endpoint.clone())
        })
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> ReadResult<'_, Trimmed> {
        self.read(|state| state.trim(now, retention, rows_max))
    }

    fn clock_set(&self, step: ClockStep) -> ReadResult<'_, ()> {
        self.read(|state| state.clock_set(step))
    }

    fn counters(&self) -> ReadResult<'_, Counters> {
        self.read(|state| Counters {
            jobs: state.jobs.len() as u64,
            pending_deliveries: state.pending as u64,
            dead_letters: state.dead.len() as u64,
            oldest_due_at: state.lanes.oldest_due(),
        })
    }
}

impl State {
    /// The next number; orders what comes and marks leases.
    fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl Row {
    fn is_pending(&self) -> bool {
        self.view.state == DeliveryState::Pending
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.view.attempts.clone()
    }
}

/// Cuts a page out of items that come newest first, each with a key that falls.
fn page<T>(items: impl Iterator<Item = (u64, T)>, list: &List) -> Listed<T> {
    let before = list
        .cursor
        .as_deref()
        .map_or(u64::MAX, |cursor| cursor.parse().unwrap_or(0));
    let mut rest = items.filter(|(key, _)| *key < before).peekable();
    let mut items = Vec::new();
    let mut next = None;
    while items.len() < list.limit
        && let Some((key, item)) = rest.next()
    {
        items.push(item);
        next = Some(key.to_string());
    }
    Listed {
        items,
        next: next.filter(|_| rest.peek().is_some()),
    }
}
