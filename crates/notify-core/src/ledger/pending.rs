//! What is pending, in memory: for a store that one process owns.
//!
//! Lanes with their deliveries, and which heads are due. Every change comes from the
//! ledger ([`Changes`]); nothing is decided here. What it costs to find the heads
//! that have waited longest does not grow with what waits.

mod at_endpoints;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use super::changes::{Changes, DeliveryChange};
use super::rows::{DeliveryRow, LaneRows};
use crate::clock::ClockStep;
use crate::delivery::LaneKey;
use crate::id::EndpointId;
use crate::lane::waits_since;
use crate::map::{IdMap, IdSet};
use crate::store::Room;
use crate::time::Timestamp;
use at_endpoints::AtEndpoints;

/// A head's place among those that wait: when it may be attempted, and its number.
type Place = (Timestamp, u64);

/// Pending deliveries, by lane, and the heads that nobody has leased, by when they
/// may be attempted.
#[derive(Debug, Default)]
pub struct Pending {
    lanes: HashMap<Arc<LaneKey>, Lane>,
    /// Heads that stand, by endpoint.
    heads: IdMap<EndpointId, BTreeMap<Place, Arc<LaneKey>>>,
    /// The first head of each enabled endpoint.
    fronts: BTreeSet<(Place, EndpointId)>,
    /// How many heads stand at each time.
    times: BTreeMap<Timestamp, usize>,
    disabled: IdSet<EndpointId>,
    /// Since when each endpoint is sick that is.
    sick: IdMap<EndpointId, Timestamp>,
    at_endpoints: AtEndpoints,
    /// By the job's number.
    by_job: IdMap<u64, u64>,
    total: u64,
    sent: Sent,
}

#[derive(Debug, Default)]
struct Lane {
    /// In order. Nearly always there is one.
    rows: VecDeque<DeliveryRow>,
    stands: Option<Place>,
}

impl Pending {
    /// Takes up a delivery that was pending when the store was opened, at the end of
    /// its lane. The heads stand once [`stand_all`](Self::stand_all) is called.
    pub fn restore(&mut self, key: &LaneKey, row: DeliveryRow) {
        self.push(key, row);
    }

    /// Lets every head that is not leased stand where its row says.
    pub fn stand_all(&mut self) {
        let keys: Vec<Arc<LaneKey>> = self.lanes.keys().cloned().collect();
        for key in keys {
            let head = self.lanes.get(&key).and_then(|lane| lane.rows.front());
            let head = head.filter(|row| row.lease.is_none());
            let stands = head.map(|row| row.due_at);
            self.stand(&key, stands);
        }
    }

    /// How many deliveries are pending.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many deliveries of the job with this number are pending.
    pub fn of_job(&self, number: u64) -> u64 {
        self.by_job.get(&number).copied().unwrap_or_default()
    }

    /// The lane as the ledger wants to see it.
    pub fn lane(&self, key: &LaneKey) -> LaneRows {
        let lane = self.lanes.get(key);
        let rows = lane.map(|lane| LaneRows::of(lane.rows.iter()));
        LaneRows {
            stands: lane.and_then(|lane| Some(lane.stands?.0)),
            progress_sent_at: self.sent.at(key),
            ..rows.unwrap_or_default()
        }
    }

    /// Every pending delivery.
    pub fn rows(&self) -> impl Iterator<Item = &DeliveryRow> {
        self.lanes.values().flat_map(|lane| &lane.rows)
    }

    /// A pending delivery.
    pub fn find(&self, key: &LaneKey, number: u64) -> Option<&DeliveryRow> {
        let mut rows = self.lanes.get(key)?.rows.iter();
        rows.find(|row| row.number == number)
    }

    /// Lanes whose heads are due, those that have waited longest first: of each
    /// enabled endpoint with room one more than it has room for, and of those for
    /// which there is room one more than `limit`, so that who asks learns whether more
    /// wait.
    pub fn due(&self, now: Timestamp, room: &Room, limit: usize) -> Vec<Arc<LaneKey>> {
        let mut due = Vec::new();
        // The next head of each endpoint that may have more.
        let mut next: BTreeSet<(Place, EndpointId, u32)> = BTreeSet::new();
        let mut fronts = self.fronts.iter().take_while(|((at, _), _)| *at <= now);
        let mut front = fronts.next();
        let mut taken = 0;
        while taken <= limit {
            while let Some(&(place, id)) = front
                && next.first().is_none_or(|(first, ..)| place <= *first)
            {
                let left = room.left_for(id).min(self.most_of(id));
                if left > 0 {
                    next.insert((place, id, left));
                }
                front = fronts.next();
            }
            let Some((place, id, left)) = next.pop_first() else {
                break;
            };
            let Some(heads) = self.heads.get(&id) else {
                continue;
            };
            due.extend(heads.get(&place).map(Arc::clone));
            taken += usize::from(left > 0);
            let mut behind = heads.range((Excluded(place), Unbounded));
            if left > 0
                && let Some((&place, _)) = behind.next()
                && place.0 <= now
            {
                next.insert((place, id, left - 1));
            }
        }
        due
    }

