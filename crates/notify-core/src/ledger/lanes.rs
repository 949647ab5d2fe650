//! Lanes at work: the rule carried out, deliveries that come and go, leasing.

use super::Deciding;
use super::changes::{Changes, DeliveryChange, End, Grant, LaneChange};
use super::rows::{DeliveryRow, LaneRows};
use crate::delivery::{Attempt, DeadReason, LaneKey, Lease};
use crate::event::EventRecord;
use crate::lane::{self, LaneFacts, LaneRow};
use crate::map::{IdMap, IdSet};
use crate::store::Room;
use crate::time::Timestamp;

/// The lanes of a batch, in the order in which they were fetched or made.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    places: IdMap<LaneKey, usize>,
    lanes: Vec<Lane>,
    /// By place, in the order in which the batch came to them.
    touched: Vec<usize>,
}

/// A lane, as far as it is in sight.
#[derive(Debug)]
pub(super) struct Lane {
    key: LaneKey,
    rows: Vec<Held>,
    /// How many rows stand before those that are out of sight, and how many those
    /// are.
    hidden: (usize, u64),
    ended: Vec<(Held, End)>,
    stands: Option<Timestamp>,
    pub(super) progress_sent_at: Option<Timestamp>,
    before: Standing,
    is_touched: bool,
}

/// How a lane stands: another head stands anew, even if it does so at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    head: Option<u64>,
    stands: Option<Timestamp>,
    progress_sent_at: Option<Timestamp>,
}

/// A delivery in a lane.
#[derive(Debug)]
pub(super) struct Held {
    before: Option<DeliveryRow>,
    pub(super) row: DeliveryRow,
    record: Option<EventRecord>,
    pub(super) attempts: Vec<Attempt>,
}

impl Held {
    pub(super) fn new(row: DeliveryRow, record: EventRecord) -> Self {
        Self {
            before: None,
            row,
            record: Some(record),
            attempts: Vec::new(),
        }
    }

    fn fetched(row: DeliveryRow) -> Self {
        Self {
            before: Some(row),
            row,
            record: None,
            attempts: Vec::new(),
        }
    }
}

impl Lane {
    fn new(key: LaneKey, rows: LaneRows) -> Self {
        let hidden = (rows.first.len(), rows.hidden);
        let before = Standing {
            head: rows.first.first().map(|row| row.number),
            stands: rows.stands,
            progress_sent_at: rows.progress_sent_at,
        };
        let rows_in_sight = rows.first.into_iter().chain(rows.last);
        Self {
            key,
            rows: rows_in_sight.map(Held::fetched).collect(),
            hidden,
            ended: Vec::new(),
            stands: rows.stands,
            progress_sent_at: rows.progress_sent_at,
            before,
            is_touched: false,
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            head: self.rows.first().map(|held| held.row.number),
            stands: self.stands,
            progress_sent_at: self.progress_sent_at,
        }
    }

    /// Whether the head is in sight.
    fn sees_its_head(&self) -> bool {
        self.hidden.0 > 0 || self.hidden.1 == 0
    }

    pub(super) fn find(&mut self, is: impl Fn(&DeliveryRow) -> bool) -> Option<&mut Held> {
        self.rows.iter_mut().find(|held| is(&held.row))
    }

    /// The numbers of the deliveries in sight, and whether those are all.
    pub(super) fn numbers(&self) -> (Vec<u64>, bool) {
        let numbers = self.rows.iter().map(|held| held.row.number);
        (numbers.collect(), self.hidden.1 == 0)
    }

    /// Takes a delivery out.
    fn remove(&mut self, number: u64) -> Option<Held> {
        let position = self
            .rows
            .iter()
            .position(|held| held.row.number == number)?;
        if position < self.hidden.0 {
            self.hidden.0 -= 1;
        }
        Some(self.rows.remove(position))
    }
}

impl Lanes {
    pub(super) fn new(rows: Vec<(LaneKey, LaneRows)>) -> Self {
        let mut lanes = Self::default();
        for (key, rows) in rows {
            lanes.places.insert(key.clone(), lanes.lanes.len());
            lanes.lanes.push(Lane::new(key, rows));
        }
        lanes
    }

