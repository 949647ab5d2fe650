//! Who is sick: what the process must think of each endpoint, by all that it has heard
//! of it, and what the store was told.

use std::collections::{BTreeMap, BTreeSet};

use notify_core::delivery::{Delivery, Settle};
use notify_core::endpoint::Health;
use notify_core::store::{Archive, Batch};
use notify_core::{DeliveryId, EndpointId};

use super::{Audit, Invariant};
use crate::sim::store::{Done, SimStore, at_once};

/// Times in milliseconds.
const SECOND: u64 = 1_000;
const OPEN_MIN: u64 = 30 * SECOND;
const QUARTER_OF_AN_HOUR: u64 = 900 * SECOND;
/// That an endpoint is sick is noted once in this time.
const NOTED_EVERY: u64 = SECOND;
/// For how long nothing is given up by a clock that may be wrong.
const SETTLING: u64 = 600 * SECOND;
/// What is too old is gone so long afterwards, if nothing is in the way.
const PATIENCE: u64 = 30 * SECOND;

/// What the end of an attempt says of its endpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Said {
    /// Whether it speaks against it; `None` if it says nothing.
    pub(in crate::sim) fails: Option<bool>,
    /// For how long it asks to be left alone, in milliseconds.
    pub(in crate::sim) asks: u64,
    pub(in crate::sim) succeeds: bool,
}

impl Said {
    pub(in crate::sim) const NOTHING: Self = Self {
        fails: None,
        asks: 0,
        succeeds: false,
    };
}

#[derive(Debug, Default)]
pub(super) struct Wards {
    /// By what this life of the process has heard.
    patients: BTreeMap<EndpointId, Patient>,
    /// By what the store was told: since when, or since when no more.
    ill: BTreeMap<EndpointId, u64>,
    well: BTreeMap<EndpointId, u64>,
    /// What is to be noted together with the settle of this delivery.
    to_note: BTreeMap<EndpointId, (DeliveryId, Health)>,
    /// Endpoints whose last attempt succeeded, in this life of the process.
    serve: BTreeSet<EndpointId>,
    /// What is in flight to endpoints whose last attempt did not succeed.
    in_doubt: BTreeSet<DeliveryId>,
    /// When the store was last able to give anything up.
    pub(super) hindered_at: u64,
}

#[derive(Debug, Default)]
struct Patient {
    /// Attempts that ended since it was last closed: when, and whether they failed.
    ended: Vec<(u64, bool)>,
    /// Until when nothing is attempted, and for how long it was opened last.
    shut: Option<(u64, Option<u64>)>,
    probe: Option<DeliveryId>,
    turned_at: Option<u64>,
}

impl Patient {
    /// How many failed in a row, and what ended within a minute of a failure.
    fn counts(&self) -> (usize, Vec<(u64, bool)>) {
        let row = self.ended.iter().rev().take_while(|(_, failed)| *failed);
        let mut span: Vec<(u64, bool)> = Vec::new();
        for &(at, failed) in &self.ended {
            if span
                .first()
                .is_some_and(|(began, _)| at - began >= 60 * SECOND)
            {
                span.clear();
            }
            if failed || !span.is_empty() {
                span.push((at, failed));
            }
        }
        (row.count(), span)
    }

    /// Whether five in a row have failed, or half of twenty within a minute.
    fn is_too_bad(&self) -> bool {
        let (row, span) = self.counts();
        let failures = span.iter().filter(|(_, failed)| *failed).count();
        row >= 5 || (span.len() >= 20 && 2 * failures >= span.len())
    }

    /// Whether nothing speaks against it any more.
    fn is_blank(&self, now: u64) -> bool {
        let (row, span) = self.counts();
        let began = span.first().map(|(began, _)| *began);
        let is_over = began.is_none_or(|began| now - began >= 60 * SECOND);
        let has_turned = self.turned_at.is_some_and(|at| now - at < NOTED_EVERY);
        self.shut.is_none() && row == 0 && is_over && !has_turned
    }

    fn ends(&mut self, now: u64, id: DeliveryId, said: Said, open_max: u64) {
        let is_probe = self.probe == Some(id);
        let opened = self.shut.and_then(|(_, opened)| opened);
        if is_probe {
            self.probe = None;
        }
        match said.fails {
            None if is_probe => self.shut = Some((now, opened)),
            None => return,
            Some(fails) if is_probe => {
                let again = opened.map_or(OPEN_MIN, |last| 2 * last).min(open_max);
                self.ended.clear();
                self.shut = fails.then_some((now + again, Some(again)));
            }
            Some(fails) if self.shut.is_none() => {
                self.ended.push((now, fails));
                if self.is_too_bad() {
                    self.ended.clear();
                    self.shut = Some((now + OPEN_MIN, Some(OPEN_MIN)));
                }
            }
            Some(_) => {}
        }
        if said.asks > 0 && self.probe.is_none() {
            let pace = said.asks.clamp(SECOND, QUARTER_OF_AN_HOUR);
            let (until, opened) = self.shut.unwrap_or((0, None));
            self.shut = Some((until.max(now + pace), opened));
        }
    }
}

