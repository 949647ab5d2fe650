//! Who is sick, and when each is tried again.
//!
//! Of an endpoint that is well nothing is kept here, and nothing is looked up. One is
//! [known](Healths::is_known) from its first failure on, or when a lease says that it
//! was sick before this process; and until it is well and its row says so too, since a
//! lease that was given meanwhile still calls it sick.
//!
//! What is known is bounded ([`Limits::sick_endpoints_max`]). Beyond that nothing is
//! remembered of those that fail: their deliveries are tried by their own schedule.
//!
//! [`Limits::sick_endpoints_max`]: super::Limits::sick_endpoints_max

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::{Breaker, BreakerState};
use crate::clock::ClockStep;
use crate::endpoint::{Endpoint, Health};
use crate::id::EndpointId;
use crate::map::IdMap;
use crate::retry::Verdict;
use crate::store::HealthNote;
use crate::time::Timestamp;

/// That an endpoint has fallen sick is noted at most once in this time.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// While all places are taken, it is looked for one that is free so seldom.
const REFUSED_PER_SWEEP: usize = 1_024;

/// What an attempt's end has made of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// It is as it was.
    Nothing,
    /// Nothing but a probe is attempted from now on.
    Sick,
    /// It is well again.
    Well,
    /// It is still sick, and may be tried at once.
    Due,
}

/// The breakers of endpoints that are not simply well.
#[derive(Debug)]
pub(super) struct Healths {
    open_max: Duration,
    most: usize,
    known: IdMap<EndpointId, Known>,
    /// Those that are sick.
    sick: Arc<HashSet<EndpointId>>,
    /// When the probes of those that wait fall due.
    timers: BTreeSet<(Timestamp, EndpointId)>,
    /// Those whose probe is due and not under way.
    due: BTreeSet<EndpointId>,
    notes: VecDeque<HealthNote>,
    refused: usize,
}

#[derive(Debug)]
struct Known {
    breaker: Breaker,
    /// What the store was told last, or said itself.
    noted: Health,
    noted_at: Option<Timestamp>,
    /// Whether its row calls it sick, as far as it is known.
    row_is_sick: bool,
}

impl Healths {
    pub(super) fn new(open_max: Duration, most: usize) -> Self {
        Self {
            open_max,
            most,
            known: IdMap::default(),
            sick: Arc::default(),
            timers: BTreeSet::new(),
            due: BTreeSet::new(),
            notes: VecDeque::new(),
            refused: 0,
        }
    }

    pub(super) fn is_known(&self, id: EndpointId) -> bool {
        !self.known.is_empty() && self.known.contains_key(&id)
    }

    pub(super) fn is_sick(&self, id: EndpointId) -> bool {
        !self.sick.is_empty() && self.sick.contains(&id)
    }

    /// Whether its probe may be made now.
    pub(super) fn is_due(&self, id: EndpointId) -> bool {
        !self.due.is_empty() && self.due.contains(&id)
    }

    /// Those that are sick, to be left out.
    pub(super) fn sick(&self) -> Arc<HashSet<EndpointId>> {
        Arc::clone(&self.sick)
    }

    /// Those whose probe may be made now.
    pub(super) fn due(&self) -> impl Iterator<Item = EndpointId> {
        self.due.iter().copied()
    }

    pub(super) fn state(&self, id: EndpointId, now: Timestamp) -> (BreakerState, u32) {
        let breaker = self.known.get(&id).map(|known| &known.breaker);
        breaker.map_or((BreakerState::Closed, 0), |breaker| {
            (breaker.state(now), breaker.failures_in_a_row())
        })
    }

    /// How many are sick.
    pub(super) fn count_sick(&self) -> usize {
        self.sick.len()
    }

    /// A lease has come with this endpoint: if it was sick before anything was known
    /// of it, it begins with its probe.
    pub(super) fn meet(&mut self, endpoint: &Endpoint) {
        let id = endpoint.id;
        if endpoint.sick_since.is_none() || self.is_known(id) || !self.has_room() {
            return;
        }
        let breaker = Breaker::of_sick(self.open_max, Timestamp::EPOCH);
        self.known.insert(
            id,
            Known {
                breaker,
                noted: Health::Sick,
                noted_at: None,
                row_is_sick: true,
            },
        );
        Arc::make_mut(&mut self.sick).insert(id);
        self.due.insert(id);
    }

