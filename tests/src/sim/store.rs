//! The store of the simulation: the model store, with its leases watched.
//!
//! It answers at once; when it does so, and whether anyone hears it, is the
//! simulation's business. What it says is the truth that the audit judges: the
//! process may never get to know it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadReason, Delivery, LaneKey, Lease, Leased, Outcome, Settle};
use notify_core::endpoint::{Endpoint, Health};
use notify_core::retention::Retention;
use notify_core::store::{
    Answer, Appended, Batch, Operation, Refusal, Room, StaleLease, Store, Swept, Trimmed, Webhook,
    Written,
};
use notify_core::{DeliveryId, EndpointId, EventId, EventRecord, Timestamp};
use notify_hub::{MemoryLimits, MemoryStore};

use super::sabotage::Sabotage;

#[derive(Debug)]
pub(super) struct SimStore {
    memory: MemoryStore,
    sabotage: Sabotage,
    /// Every lease that the store has given and not got back.
    outstanding: BTreeMap<DeliveryId, (LaneKey, Lease)>,
}

/// What a call came to, with the leases in the open.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) settles: Vec<Result<(), StaleLease>>,
    pub(super) answers: Vec<Result<Answer, Refusal>>,
    pub(super) leased: Vec<(Delivery, Lease)>,
    pub(super) changed: Vec<Arc<Endpoint>>,
    pub(super) left_waiting: Vec<EndpointId>,
    pub(super) superseded: u64,
    pub(super) died: Vec<DeadReason>,
    pub(super) next_due_in: Option<Duration>,
}

impl SimStore {
    pub(super) fn new(mut limits: MemoryLimits, sabotage: Sabotage) -> Self {
        if sabotage == Sabotage::IgnoreBacklog {
            limits.pending_per_endpoint_max = usize::MAX;
        }
        Self {
            memory: MemoryStore::new(limits),
            sabotage,
            outstanding: BTreeMap::new(),
        }
    }

    /// The store itself, for reading.
    pub(super) fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    pub(super) fn write(&mut self, now: Timestamp, batch: &Batch) -> Done {
        let mut batch = batch.clone();
        if self.sabotage == Sabotage::TakeStaleLeases {
            for settle in &mut batch.settles {
                if let Some((_, current)) = self.outstanding.get(&settle.delivery) {
                    settle.lease = *current;
                }
            }
        }
        for operation in &mut batch.operations {
            self.falsify(operation);
        }
        if self.sabotage == Sabotage::CallTheSickWell {
            for note in &mut batch.health {
                note.health = Health::Well;
            }
        }
        let ended: Vec<_> = batch.settles.iter().map(|settle| settle.delivery).collect();
        let operations = batch.operations.clone();
        let written = at_once(self.memory.write(now, Arc::new(batch))).unwrap_or_default();
        for (delivery, outcome) in ended.iter().zip(&written.settles) {
            if outcome.is_ok() {
                self.outstanding.remove(delivery);
            }
        }
        let mut done = self.watch(written);
        let answers = std::mem::take(&mut done.answers);
        let answers = operations.iter().zip(answers);
        done.answers = answers
            .map(|(operation, answer)| self.tamper(operation, answer))
            .collect();
        done
    }

    pub(super) fn claim(&mut self, now: Timestamp, room: Room, limit: usize) -> Done {
        let written = at_once(self.memory.claim(now, room, limit)).unwrap_or_default();
        self.watch(written)
    }

    pub(super) fn trim(&self, now: Timestamp, retention: Retention, rows_max: usize) -> Trimmed {
        let retention = match self.sabotage {
            Sabotage::ForgetEarly => Retention {
                jobs: Duration::ZERO,
                ..retention
            },
            Sabotage::NeverExpire => Retention {
                max_age: Duration::MAX,
                ..retention
            },
            Sabotage::ExpireEarly => Retention {
                max_age: Duration::ZERO,
                ..retention
            },
            _ => retention,
        };
        at_once(self.memory.trim(now, retention, rows_max)).unwrap_or_default()
    }