    pub(super) fn get(&mut self, key: &LaneKey) -> Option<&mut Lane> {
        let place = *self.places.get(key)?;
        self.lanes.get_mut(place)
    }

    /// Whether a delivery has ended in one of these lanes.
    pub(super) fn has_ended(&self, is_one: impl Fn(&LaneKey) -> bool) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| !lane.ended.is_empty() && is_one(&lane.key))
    }

    /// Nothing was ever sent in these lanes: they are another job's or endpoint's now.
    pub(super) fn begin_anew(&mut self, is_one: impl Fn(&LaneKey) -> bool) {
        for lane in self.lanes.iter_mut().filter(|lane| is_one(&lane.key)) {
            lane.progress_sent_at = None;
        }
    }

    /// Puts a delivery at the end of its lane.
    pub(super) fn push(&mut self, key: &LaneKey, held: Held) {
        let place = match self.places.get(key) {
            Some(&place) => place,
            None => {
                let place = self.lanes.len();
                self.places.insert(key.clone(), place);
                self.lanes.push(Lane::new(key.clone(), LaneRows::default()));
                place
            }
        };
        if let Some(lane) = self.lanes.get_mut(place) {
            lane.rows.push(held);
            if lane.hidden.1 == 0 {
                lane.hidden.0 = lane.rows.len();
            }
        }
    }

    /// The lane is to be looked at when the batch is through.
    pub(super) fn touch(&mut self, key: &LaneKey) {
        if let Some(&place) = self.places.get(key)
            && let Some(lane) = self.lanes.get_mut(place)
            && !lane.is_touched
        {
            lane.is_touched = true;
            self.touched.push(place);
        }
    }

    pub(super) fn touch_all(&mut self) {
        for lane in &mut self.lanes {
            lane.is_touched = true;
        }
        self.touched = (0..self.lanes.len()).collect();
    }

    pub(super) fn finish(self, changes: &mut Changes) {
        for lane in self.lanes {
            if !lane.is_touched {
                continue;
            }
            let has_changed = lane.before != lane.standing();
            let Lane {
                key, rows, ended, ..
            } = lane;
            let change = |held: Held, end| DeliveryChange {
                lane: key.clone(),
                before: held.before,
                row: held.row,
                record: held.record,
                attempts: held.attempts,
                end,
            };
            let ended = ended.into_iter().map(|(held, end)| change(held, Some(end)));
            changes.deliveries.extend(ended);
            for held in rows {
                if held.before != Some(held.row) || !held.attempts.is_empty() {
                    changes.deliveries.push(change(held, None));
                }
            }
            if has_changed {
                changes.lanes.push(LaneChange {
                    key,
                    stands: lane.stands,
                    progress_sent_at: lane.progress_sent_at,
                });
            }
        }
    }
}

