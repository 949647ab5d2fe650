//! The store's own books, compared with the ledger.

use notify_core::delivery::{DeadLetter, DeadReason, DeliveryState, DeliveryView};
use notify_core::job::EventKind;
use notify_core::store::{DeadFilter, List, Store};
use notify_core::{DeliveryId, JobId, Timestamp};

use super::{Invariant, Ledger, State};
use crate::sim::store::{SimStore, at_once};

/// More than any run has of anything.
const ALL: List = List {
    limit: 100_000,
    cursor: None,
};

impl Ledger {
    /// One job: its events, and each of their deliveries.
    pub(super) fn audit_job(&mut self, now: Timestamp, name: &JobId, store: &SimStore) {
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
        let deliveries: usize = job.events.iter().map(|event| event.deliveries).sum();
        let complete = page.head.sequence == head && last == head && page.head.epoch == job.epoch;
        let ids = job.deliveries.clone();
        self.check(complete, Invariant::I3, || {
            format!("{name} has {head} events; the store has {:?}", page.head)
        });
        if let Some(breach) = breach {
            self.check(false, Invariant::I3, || breach);
        }
        let listed = at_once(store.memory().deliveries(name, ALL));
        let listed = listed.map(|listed| listed.items).unwrap_or_default();
        let as_many = listed.len() == deliveries && deliveries == ids.len();
        self.check(as_many, Invariant::I1, || {
            format!(
                "{name} has {deliveries} deliveries; the store has {}",
                listed.len()
            )
        });
        // Oldest first, so that a newer event is there when it is asked for.
        for view in listed.iter().rev() {
            self.audit_delivery(now, view, store);
        }
    }

    fn audit_delivery(&mut self, now: Timestamp, view: &DeliveryView, store: &SimStore) {
        let id = view.id;
        let Some(row) = self.rows.get(&id) else {
            self.check(false, Invariant::I1, || format!("nobody knows {id}"));
            return;
        };
        let same = row.event == view.event_id
            && row.generation == view.generation
            && row.url == view.url
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
        let counters = at_once(store.memory().counters()).unwrap_or_default();
        let pending = self.pending() as u64;
        let dead = self
            .rows
            .values()
            .filter(|row| matches!(row.state, State::Dead(_)));
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
    pub(in crate::sim) fn audit_all(&mut self, now: Timestamp, store: &SimStore) {
        let jobs: Vec<JobId> = self.jobs.keys().cloned().collect();
        for job in jobs {
            self.audit_job(now, &job, store);
        }
        self.audit_counters(store);
        let rows = self.rows.iter();
        let rows: Vec<_> = rows
            .map(|(&id, row)| (id, row.state, row.job_gone))
            .collect();
        for (id, state, job_gone) in rows {
            match state {
                State::Dead(reason) => {
                    let letter = self.dead_letter(id, store);
                    let right = letter.is_some_and(|letter| self.is_true(&letter, reason));
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
    pub(in crate::sim) fn trimmed(&mut self, now: Timestamp, store: &SimStore) {
        let jobs: Vec<JobId> = self.jobs.keys().cloned().collect();
        for name in jobs {
            if at_once(store.memory().job(&name)).ok().flatten().is_some() {
                continue;
            }
            let Some(job) = self.jobs.remove(&name) else {
                continue;
            };
            let age = now.since(job.touched_at);
            let waiting = job.deliveries.iter().find(|id| {
                let row = self.rows.get(id);
                row.is_some_and(super::Row::is_pending)
            });
            let right = job.is_finished() && waiting.is_none() && age >= self.rules.job_retention;
            self.check(right, Invariant::I1, || {
                format!("{name} was forgotten after {age:?}, {waiting:?} still pending")
            });
            for id in &job.deliveries {
                // A dead letter outlives its job.
                match self.rows.get_mut(id) {
                    Some(row) if matches!(row.state, State::Dead(_)) => row.job_gone = true,
                    _ => drop(self.rows.remove(id)),
                }
            }
            self.lanes
                .retain(|lane, _| lane.job != name || lane.redelivery.is_some());
        }
        self.audit_counters(store);
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
