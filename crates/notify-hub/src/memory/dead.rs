//! Dead letters in memory: each keeps its own copy of what it was to deliver.

use std::time::Duration;

use notify_core::delivery::{Attempt, DeadLetter, DeadReason, Delivery, LaneKey};
use notify_core::endpoint::Endpoint;
use notify_core::store::DeadFilter;
use notify_core::{EndpointId, Timestamp};

use super::{Dead, EndpointEntry, State};

impl State {
    pub(super) fn keep_dead(
        &mut self,
        now: Timestamp,
        delivery: Delivery,
        reason: DeadReason,
        history: Vec<Attempt>,
    ) {
        let key = self.next_number();
        let letter = DeadLetter::new(&delivery, reason, history, now);
        self.dead_by_id.insert(letter.id, key);
        self.dead.insert(key, Dead { letter, delivery });
        while self.dead.len() > self.limits.dead_letters_max
            && let Some((&oldest, _)) = self.dead.first_key_value()
        {
            self.take_dead(oldest);
        }
    }

    pub(super) fn take_dead(&mut self, key: u64) -> Option<Dead> {
        let dead = self.dead.remove(&key)?;
        self.dead_by_id.remove(&dead.letter.id);
        Some(dead)
    }

    pub(super) fn matching_dead(&self, filter: &DeadFilter) -> Vec<u64> {
        let candidates: Vec<u64> = match filter.delivery {
            Some(delivery) => self
                .dead_by_id
                .get(&delivery)
                .copied()
                .into_iter()
                .collect(),
            None => self.dead.keys().copied().collect(),
        };
        let matches = |key: &u64| {
            self.dead
                .get(key)
                .is_some_and(|dead| filter.matches(&dead.letter))
        };
        candidates.into_iter().filter(matches).collect()
    }

    pub(super) fn redeliver(&mut self, now: Timestamp, filter: &DeadFilter) -> u64 {
        let matching = self.matching_dead(filter);
        matching
            .iter()
            .filter_map(|&key| self.redeliver_one(now, key))
            .count() as u64
    }

    fn redeliver_one(&mut self, now: Timestamp, key: u64) -> Option<()> {
        let Dead { delivery, .. } = self.take_dead(key)?;
        let id = delivery.id;
        self.forget_delivery(id);
        let lane = LaneKey {
            endpoint: self.restore_endpoint(&delivery),
            redelivery: Some(id),
            ..delivery.lane
        };
        let generation = delivery.generation.saturating_add(1);
        self.add_delivery(id, &lane, generation, &delivery.record, now, Duration::ZERO);
        self.lanes.stand(&lane, Some(now));
        Some(())
    }

    /// The dead letter outlives its job, and so may outlive its endpoint. One
    /// that has come to the same URL since then is that endpoint, with its
    /// secrets and its limits.
    fn restore_endpoint(&mut self, delivery: &Delivery) -> EndpointId {
        let arrival = self.next_number();
        let id = *self
            .endpoints_by_url
            .entry(delivery.url.clone())
            .or_insert(delivery.lane.endpoint);
        self.endpoints.entry(id).or_insert_with(|| EndpointEntry {
            endpoint: Endpoint {
                id,
                url: delivery.url.clone(),
                keyring: None,
                enabled: true,
            },
            arrival,
            references: 0,
        });
        id
    }
}
