//! The operator: registers jobs, disables endpoints, redelivers and drops, changes
//! secrets. All of it in calls, as anyone's.

use std::time::Duration;

use notify_core::endpoint::EventFilter;
use notify_core::store::{
    Archive, DeadFilter, EndpointChange, List, Operation, RegisterWebhook, Registration, Sweep,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, JobStatus, Secret, Timestamp};

use super::World;
use crate::sim::agenda::Step;
use crate::sim::store::at_once;

/// What a receiver checks with, oldest first, and until when if not for good.
#[derive(Debug)]
pub(super) struct Secrets {
    pub(super) url: EndpointUrl,
    pub(super) known: Vec<(Secret, Option<Timestamp>)>,
}

impl World {
    pub(super) fn operate(&mut self) {
        if self.healing {
            return;
        }
        match self.rng.between(0, 11) {
            0..=2 => self.move_one(),
            3 => self.move_all(),
            4 | 5 => self.toggle_endpoint(),
            6..=8 => self.change_secret(),
            _ => {
                if let Some(job) = self.rng.pick(&self.plan.jobs).cloned() {
                    self.register(&job);
                }
            }
        }
        let after = self.rng.between(50, 2_500) * self.plan.slowness.min(10);
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
            url,
            filter,
            secret: None,
            secret_if_new: new,
        });
        let registration = Registration {
            job: job.clone(),
            token: [1; 32],
            replace_token: true,
            webhook,
            fresh: self.fresh_ids(),
        };
        self.call(Some(Operation::Register(Box::new(registration))));
    }

    /// Each call names a time of its own, long before anything died, so that its
    /// steps are known for its own.
    fn walk(&mut self, filter: DeadFilter, drops: bool) {
        let since = Timestamp::from_millis(self.number());
        let filter = DeadFilter {
            since: Some(since),
            ..filter
        };
        let Ok(sweep) = Sweep::over(filter) else {
            return;
        };
        self.call(Some(match drops {
            true => Operation::DropDeadLetters(sweep),
            false => Operation::Redeliver(sweep),
        }));
    }

    fn move_all(&mut self) {
        let drops = self.rng.percent(20);
        self.walk(DeadFilter::default(), drops);
    }

    /// Every dead letter is redelivered, also where there is no room for a step.
    pub(super) fn redeliver_all(&mut self) {
        if self.plan.memory.pending_deliveries_max >= 1_000 {
            self.walk(DeadFilter::default(), false);
        } else {
            for id in self.audit.dead() {
                self.redeliver(id);
            }
        }
    }

    fn redeliver(&mut self, id: DeliveryId) {
        let filter = DeadFilter {
            delivery: Some(id),
            ..DeadFilter::default()
        };
        self.walk(filter, false);
    }

    /// Dead letters become pending again; asking twice counts once.
    fn move_one(&mut self) {
        let ids: Vec<DeliveryId> = self.audit.rows.keys().copied().collect();
        let dead = self.audit.dead();
        // Mostly one that is dead; asking for any other must do nothing.
        let delivery = match self.rng.percent(80) {
            true => self.rng.pick(&dead).copied(),
            false => self.rng.pick(&ids).copied(),
        };
        let Some(delivery) = delivery else { return };
        for _ in 0..2 {
            self.redeliver(delivery);
        }
    }

    fn toggle_endpoint(&mut self) {
        let endpoints = self.endpoints();
        if let Some(&(id, enabled)) = self.rng.pick(&endpoints) {
            self.enable(id, !enabled);
        }
    }

    /// Every endpoint, and whether it is enabled.
    pub(super) fn endpoints(&self) -> Vec<(EndpointId, bool)> {
        let listed = at_once(self.store.memory().endpoints(List {
            limit: 1_000,
            cursor: None,
        }));
        let listed = listed.map(|listed| listed.items).unwrap_or_default();
        let endpoints = listed.iter();
        endpoints
            .map(|endpoint| (endpoint.id, endpoint.enabled))
            .collect()
    }

    /// Enables or disables an endpoint.
    pub(super) fn enable(&mut self, endpoint: EndpointId, enabled: bool) {
        let change = EndpointChange::Enabled(enabled);
        self.call(Some(Operation::ChangeEndpoint { endpoint, change }));
    }

    /// Rotates a secret, perhaps while the last rotation is under way.
    fn change_secret(&mut self) {
        let secret = Box::new(self.draw_secret());
        let expire_old_after = Duration::from_secs(self.rng.between(0, 90));
        let Some(known) = self.rng.pick(&self.secrets) else {
            return;
        };
        let endpoint = at_once(self.store.memory().endpoint_at(&known.url));
        let Some(endpoint) = endpoint.ok().flatten() else {
            return;
        };
        self.call(Some(Operation::ChangeEndpoint {
            endpoint: endpoint.id,
            change: EndpointChange::Rotate {
                secret,
                expire_old_after,
            },
        }));
    }

    /// What a receiver is told when the process knows it, or is gone.
    pub(super) fn learn_secrets(&mut self, learnt: Vec<Secrets>) {
        for secrets in learnt {
            match self.secrets.iter_mut().find(|it| it.url == secrets.url) {
                Some(known) => *known = secrets,
                None => self.secrets.push(secrets),
            }
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