    /// Lanes whose heads have been due at sick endpoints for longer than `max_age`, the
    /// oldest of each endpoint first, at most `limit`.
    pub fn expired(&self, now: Timestamp, max_age: Duration, limit: usize) -> Vec<Arc<LaneKey>> {
        let is_too_old = |due_at, sick_since| waits_since(due_at, sick_since).plus(max_age) < now;
        let mut expired = Vec::new();
        for (id, &sick_since) in &self.sick {
            let heads = self.heads.get(id).into_iter().flatten();
            let heads = heads.take_while(|((due_at, _), _)| is_too_old(*due_at, sick_since));
            let room = limit.saturating_sub(expired.len());
            expired.extend(heads.take(room).map(|(_, key)| Arc::clone(key)));
        }
        expired
    }

    /// When the head that has waited longest may be attempted, or might have been.
    pub fn oldest_due(&self) -> Option<Timestamp> {
        self.times.first_key_value().map(|(at, _)| *at)
    }

    /// When the next head that is not due yet falls due.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let mut later = self.times.range((Excluded(now), Unbounded));
        later.next().map(|(at, _)| *at)
    }

    /// In how long the next head that is not due yet falls due.
    pub fn next_due_in(&self, now: Timestamp) -> Option<Duration> {
        self.next_due(now).map(|at| at.since(now))
    }

    /// Whether an endpoint's heads may be claimed.
    pub fn set_enabled(&mut self, id: EndpointId, enabled: bool) {
        let changed = if enabled {
            self.disabled.remove(&id)
        } else {
            self.disabled.insert(id)
        };
        if !changed {
            return;
        }
        if let Some(front) = self.front(id) {
            if enabled {
                self.fronts.insert((front, id));
            } else {
                self.fronts.remove(&(front, id));
            }
        }
    }

    /// Since when an endpoint is sick, if it is.
    pub fn set_sick(&mut self, id: EndpointId, since: Option<Timestamp>) {
        match since {
            Some(at) => _ = self.sick.insert(id, at),
            None if self.sick.is_empty() => {}
            None => _ = self.sick.remove(&id),
        }
    }

    /// An endpoint is known no more.
    pub fn forget_endpoint(&mut self, id: EndpointId) {
        self.set_enabled(id, true);
        self.set_sick(id, None);
    }

    /// One that is sick begins with its probe.
    fn most_of(&self, id: EndpointId) -> u32 {
        if !self.sick.is_empty() && self.sick.contains_key(&id) {
            1
        } else {
            u32::MAX
        }
    }

    /// Takes in what was changed.
    pub fn apply(&mut self, now: Timestamp, changes: &Changes) {
        self.forget_deleted(changes);
        for endpoint in &changes.endpoints {
            let endpoint = &endpoint.row.endpoint;
            self.set_enabled(endpoint.id, endpoint.enabled);
            self.set_sick(endpoint.id, endpoint.sick_since);
        }
        for change in &changes.deliveries {
            let DeliveryChange {
                lane, before, row, ..
            } = change;
            match (before, change.end) {
                (None, None) => self.push(lane, *row),
                (Some(_), None) => self.replace(lane, *row),
                (Some(_), Some(_)) => _ = self.remove(lane, row.number),
                (None, Some(_)) => {}
            }
            self.sent.ask(row.spacing);
        }
        for lane in &changes.lanes {
            self.stand(&lane.key, lane.stands);
            if let Some(sent_at) = lane.progress_sent_at {
                self.sent.put(&lane.key, sent_at, now);
            }
        }
    }

    /// Leaves a delivery out of its lane, which goes on without it: it can't be
    /// read.
    pub fn set_aside(&mut self, now: Timestamp, key: &LaneKey, number: u64) {
        self.remove(key, number);
        let head = self.lanes.get(key).and_then(|lane| lane.rows.front());
        let stands = head.filter(|head| head.lease.is_none()).map(|_| now);
        self.stand(key, stands);
    }

    /// Brings what is pending to the time of a clock that was set. The rows of which
    /// that which is written down has changed.
    pub fn clock_set(&mut self, step: ClockStep) -> Vec<DeliveryRow> {
        self.sent.clock_set(step);
        self.change(|row| DeliveryRow {
            due_at: step.due(row.due_at),
            accepted_at: step.stamp(row.accepted_at),
            first_failed_at: row.first_failed_at.map(|at| step.stamp(at)),
            ..row
        })
    }

    /// Changes the times of what is pending, and lets the heads stand where they now
    /// belong. The rows of which due time or first failure has changed.
    pub fn change(&mut self, change: impl Fn(DeliveryRow) -> DeliveryRow) -> Vec<DeliveryRow> {
        let mut changed = Vec::new();
        let mut moved = Vec::new();
        for (key, lane) in &mut self.lanes {
            let mut is_moved = false;
            for row in &mut lane.rows {
                let old = *row;
                *row = change(old);
                is_moved |= *row != old;
                let written = |row: &DeliveryRow| (row.due_at, row.first_failed_at);
                if written(row) != written(&old) {
                    changed.push(*row);
                }
            }
            if is_moved && lane.stands.is_some() {
                moved.extend(lane.rows.front().map(|row| (Arc::clone(key), row.due_at)));
            }
        }
        for (key, due_at) in moved {
            self.stand(&key, Some(due_at));
        }
        changed
    }

    fn push(&mut self, key: &LaneKey, row: DeliveryRow) {
        self.total += 1;
        self.at_endpoints.add(key.endpoint);
        if let Some(job) = row.job {
            *self.by_job.entry(job).or_default() += 1;
        }
        match self.lanes.get_mut(key) {
            Some(lane) => lane.rows.push_back(row),
            None => {
                let lane = Lane {
                    rows: VecDeque::from([row]),
                    stands: None,
                };
                self.lanes.insert(self.at_endpoints.begin(key), lane);
            }
        }
    }

    fn replace(&mut self, key: &LaneKey, row: DeliveryRow) {
        if let Some(lane) = self.lanes.get_mut(key)
            && let Some(old) = lane.rows.iter_mut().find(|old| old.number == row.number)
        {
            *old = row;
        }
    }

    fn remove(&mut self, key: &LaneKey, number: u64) -> Option<()> {
        let lane = self.lanes.get_mut(key)?;
        let position = lane.rows.iter().position(|row| row.number == number)?;
        let row = lane.rows.remove(position)?;
        let is_empty = lane.rows.is_empty();
        self.total -= 1;
        self.at_endpoints.remove(key.endpoint);
        if let Some(job) = row.job {
            subtract(&mut self.by_job, job);
        }
        if is_empty {
            self.stand(key, None);
            self.at_endpoints.end(key);
            self.lanes.remove(key);
        }
        Some(())
    }

    /// Where the lane's head stands; `None` if it is leased, or there is none.
    fn stand(&mut self, key: &LaneKey, at: Option<Timestamp>) {
        let Some((key, lane)) = self.lanes.get_key_value(key) else {
            return;
        };
        let new = at.and_then(|at| Some((at, lane.rows.front()?.number)));
        let old = lane.stands;
        if old == new {
            return;
        }
        let (key, id) = (Arc::clone(key), key.endpoint);
        let front = self.front(id);
        let heads = self.heads.entry(id).or_default();
        if let Some(old) = old {
            heads.remove(&old);
            subtract_at(&mut self.times, old.0);
        }
        if let Some(new) = new {
            heads.insert(new, Arc::clone(&key));
            *self.times.entry(new.0).or_default() += 1;
        }
        if heads.is_empty() {
            self.heads.remove(&id);
        }
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.stands = new;
        }
        let now_front = self.front(id);
        if front != now_front && !self.disabled.contains(&id) {
            if let Some(front) = front {
                self.fronts.remove(&(front, id));
            }
            if let Some(front) = now_front {
                self.fronts.insert((front, id));
            }
        }
    }

    fn front(&self, id: EndpointId) -> Option<Place> {
        let (place, _) = self.heads.get(&id)?.first_key_value()?;
        Some(*place)
    }
}

