//! Which deliveries wait behind which, and which are due: an index in memory of
//! the table `deliveries`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use notify_core::delivery::LaneKey;
use notify_core::lane::LaneRow;
use notify_core::{DeliveryId, EndpointId, Timestamp};

/// An unsettled delivery, as far as it is needed without reading its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) number: i64,
    pub(super) delivery: DeliveryId,
    pub(super) generation: u32,
    /// How many rows of `attempts` it has.
    pub(super) entries: i64,
    pub(super) row: LaneRow,
}

/// A delivery's job and number.
pub(super) type Place = (i64, i64);

/// What the lane rule now looks at.
pub(super) type Changed = (Place, LaneRow);

/// A lane with something pending.
#[derive(Debug)]
pub(super) struct Lane {
    /// The job's number; 0 if it was forgotten.
    pub(super) job: i64,
    /// The endpoint's number.
    pub(super) endpoint: i64,
    /// In order. Nearly always there is one, so this is no ring.
    pub(super) waiting: Vec<Waiting>,
    /// Where the head stands among the due; `None` if it is leased.
    standing: Option<Timestamp>,
}

/// All lanes with something pending.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Arc<LaneKey>, Lane>,
    /// Heads that are not leased, by endpoint and due time.
    due: HashMap<EndpointId, BTreeSet<(Timestamp, Arc<LaneKey>)>>,
    /// How many heads stand at each time, over all endpoints.
    times: BTreeMap<Timestamp, usize>,
    /// How much is pending, by the job's number; 0 stands for all that were
    /// forgotten.
    by_job: HashMap<i64, usize>,
    pending: usize,
}

impl Lanes {
    pub(super) fn push(&mut self, key: &LaneKey, job: i64, endpoint: i64, waiting: Waiting) {
        match self.lanes.get_mut(key) {
            Some(lane) => lane.waiting.push(waiting),
            None => {
                let lane = Lane {
                    job,
                    endpoint,
                    waiting: vec![waiting],
                    standing: None,
                };
                self.lanes.insert(Arc::new(key.clone()), lane);
            }
        }
        *self.by_job.entry(job).or_default() += 1;
        self.pending += 1;
    }

    pub(super) fn lane(&self, key: &LaneKey) -> Option<&Lane> {
        self.lanes.get(key)
    }

    pub(super) fn waiting(&self, key: &LaneKey, number: i64) -> Option<&Waiting> {
        let lane = self.lanes.get(key)?;
        lane.waiting.iter().find(|one| one.number == number)
    }

    pub(super) fn waiting_mut(&mut self, key: &LaneKey, number: i64) -> Option<&mut Waiting> {
        let lane = self.lanes.get_mut(key)?;
        lane.waiting.iter_mut().find(|one| one.number == number)
    }

    /// Takes a delivery out of its lane.
    pub(super) fn remove(&mut self, key: &LaneKey, number: i64) {
        if let Some(lane) = self.lanes.get_mut(key) {
            let before = lane.waiting.len();
            lane.waiting.retain(|one| one.number != number);
            let removed = before - lane.waiting.len();
            self.pending -= removed;
            if let Some(pending) = self.by_job.get_mut(&lane.job) {
                *pending = pending.saturating_sub(removed);
                if *pending == 0 {
                    self.by_job.remove(&lane.job);
                }
            }
            if lane.waiting.is_empty() {
                self.stand(key, None);
                self.lanes.remove(key);
            }
        }
    }

    /// Where the lane's head stands among the due; `None` if it is leased.
    pub(super) fn stand(&mut self, key: &LaneKey, due_at: Option<Timestamp>) {
        let Some((key, _)) = self.lanes.get_key_value(key) else {
            return;
        };
        let key = Arc::clone(key);
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let old = std::mem::replace(&mut lane.standing, due_at);
        if old == due_at {
            return;
        }
        if let Some(old) = old {
            if let Some(due) = self.due.get_mut(&key.endpoint) {
                due.remove(&(old, Arc::clone(&key)));
                if due.is_empty() {
                    self.due.remove(&key.endpoint);
                }
            }
            if let Some(count) = self.times.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    self.times.remove(&old);
                }
            }
        }
        if let Some(due_at) = due_at {
            *self.times.entry(due_at).or_default() += 1;
            self.due
                .entry(key.endpoint)
                .or_default()
                .insert((due_at, key));
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// How much of a job is pending, by its number.
    pub(super) fn pending_of(&self, job: i64) -> usize {
        self.by_job.get(&job).copied().unwrap_or_default()
    }

    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        self.times.first_key_value().map(|(at, _)| *at)
    }

    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut later = self.times.range((Excluded(now), Unbounded));
        later.next().map(|(at, _)| *at)
    }

    /// Endpoints with a head that is not leased.
    pub(super) fn endpoints(&self) -> Vec<EndpointId> {
        self.due.keys().copied().collect()
    }

    /// The head that has been due for longest at an endpoint.
    pub(super) fn first_due(&self, endpoint: EndpointId, now: Timestamp) -> Option<Arc<LaneKey>> {
        let (at, key) = self.due.get(&endpoint)?.first()?;
        (*at <= now).then(|| Arc::clone(key))
    }

    /// Changes what the lane rule looks at, and lets the heads stand where they now
    /// belong; says what was changed of that which is kept in rows.
    pub(super) fn change(&mut self, change: impl Fn(Place, LaneRow) -> LaneRow) -> Vec<Changed> {
        let mut changed = Vec::new();
        let mut heads = Vec::new();
        for (key, lane) in &mut self.lanes {
            let mut moved = false;
            for one in &mut lane.waiting {
                let place = (lane.job, one.number);
                let old = one.row;
                one.row = change(place, old);
                moved |= one.row != old;
                let kept = |row: LaneRow| (row.due_at, row.first_failed_at);
                if kept(one.row) != kept(old) {
                    changed.push((place, one.row));
                }
            }
            if moved {
                heads.push(Arc::clone(key));
            }
        }
        self.stand_at_their_rows(heads);
        changed
    }

    /// Lets every head stand where its row says, except those that are leased.
    pub(super) fn stand_all(&mut self) {
        self.stand_at_their_rows(self.lanes.keys().map(Arc::clone).collect());
    }

    fn stand_at_their_rows(&mut self, keys: Vec<Arc<LaneKey>>) {
        for key in keys {
            let head = self.lanes.get(&key).and_then(|lane| lane.waiting.first());
            let due_at = head
                .filter(|head| !head.row.leased)
                .map(|head| head.row.due_at);
            self.stand(&key, due_at);
        }
    }
}