/// What a process does with a delivery that it is given.
impl Audit {
    /// Whether only a probe may go there now, if anything.
    pub(in crate::sim) fn is_sick(&self, id: EndpointId) -> bool {
        let patient = self.wards.patients.get(&id);
        patient.is_some_and(|patient| patient.shut.is_some())
    }

    /// Whether its probe may be made, as far as time goes.
    pub(in crate::sim) fn may_probe(&self, now: u64, id: EndpointId) -> bool {
        let patient = self.wards.patients.get(&id);
        let until = patient
            .and_then(|patient| patient.shut)
            .map(|(until, _)| until);
        until.is_some_and(|until| until <= now) && patient.is_some_and(|it| it.probe.is_none())
    }

    /// A lease has come to the process: of an endpoint of which it knows nothing it
    /// says whether it is sick.
    pub(in crate::sim) fn meets(&mut self, now: u64, delivery: &Delivery) {
        let id = delivery.lane.endpoint;
        if delivery.endpoint.sick_since.is_some() {
            self.wards.patients.entry(id).or_insert_with(|| Patient {
                shut: Some((now, None)),
                ..Patient::default()
            });
        }
    }

    /// The process hears that an endpoint is disabled, and forgets what it was like.
    pub(in crate::sim) fn hears_of_disabled(&mut self, id: EndpointId) {
        self.wards.patients.remove(&id);
    }

    /// An attempt begins while so many others are in flight to its endpoint.
    pub(in crate::sim) fn treats(&mut self, now: u64, delivery: &Delivery, others: usize) {
        let (id, endpoint) = (delivery.id, delivery.lane.endpoint);
        let is_sick = self.is_sick(endpoint);
        let may = !is_sick || (self.may_probe(now, endpoint) && others == 0);
        let patient = self.wards.patients.get_mut(&endpoint);
        let shut = patient.and_then(|patient| {
            patient.probe = is_sick.then_some(id);
            patient.shut
        });
        if !self.wards.serve.contains(&endpoint) {
            self.wards.in_doubt.insert(id);
        }
        let in_doubt = self.wards.in_doubt.len();
        if let Some(row) = self.rows.get_mut(&id) {
            row.is_probe = is_sick;
        }
        self.check(may, Invariant::Sick, || {
            format!("{id} is sent at {now} to {endpoint}, which is sick: {shut:?}, {others} others")
        });
        let most = self.rules.in_flight_max.div_ceil(2);
        self.check(in_doubt <= most, Invariant::Places, || {
            format!("{in_doubt} of {most} are in flight to those that do not serve")
        });
    }

    /// Whether the places that are not only for those that serve are taken.
    pub(in crate::sim) fn no_place_in_doubt(&self) -> bool {
        self.wards.in_doubt.len() >= self.rules.in_flight_max.div_ceil(2)
    }

    /// Whether an endpoint's last attempt succeeded.
    pub(in crate::sim) fn serves(&self, id: EndpointId) -> bool {
        self.wards.serve.contains(&id)
    }

    /// The process hears how an attempt ended. Whether its endpoint has fallen sick
    /// with it.
    pub(in crate::sim) fn hears(&mut self, now: u64, delivery: &Delivery, said: Said) -> bool {
        let (id, endpoint) = (delivery.id, delivery.lane.endpoint);
        self.wards.in_doubt.remove(&id);
        match said.fails {
            Some(_) if said.succeeds => _ = self.wards.serve.insert(endpoint),
            Some(_) => _ = self.wards.serve.remove(&endpoint),
            None => {}
        }
        let is_known = self.wards.patients.contains_key(&endpoint);
        if !is_known && said.fails != Some(true) && said.asks == 0 {
            return false;
        }
        let open_max = self.rules.max_age / 4;
        let open_max = open_max.clamp(OPEN_MIN, QUARTER_OF_AN_HOUR);
        let patient = self.wards.patients.entry(endpoint).or_default();
        let was_sick = patient.shut.is_some();
        patient.ends(now, id, said, open_max);
        let is_sick = patient.shut.is_some();
        if patient.is_blank(now) && !(was_sick || self.wards.ill.contains_key(&endpoint)) {
            self.wards.patients.remove(&endpoint);
            return false;
        }
        if was_sick == is_sick {
            return false;
        }
        let last = patient.turned_at.replace(now);
        let is_old = last.is_none_or(|last| now - last >= NOTED_EVERY);
        match (is_sick, is_old) {
            (true, true) => _ = self.wards.to_note.insert(endpoint, (id, Health::Sick)),
            (true, false) => _ = self.wards.to_note.remove(&endpoint),
            (false, _) => _ = self.wards.to_note.insert(endpoint, (id, Health::Well)),
        }
        is_sick
    }

    /// The process is gone, with all that it had heard.
    pub(super) fn forget_patients(&mut self) {
        self.wards.patients.clear();
        self.wards.to_note.clear();
        self.wards.in_doubt.clear();
        self.wards.serve.clear();
    }

