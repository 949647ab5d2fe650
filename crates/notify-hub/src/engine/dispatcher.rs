//! The task that sends: it carries out what the scheduler says and reports how
//! it ended.
//!
//! Attempts are made by *senders*, tasks of their own: the dispatcher starts one for
//! an attempt that nobody makes yet, and whoever has finished one makes the next
//! that may be made. So under load nobody is woken and no task is started for an
//! attempt; when there is nothing to send, there is no sender.

use std::sync::Arc;

use notify_core::delivery::Delivery;
use notify_core::schedule::AttemptEnd;
use notify_core::{DeliveryId, TransportError, webhook};
use tokio::task::{JoinSet, consume_budget};

use super::{Phase, Shared};

pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            senders: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut phase = self.shared.phase.subscribe();
        let shared = Arc::clone(&self.shared);
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Running => self.start_senders(),
                Phase::Draining if self.senders.is_empty() => return,
                Phase::Draining => {}
                // What had come to its end was reported as what it was.
                Phase::Stopping | Phase::Closing | Phase::Failed => {
                    return self.senders.shutdown().await;
                }
            }
            tokio::select! {
                Some(_) = self.senders.join_next() => {}
                () = shared.dispatch.notified() => {}
                _ = phase.changed() => {}
            }
        }
    }

    fn start_senders(&mut self) {
        let mut started = false;
        while let Some(delivery) = self.shared.next_attempt() {
            started = true;
            let sender = send(Arc::clone(&self.shared), delivery);
            self.senders.spawn(sender);
        }
        if started {
            // Taking deliveries makes room for more.
            self.shared.commit.notify_one();
        }
    }
}

impl Shared {
    fn next_attempt(&self) -> Option<Delivery> {
        let mut scheduler = self.scheduler();
        // Read under the lock, so that it is the clock that the scheduler goes by.
        scheduler.poll_attempt(self.now())
    }
}

/// A sender: attempts, one after the other, for as long as there are any.
async fn send(shared: Arc<Shared>, first: Delivery) {
    let mut next = Some(first);
    while let Some(delivery) = next {
        let under_way = UnderWay::begin(&shared, delivery.id);
        // A transport that never waits must not keep others waiting.
        consume_budget().await;
        let end = attempt(&shared, delivery).await;
        next = under_way.finish(end);
    }
}

/// An attempt that the scheduler has to hear the end of, whatever becomes of it.
struct UnderWay<'a> {
    shared: &'a Shared,
    delivery: Option<DeliveryId>,
}

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared, delivery: DeliveryId) -> Self {
        Self {
            shared,
            delivery: Some(delivery),
        }
    }

    /// Reports how it ended, and takes the next one.
    fn finish(mut self, end: AttemptEnd) -> Option<Delivery> {
        let delivery = self.delivery.take()?;
        let running = *self.shared.phase.borrow() == Phase::Running;
        let mut scheduler = self.shared.scheduler();
        let now = self.shared.now();
        scheduler.handle_attempt_finished(now, delivery, end);
        let next = running.then(|| scheduler.poll_attempt(now)).flatten();
        drop(scheduler);
        self.shared.commit.notify_one();
        next
    }
}

/// It was abandoned, or has panicked.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Some(delivery) = self.delivery.take() else {
            return;
        };
        let end = if std::thread::panicking() {
            // Only a transport that panics comes here: our fault, not the
            // receiver's.
            tracing::error!("an attempt panicked");
            AttemptEnd::OwnFailure
        } else {
            AttemptEnd::Abandoned
        };
        let mut scheduler = self.shared.scheduler();
        scheduler.handle_attempt_finished(self.shared.now(), delivery, end);
        drop(scheduler);
        self.shared.commit.notify_one();
        // Its place is free, and its sender takes nothing more.
        self.shared.dispatch.notify_one();
    }
}

/// One attempt: the endpoint's secrets of this moment, a signature of this
/// moment, and the request.
async fn attempt(shared: &Shared, delivery: Delivery) -> AttemptEnd {
    let own = delivery.endpoint.keyring.as_ref();
    let Some(keyring) = own.or(shared.settings.keyring.as_ref()) else {
        return AttemptEnd::SecretMissing;
    };
    let at = shared.clock.wall_now();
    let request = webhook::request(&delivery, keyring, at, shared.settings.timeout);
    let began = shared.at();
    let outcome = shared.transport.send_boxed(request).await;
    let took = shared.at().saturating_sub(began);
    let (accepted_at, now) = (delivery.accepted_at, shared.now());
    shared.meters.attempted(&outcome, took, accepted_at, now);
    if let Err(TransportError::Internal(why)) = &outcome {
        warn_of_own_failure(shared, delivery.id, why);
    }
    tracing::debug!(
        delivery = %delivery.id,
        event = %delivery.record.id(),
        job = %delivery.lane.job,
        url = %delivery.endpoint.url,
        status = outcome.as_ref().ok().map(|answer| answer.status),
        error = outcome.as_ref().err().map(tracing::field::display),
        "attempted"
    );
    AttemptEnd::Sent { at, outcome }
}

/// Nobody is charged with it, so nobody but the operator hears of it.
fn warn_of_own_failure(shared: &Shared, delivery: DeliveryId, why: &str) {
    let earlier = shared.scheduler().own_failures();
    tracing::warn!(%delivery, why, earlier, "an attempt failed for a reason of our own; it is made again");
}
