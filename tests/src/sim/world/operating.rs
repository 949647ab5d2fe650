//! The operator: registers jobs, disables endpoints, redelivers, changes secrets.

use notify_core::delivery::DeadReason;
use notify_core::endpoint::EventFilter;
use notify_core::store::{DeadFilter, EndpointChange, List, RegisterWebhook, Registration, Store};
use notify_core::{DeliveryId, EndpointId, JobId, JobStatus, Keyring, Secret};

use super::World;
use crate::sim::agenda::Step;
use crate::sim::ledger::Invariant;
use crate::sim::store::at_once;

impl World {
    pub(super) fn operate(&mut self) {
        if self.healing {
            return;
        }
        if self.process.is_some() {
            match self.rng.between(0, 9) {
                0..=2 => self.redeliver_one(),
                3 => self.redeliver(DeadFilter::default()),
                4 | 5 => self.toggle_endpoint(),
                6..=8 => self.change_secret(),
                _ => {
                    if let Some(job) = self.rng.pick(&self.plan.jobs).cloned() {
                        self.register(&job);
                    }
                }
            }
        }
        let after = self.rng.between(50, 2_500);
        self.agenda.plan(after, Step::Operate);
    }

    pub(super) fn register(&mut self, job: &JobId) {
        let Some(url) = self.rng.pick(&self.plan.urls).cloned() else {
            return;
        };
        let filter = match self.rng.between(0, 3) {
            0 => EventFilter::only([JobStatus::Queued]),
            1 => EventFilter::only([]),
            _ => EventFilter::ALL,
        };
        let new = self.rng.percent(50).then(|| self.draw_secret());
        let webhook = self.rng.percent(85).then(|| RegisterWebhook {
            url: url.clone(),
            filter,
            secret: None,
            secret_if_new: new.clone(),
        });
        let subscriber = webhook.is_some().then(|| (url.clone(), filter));
        let registration = Registration {
            job: job.clone(),
            token: [1; 32],
            replace_token: true,
            webhook,
            fresh: self.fresh_ids(),
        };
        let now = self.sched_now();
        let registered = at_once(self.store.memory().register(now, registration));
        let Ok(registered) = registered else {
            let what = || format!("{job} can't be registered");
            self.ledger.check(false, Invariant::I2, what);
            return;
        };
        self.note(|| format!("{job} is registered for {subscriber:?}"));
        self.ledger
            .registered(now, job, registered.epoch, subscriber);
        if registered.used_new_secret {
            self.secrets.extend(new.map(|new| (url, vec![new])));
        }
    }

    /// Dead letters become pending again; asking twice counts once.
    pub(super) fn redeliver(&mut self, filter: DeadFilter) {
        let now = self.sched_now();
        for _ in 0..2 {
            let count = self.store.redeliver(now, filter.clone());
            self.note(|| format!("{count} dead letters are redelivered"));
            self.ledger
                .redelivered(now, filter.delivery, count, &self.store);
        }
        self.claim_soon();
    }

    fn redeliver_one(&mut self) {
        let ids: Vec<DeliveryId> = self.ledger.rows.keys().copied().collect();
        let dead = self.ledger.dead();
        // Mostly one that is dead; asking for any other must do nothing.
        let delivery = match self.rng.percent(80) {
            true => self.rng.pick(&dead).copied(),
            false => self.rng.pick(&ids).copied(),
        };
        if delivery.is_some() {
            self.redeliver(DeadFilter {
                delivery,
                ..DeadFilter::default()
            });
        }
    }

    fn toggle_endpoint(&mut self) {
        let listed = at_once(self.store.memory().endpoints(List {
            limit: 100,
            cursor: None,
        }));
        let listed = listed.map(|listed| listed.items).unwrap_or_default();
        let Some(endpoint) = self.rng.pick(&listed) else {
            return;
        };
        self.enable(endpoint.id, !endpoint.enabled);
    }

    /// Enables or disables an endpoint.
    pub(super) fn enable(&mut self, id: EndpointId, enabled: bool) {
        let change = EndpointChange::Enabled(enabled);
        let changed = at_once(self.store.memory().change_endpoint(id, change));
        if changed.is_ok_and(|changed| changed.is_some()) {
            self.note(|| format!("{id} is enabled: {enabled}"));
            self.ledger.endpoint_changed(self.sched_now(), id, enabled);
            self.claim_soon();
        }
    }

    /// Begins a rotation, or ends the one that has begun.
    fn change_secret(&mut self) {
        let newest = self.draw_secret();
        let Some(index) = self.rng.index(self.secrets.len()) else {
            return;
        };
        let Some((url, active)) = self.secrets.get_mut(index) else {
            return;
        };
        let keyring = match active.as_slice() {
            [only] => {
                let keyring = Keyring::rotating(newest.clone(), only.clone());
                active.push(newest);
                keyring
            }
            [_, last, ..] => {
                let keyring = Keyring::new(last.clone());
                active.remove(0);
                keyring
            }
            [] => return,
        };
        let endpoint = at_once(self.store.memory().endpoint_at(url)).ok().flatten();
        let change = EndpointChange::Keyring(Box::new(keyring));
        let changed = endpoint.and_then(|endpoint| {
            let changed = self.store.memory().change_endpoint(endpoint.id, change);
            at_once(changed).ok().flatten()
        });
        let known = changed.is_some();
        self.note(|| "an endpoint's secrets change".to_owned());
        self.ledger.check(known, Invariant::I11, || {
            "an endpoint with secrets of its own was forgotten".to_owned()
        });
    }

    fn claim_soon(&mut self) {
        if let Some(process) = &mut self.process {
            process.claim_wanted = true;
            self.wake_committer();
        }
    }

    fn draw_secret(&mut self) -> Secret {
        let mut random = [0; 32];
        for part in random.as_chunks_mut::<8>().0 {
            *part = self.rng.number().to_le_bytes();
        }
        Secret::from_random(random)
    }
}

impl crate::sim::ledger::Ledger {
    fn dead(&self) -> Vec<DeliveryId> {
        let rows = self.rows.iter();
        let dead = rows.filter(|(_, row)| row.dead_of().is_some());
        dead.map(|(&id, _)| id).collect()
    }
}

impl crate::sim::ledger::Row {
    fn dead_of(&self) -> Option<DeadReason> {
        match self.state {
            crate::sim::ledger::State::Dead(reason) => Some(reason),
            _ => None,
        }
    }
}
