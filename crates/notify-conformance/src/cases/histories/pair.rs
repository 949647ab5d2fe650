//! A store and the model, side by side: what is done to the one is done to the
//! other.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::{DeliveryState, Leased, Outcome, Settle};
use notify_core::endpoint::{Endpoint, Health};
use notify_core::store::{
    Append, Archive, Batch, DeadFilter, Doomed, EndpointChange, HealthNote, List, Refusal,
    Registration, Room, Store, StoreError, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, Timestamp};

use super::step::{RoomFor, Step, everyone};
use super::witness::Witness;
use crate::ask::{self, Ask};
use crate::rig::{INTERVAL, PLENTY, Rig, START, deliveries_of, everywhere, trim, url};
use crate::snapshot::{leased_line, snapshot};
use crate::{Bounds, ModelStore};

pub(super) struct Pair<S> {
    pub(super) store: S,
    pub(super) now: Timestamp,
    model: ModelStore,
    witness: Witness,
    /// What is leased: by the store, and by the model.
    pub(super) held: BTreeMap<DeliveryId, (Leased, Leased)>,
    /// What has ended a lease: at the store, and at the model.
    pub(super) ended: Vec<(Settle, Settle)>,
    pub(super) deliveries: Vec<DeliveryId>,
    /// Makes appends and registrations.
    pub(super) desk: Rig<()>,
    pub(super) restarted: bool,
    /// No endpoint is ever forgotten, so each is one holder of dead letters.
    pub(super) is_anchored: bool,
}

impl<S: Store> Pair<S> {
    pub(super) fn new(store: S, bounds: Bounds) -> Self {
        Self {
            store,
            now: START,
            model: ModelStore::new(bounds),
            witness: Witness::default(),
            held: BTreeMap::new(),
            ended: Vec::new(),
            deliveries: Vec::new(),
            desk: Rig::over(()),
            restarted: false,
            is_anchored: false,
        }
    }

    /// Takes a step with both, and compares what comes of it. Time passes, so
    /// that what happens in different steps is in order.
    pub(super) async fn carry_out(&mut self, step: Step) {
        self.pass(Duration::from_millis(7));
        let now = self.now;
        match step {
            Step::Wait(span) => self.pass(span),
            Step::Write {
                ends,
                stale,
                appends,
                room,
            } => self.write(ends, stale, appends, room).await,
            Step::Claim => self.claim().await,
            Step::Register(registration) => self.register(*registration).await,
            Step::Delete(job, force) => self.delete_job(job, force).await,
            Step::DeleteEndpoint(name) => self.delete_endpoint(name).await,
            Step::Redeliver(filter) => {
                let ours = self.store.redeliver(now, filter.clone()).await;
                assert_eq!(ours, self.model.redeliver(now, filter).await);
            }
            Step::Drop(filter) => {
                let ours = self.store.drop_dead_letters(now, filter.clone()).await;
                assert_eq!(ours, self.model.drop_dead_letters(now, filter).await);
            }
            Step::Trim(retention) => {
                let ours = trim(&self.store, now, retention).await;
                assert_eq!(ours, trim(&self.model, now, retention).await);
            }
            Step::Examine(at, health) => self.examine(&at, health).await,
            Step::Enable(at, enabled) => self.change(&at, EndpointChange::Enabled(enabled)).await,
            Step::Rotate(at, secret, expire_old_after) => {
                let change = EndpointChange::Rotate {
                    secret,
                    expire_old_after,
                };
                self.change(&at, change).await;
            }
        }
    }

    /// Sees to it that no endpoint is ever forgotten.
    pub(super) async fn anchor(&mut self) {
        self.is_anchored = true;
        for name in everyone() {
            self.register(self.plan_anchor(name)).await;
        }
        self.forget_the_unnamed().await;
    }

    async fn register(&mut self, registration: Registration) {
        self.pass(Duration::from_millis(7));
        let ours = self.store.register(self.now, registration.clone()).await;
        assert_eq!(ours, self.model.register(self.now, registration).await);
    }