    /// The latest time at which a probe falls due, if any is to come.
    pub(in crate::sim) fn last_probe(&self) -> Option<u64> {
        let patients = self.wards.patients.values();
        patients.filter_map(|it| Some(it.shut?.0)).max()
    }

    /// Whether nobody has had to come for what is due there before `then`.
    pub(super) fn is_held_back(&self, id: EndpointId, then: u64) -> bool {
        let patient = self.wards.patients.get(&id);
        let shut = patient.and_then(|patient| patient.shut);
        let turned = patient.and_then(|patient| patient.turned_at);
        shut.is_some_and(|(until, _)| until >= then) || turned.is_some_and(|at| at >= then)
    }
}

/// What the store is told, and what it makes of it.
impl Audit {
    pub(super) fn note_health(&mut self, now: u64, batch: &Batch, done: &Done) {
        for (settle, outcome) in batch.settles.iter().zip(&done.settles) {
            if outcome.is_ok() {
                self.is_noted(settle, batch);
            }
        }
        for note in &batch.health {
            let id = note.endpoint;
            match note.health {
                Health::Sick => self.fall_ill(now, id),
                Health::Well if self.disabled.contains(&id) => {}
                Health::Well => {
                    if self.wards.ill.remove(&id).is_some() {
                        self.wards.well.insert(id, now);
                    }
                }
            }
        }
    }

    /// That an endpoint fell sick, or is well again, is noted with what shows it.
    fn is_noted(&mut self, settle: &Settle, batch: &Batch) {
        let id = settle.lane.endpoint;
        let to_note = self.wards.to_note.get(&id).copied();
        let Some((_, health)) = to_note.filter(|(of, _)| *of == settle.delivery) else {
            return;
        };
        self.wards.to_note.remove(&id);
        let is_known = match health {
            Health::Sick => self.wards.ill.contains_key(&id),
            // What disabled it has made it sick again.
            Health::Well => !self.wards.ill.contains_key(&id) || self.disabled.contains(&id),
        };
        let mut notes = batch.health.iter();
        let is_noted = notes.any(|note| note.endpoint == id && note.health == health);
        self.check(is_known || is_noted, Invariant::Sick, || {
            format!(
                "{id} is {health:?}, and the store is not told: {:?}",
                batch.health
            )
        });
    }

    pub(super) fn fall_ill(&mut self, now: u64, id: EndpointId) {
        self.wards.ill.entry(id).or_insert(now);
    }

    /// What is forgotten is not ill.
    pub(super) fn forget_the_unknown(&mut self, store: &SimStore) {
        let is_known = |id| {
            at_once(store.memory().endpoint(id))
                .ok()
                .flatten()
                .is_some()
        };
        self.wards.ill.retain(|&id, _| is_known(id));
    }

    pub(super) fn is_ill(&self, id: EndpointId) -> bool {
        self.wards.ill.contains_key(&id)
    }

    pub(super) fn well_since(&self, id: EndpointId) -> u64 {
        self.wards.well.get(&id).copied().unwrap_or(0)
    }

    /// A lease says how its endpoint is.
    pub(super) fn says_how_it_is(&mut self, delivery: &Delivery) {
        let id = delivery.lane.endpoint;
        let (is_ill, says) = (self.is_ill(id), delivery.endpoint.sick_since.is_some());
        self.check(is_ill == says, Invariant::Sick, || {
            format!("{id} is ill: {is_ill}, and a lease says {says}")
        });
    }

    /// Since when a delivery has been due at an endpoint that is ill.
    fn waits_since(&self, id: DeliveryId) -> Option<u64> {
        let row = self.rows.get(&id)?;
        let ill = self.wards.ill.get(&row.lane.endpoint)?;
        Some(row.due_at.max(*ill))
    }

    /// Whether a delivery may be given up for its age. By a clock that was set forward
    /// it is older than it is.
    pub(super) fn may_expire(&self, now: u64, id: DeliveryId) -> bool {
        let Some(since) = self.waits_since(id) else {
            return false;
        };
        let max_age = self.rules.max_age;
        let is_doubted = self.forward_at.is_some_and(|at| at >= since);
        let least = if is_doubted {
            max_age.min(SETTLING)
        } else {
            max_age
        };
        now.saturating_sub(since) >= least
    }

    /// A head that should have been given up, if there is one: the process has been
    /// well, with a clock that nobody set, for long enough.
    pub(in crate::sim) fn too_old(&self, now: u64) -> Option<DeliveryId> {
        let settled = self.wards.hindered_at.max(self.disturbed_at);
        let max_age = self.rules.max_age;
        if now < settled + max_age.min(SETTLING) + PATIENCE {
            return None;
        }
        let mut heads = self.lanes.iter().filter_map(|(key, lane)| {
            let id = *lane.waiting.first()?;
            let ill = *self.wards.ill.get(&key.endpoint)?;
            // It is due no later than anything in its lane ever was.
            let due_at = lane.due_latest + self.rules.progress_min_interval;
            let since = due_at.max(lane.head_since).max(ill);
            let is_free = self.rows.get(&id)?.lease.is_none();
            (is_free && now > since + max_age + PATIENCE).then_some(id)
        });
        heads.next()
    }
}
