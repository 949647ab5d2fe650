//! Dead letters: delivering them after all, and dropping them, a step at a time.

use std::collections::BTreeSet;

use notify_core::delivery::{DeadReason, LaneKey};
use notify_core::store::{Archive, DeadFilter, Sweep, Swept};
use notify_core::{DeliveryId, EndpointUrl};

use super::{Audit, Invariant, Lane, Row, State};
use crate::sim::store::{SimStore, at_once};

/// A walk over dead letters, from its first step on.
#[derive(Debug)]
pub(super) struct Walk {
    /// Those that were there when it began, each with its generation.
    began_with: BTreeSet<(DeliveryId, u32)>,
    moved: u64,
    steps: u64,
}

/// The most dead letters that a step may move.
const STEP_MAX: u64 = 64;

impl Audit {
    /// A step of a walk was made: which letters it has taken shows in the store.
    pub(super) fn stepped(
        &mut self,
        now: u64,
        sweep: &Sweep,
        drops: bool,
        swept: &Swept,
        store: &SimStore,
    ) {
        let filter = sweep.filter();
        let meant = |id: &DeliveryId| filter.delivery.is_none_or(|only| only == *id);
        // The walk begins with those that were there before its batch.
        let letters = self.rows.iter();
        let letters = letters.filter(|(_, row)| row.is_letter() && row.died_in < self.batches);
        let letters = letters.map(|(&id, row)| (id, row.generation));
        let letters: BTreeSet<_> = letters.filter(|(id, _)| meant(id)).collect();
        let number = filter.since.map_or(0, |since| since.as_millis());
        let can_be_sent = |id: &DeliveryId| {
            let row = self.rows.get(id);
            drops || row.is_some_and(|row| row.state != State::Dead(DeadReason::UrlInvalid))
        };
        let began_with = letters.iter().filter(|(id, _)| can_be_sent(id));
        let began_with = began_with.copied().collect();
        let walk = self.walks.entry(number).or_insert(Walk {
            began_with,
            moved: 0,
            steps: 0,
        });
        // What died since it began is none of its business, and what an earlier
        // operation of the batch has taken is no letter any more.
        let meant: Vec<DeliveryId> = letters
            .into_iter()
            .filter(|letter| walk.began_with.contains(letter))
            .map(|(id, _)| id)
            .collect();
        let there = at_once(
            store
                .memory()
                .dead_letters(DeadFilter::default(), super::books::ALL),
        );
        let there = there.map(|listed| listed.items).unwrap_or_default();
        let there: BTreeSet<_> = there.into_iter().map(|letter| letter.id).collect();
        // Which of several walks of one batch has taken one does not matter, but how
        // many each has.
        let mut moved = 0;
        for id in meant {
            let is_other = drops == self.is_redelivered_in(id, store);
            if moved == swept.count || there.contains(&id) || is_other {
                continue;
            }
            moved += 1;
            match drops {
                true => self.drop_letter(id),
                false => self.redeliver(now, id, store),
            }
        }
        let (count, most) = (swept.count, STEP_MAX);
        if let Some(walk) = self.walks.get_mut(&number) {
            walk.moved += moved;
            walk.steps += 1;
        }
        self.check(moved == count && count <= most, Invariant::I10, || {
            format!(
                "{sweep:?} has moved {moved} dead letters, of at most {most}; {count} were said"
            )
        });
    }

    fn is_redelivered_in(&self, id: DeliveryId, store: &SimStore) -> bool {
        let view = at_once(store.memory().delivery(id)).ok().flatten();
        let generation = self.rows.get(&id).map(|row| row.generation);
        view.is_some_and(|view| Some(view.generation) > generation)
    }

    fn drop_letter(&mut self, id: DeliveryId) {
        self.figures.dropped += 1;
        if let Some(row) = self.rows.get_mut(&id) {
            row.dropped = true;
            if row.job_gone {
                self.rows.remove(&id);
            }
        }
    }

    fn redeliver(&mut self, now: u64, id: DeliveryId, store: &SimStore) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        // An endpoint is its URL: it may have been forgotten and made anew.
        let url = EndpointUrl::parse(&row.url).ok();
        let endpoint = url.and_then(|url| at_once(store.memory().endpoint_at(&url)).ok().flatten());
        let lane = LaneKey {
            endpoint: endpoint.map_or(row.lane.endpoint, |endpoint| endpoint.id),
            redelivery: Some(id),
            ..row.lane.clone()
        };
        let again = Row::new(lane.clone(), row.event, row.kind, row.url.clone(), now);
        *row = Row {
            generation: row.generation + 1,
            body: row.body.take(),
            job_gone: row.job_gone,
            // Progress that is delivered after all waits for no other.
            due_at: now,
            ..again
        };
        if !row.job_gone
            && let Some(job) = self.jobs.get_mut(&lane.job)
        {
            job.listed.insert(id);
        }
        // A lane of its own: nothing of the last one counts.
        let began = Lane {
            waiting: vec![id],
            head_since: now,
            due_latest: now,
            ..Lane::default()
        };
        self.lanes.insert(lane, began);
        self.figures.redeliveries += 1;
    }

    /// The caller was told that his walk has come to its end.
    pub(in crate::sim) fn walk_done(&mut self, number: u64, count: u64, is_through: bool) {
        let Some(walk) = self.walks.remove(&number) else {
            return;
        };
        let left = walk.began_with.iter().find(|(id, generation)| {
            let row = self.rows.get(id);
            row.is_some_and(|row| row.is_letter() && row.generation == *generation)
        });
        let left = left.map(|(id, _)| *id);
        let moved = walk.moved;
        self.check(
            is_through && left.is_none() && count == moved,
            Invariant::I10,
            || format!("a walk has moved {moved} dead letters and said {count}; left: {left:?}"),
        );
    }

    /// Walks end with their process; how many were between two steps.
    pub(super) fn end_walks(&mut self) -> u64 {
        let walks = std::mem::take(&mut self.walks);
        walks.values().filter(|walk| walk.steps > 0).count() as u64
    }

    /// How many steps the walk has made, if it is one.
    pub(in crate::sim) fn steps_of(&self, number: u64) -> u64 {
        self.walks.get(&number).map_or(0, |walk| walk.steps)
    }
}
