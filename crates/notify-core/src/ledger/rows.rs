//! The rows that the ledger looks at, and how a store hands them in.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{DeadReason, LaneKey, Lease, Undelivered};
use crate::endpoint::{Endpoint, EndpointUrl, Subscriber};
use crate::event::Fingerprint;
use crate::id::{DeliveryId, EndpointId, IdempotencyKey, JobId};
use crate::job::{EventKind, JobHead};
use crate::lane::LaneRow;
use crate::map::{IdMap, IdSet};
use crate::store::{Doomed, Refusal, Sweep, TokenHash};
use crate::time::Timestamp;

/// What a store found under a name.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// This row.
    Row(T),
    /// Nothing.
    Nothing,
    /// A row that is damaged; its name.
    Damaged(String),
}

impl<T> From<Option<T>> for Found<T> {
    fn from(row: Option<T>) -> Self {
        row.map_or(Self::Nothing, Self::Row)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: JobId,
    /// The head of its log.
    pub head: JobHead,
    /// The SHA-256 of its token, if it is registered.
    pub token: Option<TokenHash>,
    /// Whom it tells.
    pub webhook: Option<Subscriber>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When it was last heard of.
    pub updated_at: Timestamp,
    /// Since when it has ended with nothing pending.
    pub ended_at: Option<Timestamp>,
    /// How many of its deliveries are pending.
    pub pending: u64,
    /// How many of its deliveries can be looked at.
    pub listed: u64,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointRow {
    /// Its number.
    pub number: u64,
    /// What is known of it.
    pub endpoint: Arc<Endpoint>,
    /// How many deliveries to it are pending.
    pub pending: u64,
}

/// What an idempotency key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// The content of the first call.
    pub fingerprint: Fingerprint,
    /// The first call's event.
    pub sequence: u64,
}

/// A pending delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its number; its place in its job's list.
    pub number: u64,
    /// Its job's number, unless the job was forgotten: nobody can look at it then,
    /// and it is not kept once it is settled.
    pub job: Option<u64>,
    /// Its endpoint's number.
    pub endpoint: u64,
    /// Its id.
    pub id: DeliveryId,
    /// 0, and one more for each redelivery.
    pub generation: u32,
    /// The event's position in its job.
    pub sequence: u64,
    /// The event's kind.
    pub kind: EventKind,
    /// How long the event's JSON is, in bytes.
    pub json_bytes: u32,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Not to be attempted before.
    pub due_at: Timestamp,
    /// When its first attempt failed, if one did.
    pub first_failed_at: Option<Timestamp>,
    /// How many attempts of this generation have failed.
    pub attempts_made: u32,
    /// How long after the lane's last progress it is sent at the earliest, if it
    /// is progress itself.
    pub spacing: Duration,
    /// Who may be attempting it now.
    pub lease: Option<Lease>,
}

impl DeliveryRow {
    /// What the lane rule looks at.
    pub(super) fn lane_row(&self) -> LaneRow {
        LaneRow {
            sequence: self.sequence,
            kind: self.kind,
            accepted_at: self.accepted_at,
            due_at: self.due_at,
            first_failed_at: self.first_failed_at,
            spacing: self.spacing,
            leased: self.lease.is_some(),
        }
    }

    /// Whether its event may leave its job's log while it is pending, so that it
    /// needs a copy.
    pub fn may_lose_its_event(&self) -> bool {
        self.generation > 0 || self.kind == EventKind::Progress
    }

    /// Whether nothing differs but the lease, which a store need not write down if
    /// it is the only one.
    pub fn is_same_but_for_the_lease(&self, other: &Self) -> bool {
        let lease = other.lease;
        Self { lease, ..*self } == *other
    }
}

/// The pending deliveries of a lane, in order. Of a long one the first
/// [`FIRST_MAX`](Self::FIRST_MAX) and the last [`LAST_MAX`](Self::LAST_MAX) do: the
/// rule is carried out after each append, so nothing is to be decided in between.
#[derive(Clone, Debug, Default)]
pub struct LaneRows {
    /// The first ones, or all.
    pub first: Vec<DeliveryRow>,
    /// How many there are between the first and the last.
    pub hidden: u64,
    /// The last ones, if they are not among the first.
    pub last: Vec<DeliveryRow>,
    /// When the head may be attempted; `None` if it is leased.
    pub stands: Option<Timestamp>,
    /// When a progress of this lane was last sent, as far as it is known.
    pub progress_sent_at: Option<Timestamp>,
}

impl LaneRows {
    /// How many of the first deliveries are needed.
    pub const FIRST_MAX: usize = 4;
    /// How many of the last deliveries are needed.
    pub const LAST_MAX: usize = 2;

    /// Those of `rows` that are needed.
    pub fn of<'a>(rows: impl ExactSizeIterator<Item = &'a DeliveryRow>) -> Self {
        let len = rows.len();
        let last_from = len.saturating_sub(Self::LAST_MAX).max(Self::FIRST_MAX);
        let mut lane = Self {
            hidden: last_from.min(len).saturating_sub(Self::FIRST_MAX) as u64,
            ..Self::default()
        };
        for (position, row) in rows.enumerate() {
            if position < Self::FIRST_MAX {
                lane.first.push(*row);
            } else if position >= last_from {
                lane.last.push(*row);
            }
        }
        lane
    }
}