    async fn delete_job(&mut self, id: JobId, force: bool) {
        let what = |id| Doomed::Job { id, force };
        let ours = self.store.delete(self.now, what(id.clone())).await;
        assert_eq!(ours, self.model.delete(self.now, what(id.clone())).await);
        if ours == Ok(Ok(())) {
            self.void(|leased| leased.delivery().lane.job == id);
        }
    }

    /// Deletes an endpoint; another one comes to its URL at once.
    async fn delete_endpoint(&mut self, name: &str) {
        let at = url(name);
        let ours = self.store.endpoint_at(&at).await.unwrap().unwrap();
        let models = self.model.endpoint_at(&at).await.unwrap().unwrap();
        let [ours, models] = [ours.id, models.id].map(Doomed::Endpoint);
        let ours = self.store.delete(self.now, ours).await;
        let models = self.model.delete(self.now, models).await;
        assert_eq!((ours, models), (Ok(Ok(())), Ok(Ok(()))));
        self.void(|leased| leased.delivery().endpoint.url == at);
        self.register(self.plan_anchor(name)).await;
    }

    /// These leases were ended by something else than a settle.
    fn void(&mut self, is_void: impl Fn(&Leased) -> bool) {
        let held = std::mem::take(&mut self.held);
        for (id, (ours, models)) in held {
            if !is_void(&ours) {
                self.held.insert(id, (ours, models));
                continue;
            }
            self.witness.ended(&ours);
            let delivered = |leased| self.desk.end(leased, Outcome::Delivered);
            self.ended.push((delivered(ours), delivered(models)));
        }
    }

    /// Notes with both how an endpoint is, if both know it.
    async fn examine(&self, at: &EndpointUrl, health: Health) {
        let ours = self.store.endpoint_at(at).await.unwrap();
        let models = self.model.endpoint_at(at).await.unwrap();
        let (Some(ours), Some(models)) = (ours, models) else {
            return;
        };
        note(&self.store, self.now, ours.id, health).await;
        note(&self.model, self.now, models.id, health).await;
    }