impl Deciding<'_> {
    /// Carries out the [lane rule](lane::plan). The head that remains and when it
    /// may be attempted, unless it is leased.
    pub(super) fn rule(&mut self, key: &LaneKey) -> Option<(u64, Timestamp)> {
        let (now, max_age) = (self.now, self.max_age);
        let endpoint = self.rows.endpoint(key.endpoint).ok().flatten();
        let endpoint = endpoint.map(|row| &row.endpoint);
        let lane = self.lanes.get(key)?;
        let facts = LaneFacts {
            progress_sent_at: lane.progress_sent_at,
            sick_since: endpoint.and_then(|endpoint| endpoint.sick_since),
            well_since: endpoint.and_then(|endpoint| endpoint.well_since),
            max_age,
        };
        let rows: Vec<LaneRow> = lane.rows.iter().map(|held| held.row.lane_row()).collect();
        let plan = lane::plan(&rows, &facts, now);
        let number = |position: usize| Some(lane.rows.get(position)?.row.number);
        let head = plan
            .head
            .and_then(|(position, due_at)| Some((number(position)?, due_at)));
        let settled = plan.settled.iter();
        let settled: Vec<_> = settled
            .filter_map(|&(position, overruled)| Some((number(position)?, overruled)))
            .collect();
        if let Some((heir, due_at)) = plan.inherited
            && let Some(heir) = lane.rows.get_mut(heir)
        {
            heir.row.due_at = due_at;
        }
        for (number, overruled) in settled {
            let reason = overruled.dead_reason();
            self.end(key, number, reason.map_or(Ending::Superseded, Ending::Dead));
        }
        let lane = self.lanes.get(key)?;
        if lane.sees_its_head() {
            head
        } else {
            // The next claim sees it.
            lane.stands = Some(now);
            None
        }
    }

    /// Leases the heads of the lanes that were touched, those that have waited
    /// longest first, as far as they are due and there is room.
    pub(super) fn lease(&mut self, mut room: Room, limit: usize) {
        let mut due = Vec::new();
        for place in std::mem::take(&mut self.lanes.touched) {
            let Some(key) = self.lanes.lanes.get(place).map(|lane| lane.key.clone()) else {
                continue;
            };
            let head = self.rule(&key);
            let Some(lane) = self.lanes.lanes.get_mut(place) else {
                continue;
            };
            if lane.sees_its_head() {
                lane.stands = head.map(|(_, due_at)| due_at);
            }
            if let Some((number, due_at)) = head.filter(|&(_, due_at)| due_at <= self.now) {
                due.push((due_at, number, place));
            }
        }
        due.sort_unstable();
        let mut left_waiting = IdSet::default();
        let mut probes = IdSet::default();
        for (_, number, place) in due {
            let Some(lane) = self.lanes.lanes.get_mut(place) else {
                continue;
            };
            let id = lane.key.endpoint;
            let Ok(Some(endpoint)) = self.rows.endpoint(id) else {
                continue;
            };
            if !endpoint.endpoint.enabled {
                continue;
            }
            if self.changes.grants.len() >= limit {
                break;
            }
            let Some(held) = lane.find(|row| row.number == number) else {
                continue;
            };
            // One that is sick begins with its probe, whatever room there is.
            let is_sick = endpoint.endpoint.sick_since.is_some();
            let is_tried = is_sick && probes.contains(&id);
            if is_tried || !room.take(id, held.row.json_bytes) {
                if left_waiting.insert(id) {
                    self.written.left_waiting.push(id);
                }
                continue;
            }
            if is_sick {
                probes.insert(id);
            }
            let endpoint = std::sync::Arc::clone(&endpoint.endpoint);
            let lease = Lease::new(self.supply.lease);
            held.row.lease = Some(lease);
            let grant = Grant {
                row: held.row,
                record: held.record.clone(),
                lane: lane.key.clone(),
                endpoint,
            };
            lane.stands = None;
            self.supply.lease += 1;
            self.changes.grants.push(grant);
        }
    }

    /// Ends a pending delivery, for good.
    pub(super) fn end(&mut self, key: &LaneKey, number: u64, ending: Ending) {
        let Some(mut held) = self.lanes.get(key).and_then(|lane| lane.remove(number)) else {
            return;
        };
        held.row.lease = None;
        self.bounds.pending = self.bounds.pending.saturating_sub(1);
        if let Some(endpoint) = self.rows.endpoints.change(&key.endpoint) {
            endpoint.pending = endpoint.pending.saturating_sub(1);
        }
        if held.row.job.is_some()
            && let Some(job) = self.rows.jobs.change(&key.job)
        {
            job.pending = job.pending.saturating_sub(1);
            if matches!(ending, Ending::Forgotten) {
                job.listed = job.listed.saturating_sub(1);
            }
            if job.head.is_finished() && job.pending == 0 {
                job.ended_at = Some(self.now);
            }
        }
        let end = match ending {
            Ending::Delivered => End::Delivered,
            Ending::Forgotten => End::Forgotten,
            Ending::Superseded => {
                self.written.superseded += 1;
                End::Superseded
            }
            Ending::Dead(reason) => {
                self.written.died.push(reason);
                if reason == DeadReason::Gone {
                    let now = self.now;
                    self.alter_endpoint(key.endpoint, |endpoint| endpoint.disable(now));
                }
                let letter = self.supply.next_number();
                End::Dead { letter, reason }
            }
        };
        if let Some(lane) = self.lanes.get(key) {
            lane.ended.push((held, end));
        }
    }
}

/// How a delivery is to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Delivered,
    Superseded,
    Dead(DeadReason),
    Forgotten,
}