    /// The clock is another one: it was set, or an earlier process had gone by one
    /// that was wrong. What a durable store does to its times when it is opened again
    /// comes to the same.
    pub(super) fn clock_set(&self, step: ClockStep) {
        if self.sabotage != Sabotage::LeaveWaitsBehind {
            _ = at_once(self.memory.clock_set(step));
        }
    }

    /// The holder of all leases is gone: they are void.
    pub(super) fn release_all(&mut self, now: Timestamp, outcome: Outcome) -> (Batch, Done) {
        let settles = self.outstanding.iter();
        let settles = settles.map(|(&delivery, (lane, lease))| Settle {
            delivery,
            lane: lane.clone(),
            lease: *lease,
            outcome,
            attempt: None,
        });
        let batch = Batch {
            settles: settles.collect(),
            ..Batch::default()
        };
        let done = self.write(now, &batch);
        (batch, done)
    }

    fn watch(&mut self, written: Written) -> Done {
        let leased = written.leased.into_iter().map(|leased| {
            let delivery = leased.delivery().clone();
            let lease = leased.settle(Outcome::Released, None).lease;
            let held = (delivery.lane.clone(), lease);
            self.outstanding.insert(delivery.id, held);
            (delivery, lease)
        });
        Done {
            settles: written.settles,
            answers: written.answers,
            leased: leased.collect(),
            changed: written.changed,
            left_waiting: written.left_waiting,
            superseded: written.superseded,
            died: written.died,
            next_due_in: written.next_due_in,
        }
    }

    fn falsify(&self, operation: &mut Operation) {
        let Operation::Append(append) = operation else {
            return;
        };
        match self.sabotage {
            Sabotage::ForgetKeys => append.idempotency = None,
            Sabotage::WriteByHalf if matches!(append.webhook, Some(Webhook::To(_))) => {
                append.webhook = None;
            }
            _ => {}
        }
    }

    fn tamper(
        &self,
        operation: &Operation,
        answer: Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        let next = |id: EventId| EventId::new(id.epoch(), id.sequence() + 1);
        match (self.sabotage, operation, answer) {
            (Sabotage::SkipSequence, _, Ok(Answer::Appended(appended))) => {
                let record = appended.record;
                let json = record.json();
                let id = next(record.id());
                let record = EventRecord::restore(id, record.kind(), record.status(), &json);
                Ok(Answer::Appended(Appended { record, ..appended }))
            }
            (Sabotage::AcceptAfterEnd, _, Err(Refusal::Finished { terminal })) => {
                let kind = notify_core::job::EventKind::Lifecycle;
                let status = notify_core::JobStatus::Queued;
                Ok(Answer::Appended(Appended {
                    record: EventRecord::restore(next(terminal), kind, status, b"{}"),
                    lanes: Vec::new(),
                    unsent: None,
                }))
            }
            (Sabotage::RefuseForWebhook, Operation::Append(append), Ok(_))
                if matches!(append.webhook, Some(Webhook::Refused { .. })) =>
            {
                Err(Refusal::NoEndpoint)
            }
            (Sabotage::CountSweepTwice, _, Ok(Answer::Swept(swept))) => Ok(Answer::Swept(Swept {
                count: swept.count * 2,
                ..swept
            })),
            (Sabotage::StopSweepsEarly, _, Ok(Answer::Swept(swept))) => Ok(Answer::Swept(Swept {
                rest: None,
                ..swept
            })),
            (_, _, answer) => answer,
        }
    }
}

impl Done {
    /// What the process gets to hold: proofs that it may attempt.
    pub(super) fn into_written(self) -> Written {
        let leased = self.leased.into_iter();
        Written {
            settles: self.settles,
            answers: self.answers,
            leased: leased
                .map(|(delivery, lease)| Leased::new(delivery, lease))
                .collect(),
            changed: self.changed,
            left_waiting: self.left_waiting,
            superseded: self.superseded,
            died: self.died,
            next_due_in: self.next_due_in,
        }
    }
}

/// Polls a future of a store in memory, which is ready when it is made.
#[expect(clippy::panic, reason = "a future that waits can't be simulated")]
pub(super) fn at_once<T>(mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> T {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store in memory answers at once"),
    }
}