/// When a lane's last progress was sent.
#[derive(Debug, Default)]
struct Sent {
    at: HashMap<LaneKey, Timestamp>,
    /// The longest distance that was asked for.
    spacing_max: Duration,
    prune_at: usize,
}

impl Sent {
    fn at(&self, key: &LaneKey) -> Option<Timestamp> {
        // Most lanes have none, and then a look costs nothing.
        if self.at.is_empty() {
            return None;
        }
        self.at.get(key).copied()
    }

    /// Progress that keeps this distance has come.
    fn ask(&mut self, spacing: Duration) {
        self.spacing_max = self.spacing_max.max(spacing);
    }

    fn put(&mut self, key: &LaneKey, sent_at: Timestamp, now: Timestamp) {
        self.at.insert(key.clone(), sent_at);
        if self.at.len() >= self.prune_at.max(PRUNE_MIN) {
            // A distance that is kept decides nothing any more.
            let spacing = self.spacing_max;
            self.at.retain(|_, sent_at| sent_at.plus(spacing) > now);
            self.prune_at = 2 * self.at.len();
        }
    }

    fn clock_set(&mut self, step: ClockStep) {
        for sent in self.at.values_mut() {
            *sent = step.stamp(*sent);
        }
    }
}

const PRUNE_MIN: usize = 16_384;

fn subtract<K: Eq + std::hash::Hash>(counts: &mut IdMap<K, u64>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

fn subtract_at(counts: &mut BTreeMap<Timestamp, usize>, key: Timestamp) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
