//! The task that sends: it carries out what the scheduler says and reports how
//! it ended.

use std::collections::HashMap;
use std::sync::Arc;

use notify_core::delivery::Delivery;
use notify_core::schedule::AttemptEnd;
use notify_core::{DeliveryId, TransportError, webhook};
use tokio::task::{Id, JoinError, JoinSet};

use super::{Phase, Shared};

pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    attempts: JoinSet<AttemptEnd>,
    deliveries: HashMap<Id, DeliveryId>,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            attempts: JoinSet::new(),
            deliveries: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut phase = self.shared.phase.subscribe();
        let shared = Arc::clone(&self.shared);
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Running => self.begin_attempts(),
                Phase::Draining if self.attempts.is_empty() => return,
                Phase::Draining => {}
                Phase::Stopping | Phase::Closing | Phase::Failed => return self.abandon().await,
            }
            tokio::select! {
                Some(ended) = self.attempts.join_next_with_id() => self.finish(ended),
                () = shared.dispatch.notified() => {}
                _ = phase.changed() => {}
            }
        }
    }

    fn begin_attempts(&mut self) {
        let poll = || {
            let mut scheduler = self.shared.scheduler();
            scheduler.poll_attempt(self.shared.now())
        };
        let mut began = false;
        while let Some(delivery) = poll() {
            began = true;
            let id = delivery.id;
            let task = self
                .attempts
                .spawn(attempt(Arc::clone(&self.shared), delivery));
            self.deliveries.insert(task.id(), id);
        }
        if began {
            // Taking deliveries makes room for more.
            self.shared.commit.notify_one();
        }
    }

    fn finish(&mut self, ended: Result<(Id, AttemptEnd), JoinError>) {
        let (task, end) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => (error.id(), AttemptEnd::Abandoned),
            Err(error) => {
                // Only a transport that panics comes here: our fault, not the
                // receiver's.
                tracing::error!("an attempt panicked");
                (error.id(), AttemptEnd::OwnFailure)
            }
        };
        if let Some(delivery) = self.deliveries.remove(&task) {
            self.report(delivery, end);
        }
    }

    /// Ends every attempt; one that had come to its end is reported as what it was.
    async fn abandon(mut self) {
        self.attempts.abort_all();
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.finish(ended);
        }
    }

    fn report(&self, delivery: DeliveryId, end: AttemptEnd) {
        let mut scheduler = self.shared.scheduler();
        // Read under the lock, so that it is the clock that the scheduler goes by.
        scheduler.handle_attempt_finished(self.shared.now(), delivery, end);
        drop(scheduler);
        self.shared.commit.notify_one();
    }
}

/// One attempt: the endpoint's secrets of this moment, a signature of this
/// moment, and the request.
async fn attempt(shared: Arc<Shared>, delivery: Delivery) -> AttemptEnd {
    let endpoint = match shared.store.endpoint(delivery.lane.endpoint).await {
        Ok(Some(endpoint)) if !endpoint.enabled => return AttemptEnd::Abandoned,
        Ok(endpoint) => endpoint,
        Err(error) => {
            warn_of_own_failure(&shared, delivery.id, &error.to_string());
            shared.heed(&error).await;
            return AttemptEnd::OwnFailure;
        }
    };
    let own = endpoint.and_then(|endpoint| endpoint.keyring);
    let Some(keyring) = own.or_else(|| shared.settings.keyring.clone()) else {
        return AttemptEnd::SecretMissing;
    };
    let at = shared.clock.wall_now();
    let request = webhook::request(&delivery, &keyring, at, shared.settings.timeout);
    let outcome = shared.transport.send_boxed(request).await;
    if let Err(TransportError::Internal(why)) = &outcome {
        warn_of_own_failure(&shared, delivery.id, why);
    }
    tracing::debug!(
        delivery = %delivery.id,
        event = %delivery.record.id(),
        job = %delivery.lane.job,
        url = %delivery.url,
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