    /// The model forgets no endpoint. That one is sick which the store has forgotten,
    /// since nothing names it, is to be remembered of it no more.
    async fn forget_the_unnamed(&self) {
        for name in everyone() {
            let models = self.model.endpoint_at(&url(name)).await.unwrap();
            if let Some(models) = models.filter(|models| models.sick_since.is_some())
                && self.store.endpoint_at(&url(name)).await.unwrap().is_none()
            {
                note(&self.model, self.now, models.id, Health::Well).await;
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        self.desk.wait(span);
    }

    async fn write(
        &mut self,
        ends: Vec<(DeliveryId, Outcome)>,
        stale: Vec<usize>,
        appends: Vec<Append>,
        room: RoomFor,
    ) {
        let (mut ours, mut models) = (Batch::default(), Batch::default());
        for at in stale {
            let (our_end, models_end) = self.ended[at].clone();
            ours.settles.push(our_end);
            models.settles.push(models_end);
        }
        for (id, outcome) in ends {
            let (our_lease, models_lease) = self.held.remove(&id).unwrap();
            self.witness.ended(&our_lease);
            let end = (
                self.desk.end(our_lease, outcome),
                self.desk.end(models_lease, outcome),
            );
            self.ended.push(end.clone());
            ours.settles.push(end.0);
            models.settles.push(end.1);
        }
        ours.operations = ask::appends(appends.clone());
        models.operations = ask::appends(appends);
        [ours.may_lease, models.may_lease] = self.room_for(&room).await;
        let ours = self.store.write(self.now, Arc::new(ours)).await.unwrap();
        let models = self.model.write(self.now, Arc::new(models)).await.unwrap();
        self.compare(ours, models);
    }

    async fn claim(&mut self) {
        let ours = self
            .store
            .claim(self.now, everywhere(), PLENTY)
            .await
            .unwrap();
        let models = self
            .model
            .claim(self.now, everywhere(), PLENTY)
            .await
            .unwrap();
        self.compare(ours, models);
    }

    /// An endpoint that only one of them has, since nobody names it, is left alone.
    async fn change(&mut self, at: &EndpointUrl, change: EndpointChange) {
        let ours = self.store.endpoint_at(at).await.unwrap();
        let models = self.model.endpoint_at(at).await.unwrap();
        if let (Some(ours), Some(models)) = (ours, models)
            && (matches!(change, EndpointChange::Enabled(_)) || models.keyring.is_some())
        {
            let ours = self
                .store
                .change_endpoint(self.now, ours.id, change.clone());
            let models = self.model.change_endpoint(self.now, models.id, change);
            let shown = |changed: Result<Result<Arc<Endpoint>, Refusal>, StoreError>| {
                let changed = changed.unwrap()?;
                Ok::<_, Refusal>((changed.enabled, changed.keyring.clone()))
            };
            assert_eq!(shown(ours.await), shown(models.await));
        }
    }

    /// The room, in the words of each: endpoints' ids may differ. One that only one
    /// of them knows is not left out.
    async fn room_for(&self, room: &RoomFor) -> [Room; 2] {
        let mut rooms = [everywhere(), everywhere()];
        match room {
            RoomFor::Nobody => return [Room::default(), Room::default()],
            RoomFor::Everybody => {}
            RoomFor::AllBut(at) => {
                let ours = self.store.endpoint_at(at).await.unwrap();
                let models = self.model.endpoint_at(at).await.unwrap();
                if let (Some(ours), Some(models)) = (ours, models) {
                    rooms[0].left.insert(ours.id, 0);
                    rooms[1].left.insert(models.id, 0);
                }
            }
        }
        rooms
    }

    /// Which lanes an append went into is compared by the deliveries that it made:
    /// the endpoints' ids may differ.
    fn compare(&mut self, ours: Written, models: Written) {
        assert_eq!(ours.settles, models.settles);
        let answers = [ask::appended(&ours), ask::appended(&models)];
        for (ours, models) in answers[0].iter().zip(&answers[1]) {
            match (ours, models) {
                (Ok(ours), Ok(models)) => {
                    assert_eq!(
                        (&ours.record, ours.lanes.len()),
                        (&models.record, models.lanes.len())
                    );
                    self.witness.accepted(&ours.record);
                    self.deliveries.extend(deliveries_of(ours.record.id()));
                }
                (ours, models) => assert_eq!(ours, models),
            }
        }
        assert_eq!(ours.answers.len(), models.answers.len());
        let deaths = |written: &Written| {
            let mut deaths: Vec<_> = written.died.iter().map(|reason| reason.as_str()).collect();
            deaths.sort_unstable();
            (deaths, written.superseded)
        };
        assert_eq!(deaths(&ours), deaths(&models));

        let [mut ours, mut models] = [ours.leased, models.leased];
        for leased in [&mut ours, &mut models] {
            leased.sort_by_key(|leased| leased.delivery().id);
        }
        let lines = |leased: &[Leased]| {
            leased
                .iter()
                .map(|leased| leased_line(leased.delivery()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&ours), lines(&models));
        for (ours, models) in ours.into_iter().zip(models) {
            self.witness.leased(self.now, &ours);
            self.held.insert(ours.delivery().id, (ours, models));
        }
    }

    /// The store was restarted, so its leases are void. A claim is where a recovery
    /// applies the lane rule; so that it does so everywhere, every endpoint is
    /// enabled and well.
    pub(super) async fn after_restart(&mut self) {
        self.restarted = true;
        // What waits has kept its distance by then.
        self.now = self.now.plus(INTERVAL);
        self.model.reopen();
        self.compare_endpoints().await;
        self.void(|_| true);
        for name in everyone() {
            self.change(&url(name), EndpointChange::Enabled(true)).await;
            self.examine(&url(name), Health::Well).await;
        }
        self.claim().await;
        self.compare_all().await;
    }

    /// Compares everything that can be read.
    pub(super) async fn compare_all(&mut self) {
        let ours = snapshot(&self.store, self.now, &self.deliveries).await;
        let models = snapshot(&self.model, self.now, &self.deliveries).await;
        if let Some(at) =
            (0..ours.len().max(models.len())).find(|&at| ours.get(at) != models.get(at))
        {
            panic!(
                "the store:  {:?}\nthe model:  {:?}",
                ours.get(at),
                models.get(at)
            );
        }
        self.compare_endpoints().await;
        let mut known = Vec::new();
        for &id in &self.deliveries {
            if self.model.delivery(id).await.unwrap().is_some() {
                known.push(id);
            }
        }
        let dead = self
            .model
            .dead_letters(DeadFilter::default(), all())
            .await
            .unwrap();
        known.extend(dead.items.iter().map(|letter| letter.id));
        known.sort();
        known.dedup();
        self.deliveries = known;
    }

    /// Compares endpoints that someone names; any other may be forgotten if there
    /// is nothing to remember of it.
    async fn compare_endpoints(&self) {
        let named = self.named_endpoints().await;
        for name in everyone() {
            let ours = self.store.endpoint_at(&url(name)).await.unwrap();
            let models = self.model.endpoint_at(&url(name)).await.unwrap();
            let both = [&ours, &models].map(|endpoint| {
                endpoint.as_ref().map(|endpoint| {
                    (
                        endpoint.enabled,
                        endpoint.keyring.clone(),
                        endpoint.sick_since,
                    )
                })
            });
            let known = both.iter().flatten().next();
            let may_be_forgotten = known
                .is_some_and(|(enabled, ring, _)| *enabled && ring.is_none())
                && !named.contains(&url(name));
            if both[0] != both[1] && !(may_be_forgotten && both.contains(&None)) {
                panic!("the store: {ours:?}, the model: {models:?}, named: {named:?}");
            }
        }
    }

    async fn named_endpoints(&self) -> HashSet<EndpointUrl> {
        let mut named = HashSet::new();
        for view in self.model.jobs(None, all()).await.unwrap().items {
            named.extend(view.webhook.map(|(url, _)| url));
        }
        for &id in &self.deliveries {
            named.extend(self.model.delivery(id).await.unwrap().map(|view| view.url));
        }
        named
    }

    /// Nothing fails any more: whatever is pending is delivered, and soon.
    pub(super) async fn drain(&mut self) {
        for name in everyone() {
            self.change(&url(name), EndpointChange::Enabled(true)).await;
        }
        while self.store.counters().await.unwrap().pending_deliveries > 0 {
            let next_due = self.store.next_due(self.now).await.unwrap();
            let ready = !self.held.is_empty();
            let ends = self
                .held
                .keys()
                .map(|&id| (id, Outcome::Delivered))
                .collect();
            self.write(ends, vec![], vec![], RoomFor::Everybody).await;
            self.claim().await;
            if self.held.is_empty() && !ready {
                assert!(next_due.is_some(), "something is pending, but never due");
                self.pass(next_due.unwrap().since(self.now));
            }
        }
        self.compare_all().await;
        for &id in &self.deliveries {
            let view = self.store.delivery(id).await.unwrap();
            assert!(view.is_none_or(|view| view.state != DeliveryState::Pending));
        }
    }
}

async fn note(store: &impl Store, now: Timestamp, endpoint: EndpointId, health: Health) {
    let batch = Batch {
        health: vec![HealthNote { endpoint, health }],
        ..Batch::default()
    };
    store.write(now, Arc::new(batch)).await.unwrap();
}

fn all() -> List {
    List {
        limit: PLENTY,
        cursor: None,
    }
}
