//! One store, the time and a supply of ids: what a case is told with.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use notify_core::delivery::{Attempt, DeadReason, DeliveryState, DeliveryView, Leased, Outcome};
use notify_core::delivery::{DeadLetter, Settle};
use notify_core::endpoint::EventFilter;
use notify_core::event::JobEvent;
use notify_core::job::JobStatus;
use notify_core::retention::Retention;
use notify_core::store::{
    Append, Appended, Batch, DeadFilter, EndpointChange, List, Listed, Refusal, RegisterWebhook,
    Registered, Registration, Room, Store, Webhook, Written,
};
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, EventId, EventLimits, EventRecord, IdempotencyKey, JobId,
    Timestamp,
};

use super::ask::{self, Ask};
use super::ids::Ids;
use super::{Bounds, DurableFactory, Restart, StoreFactory};

/// How far apart progress is kept where a case does not say otherwise.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);
/// How long each attempt takes from its being sent.
pub(super) const ATTEMPT_TAKES: Duration = Duration::from_millis(20);

/// When every case begins.
pub(super) const START: Timestamp = Timestamp::from_secs(1_712_534_400);

/// More than any case has.
pub(super) const PLENTY: usize = 10_000;

pub(super) struct Rig<S> {
    pub(super) store: S,
    now: Cell<Timestamp>,
    ids: Ids,
}