/// A dead letter, as far as redelivering it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterRow {
    /// Its number among the dead.
    pub number: u64,
    /// What it was to deliver.
    pub of: Undelivered,
    /// Why it was given up.
    pub reason: DeadReason,
    /// The delivery's number in its job's list, if it is still there.
    pub listed: Option<u64>,
}

/// Rows that were fetched for a batch.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) jobs: Table<JobId, JobRow>,
    pub(super) progress: IdMap<JobId, VecDeque<u64>>,
    pub(super) keys: IdMap<(JobId, IdempotencyKey), Found<KeyRow>>,
    pub(super) endpoints: Table<EndpointId, EndpointRow>,
    pub(super) urls: IdMap<EndpointUrl, Found<EndpointId>>,
    pub(super) letters: Vec<(Sweep, Vec<LetterRow>, u64)>,
    pub(super) doomed: Option<DoomedLanes>,
    lanes: Vec<(LaneKey, LaneRows)>,
    lanes_known: IdSet<LaneKey>,
}

/// What is pending of what is to be forgotten.
#[derive(Debug)]
pub(super) struct DoomedLanes {
    pub(super) what: Doomed,
    pub(super) lanes: Vec<LaneKey>,
    /// Whether those are all.
    pub(super) are_all: bool,
}

impl Rows {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a job is not among the rows yet.
    pub fn wants_job(&self, id: &JobId) -> bool {
        !self.jobs.knows(id)
    }

    /// Whether an endpoint is not among the rows yet.
    pub fn wants_endpoint(&self, id: EndpointId) -> bool {
        !self.endpoints.knows(&id)
    }

    /// What is kept of a job.
    pub fn put_job(&mut self, id: JobId, found: Found<JobRow>) {
        self.jobs.put(id, found);
    }

    /// The sequences of the progress events that a job's log keeps, in order.
    pub fn put_progress(&mut self, id: JobId, sequences: VecDeque<u64>) {
        self.progress.insert(id, sequences);
    }

    /// What an idempotency key of a job stands for.
    pub fn put_key(&mut self, job: JobId, key: IdempotencyKey, found: Found<KeyRow>) {
        self.keys.insert((job, key), found);
    }

    /// What is kept of an endpoint.
    pub fn put_endpoint(&mut self, id: EndpointId, found: Found<EndpointRow>) {
        if let Found::Row(row) = &found {
            let url = row.endpoint.url.clone();
            self.urls.insert(url, Found::Row(id));
        }
        self.endpoints.put(id, found);
    }

    /// What is kept of the endpoint with this URL.
    pub fn put_endpoint_at(&mut self, url: EndpointUrl, found: Found<EndpointRow>) {
        match found {
            Found::Row(row) => {
                let id = row.endpoint.id;
                self.urls.insert(url, Found::Row(id));
                if !self.endpoints.knows(&id) {
                    self.endpoints.put(id, Found::Row(row));
                }
            }
            Found::Nothing => _ = self.urls.insert(url, Found::Nothing),
            Found::Damaged(name) => _ = self.urls.insert(url, Found::Damaged(name)),
        }
    }

    /// A lane's pending deliveries.
    pub fn put_lane(&mut self, key: LaneKey, rows: LaneRows) {
        let doomed = self.doomed.as_ref();
        if doomed.is_none_or(|doomed| !doomed.lanes.contains(&key)) {
            self.lanes.push((key, rows));
        }
    }

    /// The whole lanes of what is to be forgotten, before other lanes are put. `are_all`
    /// if there are no others.
    pub fn put_doomed(&mut self, what: Doomed, lanes: Vec<(LaneKey, LaneRows)>, are_all: bool) {
        self.doomed = Some(DoomedLanes {
            what,
            lanes: lanes.iter().map(|(key, _)| key.clone()).collect(),
            are_all,
        });
        self.lanes_known
            .extend(lanes.iter().map(|(key, _)| key.clone()));
        self.lanes.extend(lanes);
    }

    /// The dead letters that a step of `sweep` looks at, by number: at most
    /// [`Sweep::STEP_MAX`] that match. `newest` is the number of the newest dead
    /// letter of all.
    pub fn put_letters(&mut self, sweep: Sweep, letters: Vec<LetterRow>, newest: u64) {
        self.letters.push((sweep, letters, newest));
    }

    /// The job, if it is known.
    pub(super) fn job(&self, id: &JobId) -> Result<Option<&JobRow>, Refusal> {
        self.jobs.get(id)
    }

    /// The endpoint, if it is known.
    pub(super) fn endpoint(&self, id: EndpointId) -> Result<Option<&EndpointRow>, Refusal> {
        self.endpoints.get(&id)
    }

