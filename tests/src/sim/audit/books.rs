//! The store's own books, compared with the audit.

use std::collections::BTreeMap;

use notify_core::delivery::{DeadLetter, DeadReason, DeliveryState, DeliveryView};
use notify_core::job::EventKind;
use notify_core::store::{Archive, DeadFilter, List};
use notify_core::{DeliveryId, JobId};

use super::{Audit, Invariant, Moment, State};
use crate::sim::store::{SimStore, at_once};

/// For how long a clock that is ahead at a start may go uncorrected, in milliseconds.
const SETTLING: u64 = 600_000;

/// More than any run has of anything.
pub(super) const ALL: List = List {
    limit: 100_000,
    cursor: None,
};

impl Audit {
    /// One job: its events, and each of their deliveries.
    pub(super) fn audit_job(&mut self, now: u64, name: &JobId, store: &SimStore) {
        let Some(job) = self.jobs.get(name) else {
            return;
        };
        let page = at_once(store.memory().read(name, 0, usize::MAX))
            .ok()
            .flatten();
        let Some(page) = page else {
            // It has no event yet if its first was refused.
            self.check(false, Invariant::I1, || format!("{name} is gone"));
            return;
        };
        let head = job.head();
        let mut last = 0;
        let mut breach = None;
        for record in &page.events {
            let sequence = record.sequence();
            let same = job
                .event(sequence)
                .is_some_and(|event| event.kind == record.kind() && event.json == record.json());
            if !same || record.id().epoch() != job.epoch || sequence <= last {
                breach.get_or_insert(format!("{name}: {record:?} is not what was accepted"));
            }
            if let Some(missed) = job.missed(last, sequence) {
                breach.get_or_insert(format!("{name}: {missed} is lost"));
            }
            last = sequence;
        }
        let complete = page.head.sequence == head && last == head && page.head.epoch == job.epoch;
        let ids = job.listed.clone();
        self.check(complete, Invariant::I3, || {
            format!("{name} has {head} events; the store has {:?}", page.head)
        });
        if let Some(breach) = breach {
            self.check(false, Invariant::I3, || breach);
        }
        let listed = at_once(store.memory().deliveries(name, ALL));
        let listed = listed.map(|listed| listed.items).unwrap_or_default();
        let there = listed.iter().map(|view| view.id).collect();
        self.check(ids == there, Invariant::I1, || {
            format!("{name} has the deliveries {ids:?}; the store has {there:?}")
        });
        // Oldest first, so that a newer event is there when it is asked for.
        for view in listed.iter().rev() {
            self.audit_delivery(now, view, store);
        }
    }

    fn audit_delivery(&mut self, now: u64, view: &DeliveryView, store: &SimStore) {
        let id = view.id;
        let Some(row) = self.rows.get(&id) else {
            self.check(false, Invariant::I1, || format!("nobody knows {id}"));
            return;
        };
        let same = row.event == view.event_id
            && row.generation == view.generation
            && row.url == view.url.as_str()
            && row.lane.endpoint == view.endpoint_id;
        let attempts = (view.attempts.len(), row.settled);
        self.check(same, Invariant::I10, || {
            format!("{id} is not what was accepted: {view:?}")
        });
        self.check(attempts.0 == attempts.1 as usize, Invariant::I6, || {
            format!(
                "{id} had {} attempts, the store says {}",
                attempts.1, attempts.0
            )
        });
        let Some(row) = self.rows.get(&id) else {
            return;
        };
        let (state, leased, is_progress) = (
            row.state,
            row.lease.is_some(),
            row.kind == EventKind::Progress,
        );
        match (state, view.state) {
            (State::Pending, DeliveryState::Pending)
            | (State::Delivered, DeliveryState::Delivered)
            | (State::Superseded, DeliveryState::Superseded)
            | (State::Dead(_), DeliveryState::Dead) => {}
            (State::Pending, DeliveryState::Superseded) => {
                let newer = !self.newer_kinds(id).is_empty();
                self.check(is_progress && newer && !leased, Invariant::I1, || {
                    format!("{id} was superseded; progress: {is_progress}, a newer one: {newer}")
                });
                self.close(now, id, State::Superseded);
            }
            (State::Pending, DeliveryState::Dead)
                if self.reason(id, store) == Some(DeadReason::Expired) =>
            {
                let is_old = self.may_expire(now, id) && !leased;
                self.check(is_old, Invariant::I1, || format!("{id} expired too early"));
                self.close(now, id, State::Dead(DeadReason::Expired));
            }
            (State::Pending, DeliveryState::Dead) => {
                let by = self.overtaken_at(id);
                let due_at = self.rows.get(&id).map_or(now, |row| row.due_at.max(now));
                let overtaken = by.is_some_and(|by| due_at > by) && !leased;
                let letter = self.dead_letter(id, store);
                let said = letter.map(|letter| letter.reason);
                let right = overtaken && said == Some(DeadReason::Overtaken);
                self.check(right, Invariant::I1, || {
                    format!("{id} died of {said:?}; it had until {by:?}, its due time {due_at:?}")
                });
                self.close(now, id, State::Dead(DeadReason::Overtaken));
            }
            (State::Pending, DeliveryState::Delivered) => {
                self.check(false, Invariant::I1, || format!("{id} was never delivered"));
            }
            (settled, said) => {
                self.check(false, Invariant::I16, || {
                    format!("{id} was {settled:?} and is {said:?}")
                });
            }
        }
    }