/// What takes no store.
impl<S> Rig<S> {
    pub(super) fn over(store: S) -> Self {
        Self {
            store,
            now: Cell::new(START),
            ids: Ids::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now.get()
    }

    /// Sets the clock.
    pub(super) fn set(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Lets time pass.
    pub(super) fn wait(&self, span: Duration) {
        self.now.set(self.now().plus(span));
    }

    /// An event to accept: for nobody but the job's own endpoint, with no key.
    pub(super) fn append(&self, to: &str, event: JobEvent) -> Append {
        Append {
            job: job(to),
            draft: event
                .draft(self.now().as_secs(), EventLimits::default())
                .unwrap(),
            idempotency: None,
            webhook: None,
            has_global_secret: true,
            progress_min_interval: INTERVAL,
            fresh: self.ids.fresh(),
        }
    }

    /// An event to accept for the endpoint at `webhook` too.
    pub(super) fn append_for(&self, webhook: &EndpointUrl, to: &str, event: JobEvent) -> Append {
        Append {
            webhook: Some(Webhook::To(webhook.clone())),
            ..self.append(to, event)
        }
    }

    /// An event to accept once, whatever is asked again with this key.
    pub(super) fn append_once(&self, key: &str, to: &str, event: JobEvent) -> Append {
        let content = event.clone().content(EventLimits::default());
        let fingerprint = content.unwrap().fingerprint(None);
        Append {
            idempotency: Some((IdempotencyKey::parse(key).unwrap(), fingerprint)),
            ..self.append(to, event)
        }
    }

    /// What ends a lease with this outcome, after an attempt that fits it.
    pub(super) fn end(&self, leased: Leased, outcome: Outcome) -> Settle {
        let status = match outcome {
            Outcome::Delivered => Some(204),
            Outcome::Retry { .. } => Some(503),
            Outcome::Dead { reason } => match reason {
                DeadReason::Gone => Some(410),
                DeadReason::Exhausted => Some(500),
                _ => None,
            },
            Outcome::Superseded | Outcome::Released | Outcome::Postponed { .. } => None,
        };
        let attempt = status.map(|status| Attempt {
            number: leased.delivery().attempts_made + 1,
            at: self.now().minus(ATTEMPT_TAKES),
            duration: ATTEMPT_TAKES,
            status: Some(status),
            error: None,
            snippet: (status != 204).then(|| format!("it was {status}")),
            next_attempt_at: None,
        });
        leased.settle(outcome, attempt)
    }

    /// A registration with a token of its own and no webhook.
    pub(super) fn registration(&self, of: &str) -> Registration {
        Registration {
            job: job(of),
            token: self.ids.token(),
            replace_token: false,
            webhook: None,
            fresh: self.ids.fresh(),
        }
    }
}

/// What is asked of the store.
impl<S: Store> Rig<S> {
    pub(super) async fn fresh<F: StoreFactory<Store = S>>(factory: &F) -> Self {
        Self::bounded(factory, Bounds::default()).await
    }

    pub(super) async fn bounded<F: StoreFactory<Store = S>>(factory: &F, bounds: Bounds) -> Self {
        Self::over(factory.fresh(bounds).await)
    }

    /// The same rig after its store was ended and opened again.
    pub(super) async fn restarted<F: DurableFactory<Store = S>>(
        self,
        factory: &F,
        how: Restart,
    ) -> Self {
        Self {
            store: factory.restart(self.store, how).await,
            ..self
        }
    }

    /// Writes events, and leases nothing.
    pub(super) async fn write(&self, appends: Vec<Append>) -> Written {
        self.write_batch(Batch {
            operations: ask::appends(appends),
            ..Batch::default()
        })
        .await
    }

    /// Writes events, and leases whatever can be leased.
    pub(super) async fn write_and_lease(&self, appends: Vec<Append>) -> Written {
        self.write_batch(Batch {
            operations: ask::appends(appends),
            may_lease: everywhere(),
            ..Batch::default()
        })
        .await
    }

    pub(super) async fn write_batch(&self, batch: Batch) -> Written {
        let written = self.store.write(self.now(), Arc::new(batch)).await.unwrap();
        self.check_next_due(&written).await;
        written
    }

    /// Writes one event that is accepted.
    pub(super) async fn accept(&self, append: Append) -> Appended {
        ask::appended(&self.write(vec![append]).await)
            .remove(0)
            .unwrap()
    }

    /// Writes one event that is refused.
    pub(super) async fn refuse(&self, append: Append) -> Refusal {
        ask::appended(&self.write(vec![append]).await)
            .remove(0)
            .unwrap_err()
    }

    /// Leases everything that can be leased now, in order of the deliveries.
    pub(super) async fn claim(&self) -> Vec<Leased> {
        self.claim_with(everywhere(), PLENTY).await
    }

    pub(super) async fn claim_with(&self, room: Room, limit: usize) -> Vec<Leased> {
        let written = self.store.claim(self.now(), room, limit).await.unwrap();
        self.check_next_due(&written).await;
        let mut leased = written.leased;
        leased.sort_by_key(|leased| {
            let lane = leased.delivery().lane.clone();
            (lane.job, leased.delivery().record.sequence(), lane.endpoint)
        });
        leased
    }

    /// Leases the one delivery that can be leased now.
    pub(super) async fn claim_one(&self) -> Leased {
        let mut leased = self.claim().await;
        assert_eq!(leased.len(), 1, "{leased:?}");
        leased.remove(0)
    }

    /// Ends a lease, with an attempt where the outcome is one of an attempt.
    pub(super) async fn settle(&self, leased: Leased, outcome: Outcome) -> Written {
        let written = self.settle_all(vec![self.end(leased, outcome)]).await;
        assert_eq!(written.settles, [Ok(())]);
        written
    }

    /// Ends leases, and leases nothing.
    pub(super) async fn settle_all(&self, settles: Vec<Settle>) -> Written {
        self.write_batch(Batch {
            settles,
            ..Batch::default()
        })
        .await
    }

    /// Ends a lease with a failed attempt and another one due in `span`.
    pub(super) async fn retry_in(&self, leased: Leased, span: Duration) -> Written {
        self.settle(leased, Outcome::Retry { after: span }).await
    }

    /// Makes a dead letter of an event for this endpoint alone.
    pub(super) async fn bury(
        &self,
        webhook: &EndpointUrl,
        of: &str,
        reason: DeadReason,
    ) -> DeliveryId {
        self.accept(self.append_for(webhook, of, JobEvent::queued()))
            .await;
        let leased = self.claim_one().await;
        let id = leased.delivery().id;
        let written = self.settle(leased, Outcome::Dead { reason }).await;
        assert_eq!(written.died, [reason]);
        id
    }

    pub(super) async fn register(&self, what: Registration) -> Result<Registered, Refusal> {
        self.store.register(self.now(), what).await.unwrap()
    }

    pub(super) async fn change_endpoint(&self, id: EndpointId, change: EndpointChange) {
        let changed = self.store.change_endpoint(self.now(), id, change).await;
        assert!(changed.unwrap().is_ok());
    }

    async fn check_next_due(&self, written: &Written) {
        let next_due = written.next_due_in.map(|wait| self.now().plus(wait));
        assert_eq!(next_due, self.next_due().await);
    }

    /// Registers a job that tells the endpoint at `webhook` of everything.
    pub(super) async fn tell(&self, of: &str, webhook: &EndpointUrl) -> Registered {
        let registration = Registration {
            replace_token: true,
            webhook: Some(telling(webhook)),
            ..self.registration(of)
        };
        self.register(registration).await.unwrap()
    }

    /// Every event that is kept of a job.
    pub(super) async fn events(&self, of: &str) -> Vec<EventRecord> {
        let page = self.store.read(&job(of), 0, PLENTY).await.unwrap();
        page.unwrap().events
    }

    pub(super) async fn sequences(&self, of: &str) -> Vec<u64> {
        let events = self.events(of).await;
        events.iter().map(EventRecord::sequence).collect()
    }

    /// A job's deliveries, oldest first.
    pub(super) async fn deliveries(&self, of: &str) -> Vec<DeliveryView> {
        let list = List {
            limit: PLENTY,
            cursor: None,
        };
        let mut items = self.store.deliveries(&job(of), list).await.unwrap().items;
        items.reverse();
        items
    }

    /// What became of a job's deliveries, by the event's sequence.
    pub(super) async fn states(&self, of: &str) -> Vec<(u64, DeliveryState)> {
        let deliveries = self.deliveries(of).await;
        let state = |view: &DeliveryView| (view.event_id.sequence(), view.state);
        deliveries.iter().map(state).collect()
    }

    pub(super) async fn delivery(&self, id: DeliveryId) -> DeliveryView {
        self.store.delivery(id).await.unwrap().unwrap()
    }

    /// Dead letters that match, newest first.
    pub(super) async fn dead(&self, filter: DeadFilter) -> Vec<DeadLetter> {
        let list = List {
            limit: PLENTY,
            cursor: None,
        };
        self.store.dead_letters(filter, list).await.unwrap().items
    }

    pub(super) async fn endpoint_id(&self, url: &EndpointUrl) -> EndpointId {
        self.store.endpoint_at(url).await.unwrap().unwrap().id
    }

    pub(super) async fn next_due(&self) -> Option<Timestamp> {
        self.store.next_due(self.now()).await.unwrap()
    }

    /// Forgets all that is past `retention`; how much that was.
    pub(super) async fn trim(&self, retention: Retention) -> u64 {
        trim(&self.store, self.now(), retention).await
    }

    pub(super) async fn pending(&self) -> u64 {
        self.store.counters().await.unwrap().pending_deliveries
    }
}

/// Forgets all that is past `retention`, in as many steps as the store likes; how
/// much that was.
pub(super) async fn trim(store: &impl Store, now: Timestamp, retention: Retention) -> u64 {
    let mut forgotten = 0;
    loop {
        let trimmed = store.trim(now, retention, PLENTY).await.unwrap();
        forgotten += trimmed.forgotten;
        if !trimmed.more {
            return forgotten;
        }
    }
}

pub(super) fn job(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

/// The deliveries that an event may have.
pub(super) fn deliveries_of(event: EventId) -> [DeliveryId; 2] {
    [0, 1].map(|target| DeliveryId::of(event, target))
}

pub(super) fn url(name: &str) -> EndpointUrl {
    EndpointUrl::parse(&format!("https://{name}.example/hook")).unwrap()
}

/// A wish to be told of everything, with no secret said.
pub(super) fn telling(url: &EndpointUrl) -> RegisterWebhook {
    RegisterWebhook {
        url: url.clone(),
        filter: EventFilter::ALL,
        secret: None,
        secret_if_new: None,
    }
}

/// Room for everything.
pub(super) fn everywhere() -> Room {
    Room {
        each: u32::MAX,
        ..Room::default()
    }
}

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn completed() -> JobEvent {
    JobEvent::completed(serde_json::json!({"made": [1, 2]}))
}

/// An event with this status and nothing else.
pub(super) fn event(status: JobStatus) -> JobEvent {
    JobEvent {
        status,
        ..JobEvent::default()
    }
}

/// The sequences of what was leased.
pub(super) fn leased_sequences(leased: &[Leased]) -> Vec<u64> {
    let sequence = |leased: &Leased| leased.delivery().record.sequence();
    leased.iter().map(sequence).collect()
}

/// Reads a list page by page and checks that it holds together: no page is
/// longer than asked for, and only the last names no next one.
pub(super) async fn paged<T>(limit: usize, page: impl AsyncFn(List) -> Listed<T>) -> Vec<T> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let listed = page(List { limit, cursor }).await;
        assert!(listed.items.len() <= limit);
        items.extend(listed.items);
        cursor = listed.next;
        if cursor.is_none() {
            return items;
        }
        assert!(items.len() < PLENTY, "the pages go round in a circle");
    }
}