    /// The endpoint with this URL, if it is known.
    pub(super) fn endpoint_at(&self, url: &EndpointUrl) -> Result<Option<&EndpointRow>, Refusal> {
        match self.urls.get(url) {
            Some(Found::Row(id)) => self.endpoints.get(id),
            Some(Found::Damaged(name)) => Err(Refusal::Damaged(name.clone())),
            Some(Found::Nothing) | None => Ok(None),
        }
    }

    pub(super) fn take_lanes(&mut self) -> Vec<(LaneKey, LaneRows)> {
        std::mem::take(&mut self.lanes)
    }

    /// Whether a lane is asked for the first time.
    pub(super) fn ask_lane(&mut self, key: &LaneKey) -> bool {
        self.lanes_known.insert(key.clone())
    }

    /// The jobs that were changed, with their numbers the progress that their logs keep
    /// now, and the endpoints that were changed.
    pub(super) fn finish(mut self) -> ChangedRows {
        let jobs = self.jobs.finish();
        let mut progress = Vec::new();
        for job in &jobs {
            if let Some(sequences) = self.progress.remove(&job.row.id) {
                progress.push((job.row.number, sequences));
            }
        }
        ChangedRows {
            jobs,
            progress,
            endpoints: self.endpoints.finish(),
        }
    }
}

/// Rows that were changed.
pub(super) struct ChangedRows {
    pub(super) jobs: Vec<Changed<JobRow>>,
    pub(super) progress: Vec<(u64, VecDeque<u64>)>,
    pub(super) endpoints: Vec<Changed<EndpointRow>>,
}

/// A row that is new, or not as it was.
#[derive(Clone, Debug)]
pub struct Changed<R> {
    /// As it was, if it was.
    pub before: Option<R>,
    /// As it is.
    pub row: R,
}

/// Rows of one table, in the order in which they were fetched or made.
#[derive(Debug)]
pub(super) struct Table<K, R> {
    places: IdMap<K, usize>,
    slots: Vec<Slot<R>>,
}

#[derive(Debug)]
struct Slot<R> {
    before: Option<R>,
    row: Found<R>,
    is_changed: bool,
}

impl<K, R> Default for Table<K, R> {
    fn default() -> Self {
        Self {
            places: IdMap::default(),
            slots: Vec::new(),
        }
    }
}

impl<K: Eq + Hash, R: Clone> Table<K, R> {
    fn put(&mut self, key: K, found: Found<R>) {
        self.set(key, found, false);
    }

    pub(super) fn knows(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// Whether `key` is asked for the first time.
    pub(super) fn ask(&mut self, key: &K) -> bool
    where
        K: Clone,
    {
        let is_new = !self.knows(key);
        if is_new {
            self.put(key.clone(), Found::Nothing);
        }
        is_new
    }

    fn get(&self, key: &K) -> Result<Option<&R>, Refusal> {
        let slot = self.places.get(key).and_then(|&at| self.slots.get(at));
        match slot.map(|slot| &slot.row) {
            Some(Found::Row(row)) => Ok(Some(row)),
            Some(Found::Damaged(name)) => Err(Refusal::Damaged(name.clone())),
            Some(Found::Nothing) | None => Ok(None),
        }
    }

    /// The row, to be changed; `None` if there is none.
    pub(super) fn change(&mut self, key: &K) -> Option<&mut R> {
        let slot = self.slots.get_mut(*self.places.get(key)?)?;
        let Found::Row(row) = &mut slot.row else {
            return None;
        };
        if !slot.is_changed {
            slot.is_changed = true;
            slot.before = Some(row.clone());
        }
        Some(row)
    }

    /// Whether the row is new, or not as it was.
    pub(super) fn is_changed(&self, key: &K) -> bool {
        let slot = self.places.get(key).and_then(|&at| self.slots.get(at));
        slot.is_some_and(|slot| slot.is_changed)
    }

    /// The row as it is, which is none any more.
    pub(super) fn remove(&mut self, key: &K) -> Option<R> {
        let slot = self.slots.get_mut(*self.places.get(key)?)?;
        (slot.is_changed, slot.before) = (false, None);
        match std::mem::replace(&mut slot.row, Found::Nothing) {
            Found::Row(row) => Some(row),
            Found::Nothing | Found::Damaged(_) => None,
        }
    }

    /// A new row.
    pub(super) fn add(&mut self, key: K, row: R) {
        self.set(key, Found::Row(row), true);
    }

    fn set(&mut self, key: K, row: Found<R>, is_changed: bool) {
        let slot = Slot {
            before: None,
            row,
            is_changed,
        };
        let place = *self.places.entry(key).or_insert(self.slots.len());
        match self.slots.get_mut(place) {
            Some(known) => *known = slot,
            None => self.slots.push(slot),
        }
    }

    fn finish(self) -> Vec<Changed<R>> {
        let changed = self.slots.into_iter().filter(|slot| slot.is_changed);
        let changed = changed.filter_map(|slot| match slot.row {
            Found::Row(row) => Some(Changed {
                before: slot.before,
                row,
            }),
            Found::Nothing | Found::Damaged(_) => None,
        });
        changed.collect()
    }
}