    /// Its probe is under way.
    pub(super) fn handle_probe(&mut self, id: EndpointId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.breaker.handle_probe();
            self.due.remove(&id);
        }
    }

    /// An attempt has ended; `verdict` is what it says, if anything came of it.
    pub(super) fn handle_end(
        &mut self,
        now: Timestamp,
        id: EndpointId,
        is_probe: bool,
        verdict: Option<Verdict>,
    ) -> Turned {
        if !self.is_known(id) {
            let has_failed = matches!(verdict, Some(Verdict::Failed { .. }));
            if !has_failed || !self.has_room() {
                return Turned::Nothing;
            }
            let known = Known {
                breaker: Breaker::new(self.open_max),
                noted: Health::Well,
                noted_at: None,
                row_is_sick: false,
            };
            self.known.insert(id, known);
        }
        let Some(known) = self.known.get_mut(&id) else {
            return Turned::Nothing;
        };
        let (was_sick, before) = (known.breaker.is_sick(), known.breaker.probe_at());
        known.breaker.handle_end(now, is_probe, verdict);
        let (is_sick, after) = (known.breaker.is_sick(), known.breaker.probe_at());
        let health = if is_sick { Health::Sick } else { Health::Well };
        let may_note = |last| health == Health::Well || now.since(last) >= NOTED_EVERY;
        // With each probe that fails again: by the clock of that time it may be sick
        // since a time to come.
        let is_news = known.noted != health || (is_probe && is_sick);
        if is_news && known.noted_at.is_none_or(may_note) {
            known.noted = health;
            known.noted_at = Some(now);
            self.notes.push_back(HealthNote {
                endpoint: id,
                health,
            });
        }
        let mut is_due = false;
        if before != after {
            if let Some(at) = before {
                self.timers.remove(&(at, id));
                self.due.remove(&id);
            }
            is_due = after.is_some_and(|at| at <= now);
            if is_due {
                self.due.insert(id);
            } else if let Some(at) = after {
                self.timers.insert((at, id));
            }
        }
        if was_sick != is_sick {
            let sick = Arc::make_mut(&mut self.sick);
            _ = if is_sick {
                sick.insert(id)
            } else {
                sick.remove(&id)
            };
        }
        self.forget_if_well(now, id);
        match (was_sick, is_sick) {
            (false, true) => Turned::Sick,
            (true, false) => Turned::Well,
            _ if is_due => Turned::Due,
            _ => Turned::Nothing,
        }
    }

    /// Its row has changed.
    pub(super) fn handle_changed(&mut self, endpoint: &Endpoint) {
        if !endpoint.enabled {
            // Its row says that it is sick: it begins with its probe.
            self.forget(endpoint.id);
        } else if let Some(known) = self.known.get_mut(&endpoint.id) {
            known.row_is_sick = endpoint.sick_since.is_some();
        }
    }

    /// When the next probe falls due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether probes have fallen due since this was last asked.
    pub(super) fn poll_due(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.due.insert(id);
            any = true;
        }
        any
    }

    /// What is to be noted with the next batch.
    pub(super) fn poll_note(&mut self) -> Option<HealthNote> {
        self.notes.pop_front()
    }

    /// The clock was set: probes come after as long as before.
    pub(super) fn handle_clock_set(&mut self, step: ClockStep) {
        for known in self.known.values_mut() {
            known.breaker.handle_clock_set(step);
            known.noted_at = known.noted_at.map(|at| step.carry(at));
        }
        let timers = std::mem::take(&mut self.timers).into_iter();
        self.timers = timers.map(|(at, id)| (step.carry(at), id)).collect();
    }

    fn forget_if_well(&mut self, now: Timestamp, id: EndpointId) {
        let is_well = |known: &Known| {
            let is_recent = |at| now.since(at) < NOTED_EVERY;
            let is_noted = known.noted == Health::Well && !known.row_is_sick;
            known.breaker.is_blank() && is_noted && !known.noted_at.is_some_and(is_recent)
        };
        if self.known.get(&id).is_some_and(is_well) {
            self.known.remove(&id);
        }
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&mut self, id: EndpointId) {
        let Some(known) = self.known.remove(&id) else {
            return;
        };
        if let Some(at) = known.breaker.probe_at() {
            self.timers.remove(&(at, id));
            self.due.remove(&id);
        }
        if known.breaker.is_sick() {
            Arc::make_mut(&mut self.sick).remove(&id);
        }
    }

    /// Makes room, if need be, by forgetting those that are not sick, and those that
    /// nobody has had anything to send to since their probe fell due.
    fn has_room(&mut self) -> bool {
        if self.known.len() < self.most {
            return true;
        }
        if self.refused.is_multiple_of(REFUSED_PER_SWEEP) {
            let spare = self
                .known
                .iter()
                .filter(|(id, known)| !known.breaker.is_sick() || self.due.contains(id));
            for id in spare.map(|(&id, _)| id).collect::<Vec<_>>() {
                self.forget(id);
            }
        }
        let has_room = self.known.len() < self.most;
        self.refused = if has_room { 0 } else { self.refused + 1 };
        has_room
    }
}