    pub(super) fn audit_counters(&mut self, store: &SimStore) {
        self.forget_the_unknown(store);
        let counters = at_once(store.memory().counters()).unwrap_or_default();
        let pending = self.pending() as u64;
        let dead = self.rows.values().filter(|row| row.is_letter());
        let dead = dead.count() as u64;
        self.check(
            counters.pending_deliveries == pending,
            Invariant::I1,
            || {
                format!(
                    "{pending} are pending; the store has {}",
                    counters.pending_deliveries
                )
            },
        );
        self.check(counters.dead_letters == dead, Invariant::I1, || {
            format!("{dead} are dead; the store has {}", counters.dead_letters)
        });
    }

    /// Everything, also what nothing has touched lately.
    pub(in crate::sim) fn audit_all(&mut self, now: u64, store: &SimStore) {
        let jobs: Vec<JobId> = self.jobs.keys().cloned().collect();
        for job in jobs {
            self.audit_job(now, &job, store);
        }
        self.audit_counters(store);
        let rows = self.rows.iter();
        let rows: Vec<_> = rows
            .filter(|(_, row)| !row.dropped)
            .map(|(&id, row)| (id, row.state, row.job_gone))
            .collect();
        let letters = at_once(store.memory().dead_letters(DeadFilter::default(), ALL));
        let letters = letters.map(|listed| listed.items).unwrap_or_default();
        let letters = letters.into_iter().map(|letter| (letter.id, letter));
        let letters: BTreeMap<DeliveryId, DeadLetter> = letters.collect();
        for (id, state, job_gone) in rows {
            match state {
                State::Dead(reason) => {
                    let letter = letters.get(&id);
                    let right = letter.is_some_and(|letter| self.is_true(letter, reason));
                    self.check(right, Invariant::I1, || {
                        format!("{id} is dead ({reason}), and its letter does not say so")
                    });
                }
                State::Pending if job_gone => {
                    let view = at_once(store.memory().delivery(id)).ok().flatten();
                    let there = view.is_some_and(|view| view.state == DeliveryState::Pending);
                    self.check(there, Invariant::I1, || format!("{id} is lost"));
                }
                _ => {}
            }
        }
    }

    /// The store has forgotten some jobs: only such as had ended and had nothing
    /// pending, and not too early.
    pub(in crate::sim) fn trimmed(&mut self, at: Moment, store: &SimStore) {
        let jobs: Vec<JobId> = self.jobs.keys().cloned().collect();
        for name in jobs {
            if at_once(store.memory().job(&name)).ok().flatten().is_some() {
                continue;
            }
            let Some(job) = self.jobs.remove(&name) else {
                continue;
            };
            let age = at.millis.saturating_sub(job.touched_at);
            let mut rows = self.rows.iter();
            let waiting = rows.find(|(_, row)| {
                row.lane.job == name && row.is_pending() && row.event.epoch() == job.epoch
            });
            let waiting = waiting.map(|(id, _)| *id);
            // A process that goes by a clock that is ahead waits for as long as such a
            // clock may go uncorrected.
            let doubted = self.forward_at.is_some_and(|at| at >= job.touched_at);
            let least = match doubted {
                true => self.rules.job_retention.min(SETTLING),
                false => self.rules.job_retention,
            };
            let right = job.is_finished() && waiting.is_none() && age >= least;
            self.check(right, Invariant::I1, || {
                format!("{name} was forgotten after {age} ms, {waiting:?} still pending")
            });
            // A dead letter outlives its job.
            self.rows.retain(|_, row| {
                let of_it = row.lane.job == name && row.event.epoch() == job.epoch;
                row.job_gone |= of_it;
                !of_it || row.is_letter()
            });
            self.lanes
                .retain(|lane, _| lane.job != name || lane.redelivery.is_some());
        }
        self.audit_counters(store);
    }

    /// The store has given up so many deliveries for their age.
    pub(in crate::sim) fn expired(&mut self, at: Moment, said: u64, store: &SimStore) {
        let dead = self.figures.dead;
        if said == 0 {
            return;
        }
        let jobs: Vec<JobId> = self.jobs.keys().cloned().collect();
        for job in jobs {
            // One that was forgotten with them had nothing to expire.
            if at_once(store.memory().job(&job)).ok().flatten().is_some() {
                self.audit_job(at.millis, &job, store);
            }
        }
        // Those whose job is gone are in no list.
        let orphans = self
            .rows
            .iter()
            .filter(|(_, row)| row.is_pending() && row.job_gone);
        for id in orphans.map(|(&id, _)| id).collect::<Vec<_>>() {
            if self.reason(id, store) == Some(DeadReason::Expired) {
                let is_old = self.may_expire(at.millis, id);
                self.check(is_old, Invariant::I1, || format!("{id} expired too early"));
                self.close(at.millis, id, State::Dead(DeadReason::Expired));
            }
        }
        let dead = self.figures.dead - dead;
        self.check(dead == said, Invariant::I1, || {
            format!("{dead} have expired, {said} were said")
        });
    }

    fn reason(&self, id: DeliveryId, store: &SimStore) -> Option<DeadReason> {
        Some(self.dead_letter(id, store)?.reason)
    }

    fn dead_letter(&self, id: DeliveryId, store: &SimStore) -> Option<DeadLetter> {
        let filter = DeadFilter {
            delivery: Some(id),
            ..DeadFilter::default()
        };
        let letters = at_once(store.memory().dead_letters(filter, ALL)).ok()?;
        letters.items.into_iter().next()
    }

    /// A dead letter holds what it was to deliver.
    fn is_true(&self, letter: &DeadLetter, reason: DeadReason) -> bool {
        let Some(row) = self.rows.get(&letter.id) else {
            return false;
        };
        letter.reason == reason
            && letter.event_id == row.event
            && letter.attempts == row.settled
            && letter.payload.get("id").and_then(|id| id.as_str()) == Some(&row.event.to_string())
    }
}
