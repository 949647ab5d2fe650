//! The store of the simulation: the model store, with its leases watched.
//!
//! It answers at once; when it does so, and whether anyone hears it, is the
//! simulation's business. What it says is the truth that the ledger judges: the
//! process may never get to know it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use notify_core::delivery::{Delivery, Lease, Leased, Outcome, Settle};
use notify_core::store::{
    Append, AppendError, Appended, Batch, DeadFilter, Room, StaleLease, Store, Written,
};
use notify_core::{DeliveryId, EventId, EventRecord, Timestamp};
use notify_hub::{MemoryLimits, MemoryStore};

use super::sabotage::Sabotage;

#[derive(Debug)]
pub(super) struct SimStore {
    memory: MemoryStore,
    sabotage: Sabotage,
    /// Every lease that the store has given and not got back.
    outstanding: BTreeMap<DeliveryId, Lease>,
}

/// What a call came to, with the leases in the open.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) settles: Vec<Result<(), StaleLease>>,
    pub(super) appends: Vec<Result<Appended, AppendError>>,
    pub(super) leased: Vec<(Delivery, Lease)>,
    pub(super) superseded: u64,
    pub(super) died: usize,
    pub(super) next_due: Option<Timestamp>,
}

impl SimStore {
    pub(super) fn new(limits: MemoryLimits, sabotage: Sabotage) -> Self {
        Self {
            memory: MemoryStore::new(limits),
            sabotage,
            outstanding: BTreeMap::new(),
        }
    }

    /// The store itself, for everything that is no write of deliveries.
    pub(super) fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    pub(super) fn write(
        &mut self,
        now: Timestamp,
        mut settles: Vec<Settle>,
        mut appends: Vec<Append>,
        may_lease: Room,
    ) -> Done {
        if self.sabotage == Sabotage::TakeStaleLeases {
            for settle in &mut settles {
                if let Some(&current) = self.outstanding.get(&settle.delivery) {
                    settle.lease = current;
                }
            }
        }
        for append in &mut appends {
            match self.sabotage {
                Sabotage::ForgetKeys => append.idempotency = None,
                Sabotage::WriteByHalf => append.webhook = None,
                _ => {}
            }
        }
        let ended: Vec<_> = settles.iter().map(|settle| settle.delivery).collect();
        let batch = Batch {
            settles,
            appends,
            may_lease,
        };
        let written = at_once(self.memory.write(now, batch)).unwrap_or_default();
        for (delivery, outcome) in ended.iter().zip(&written.settles) {
            if outcome.is_ok() {
                self.outstanding.remove(delivery);
            }
        }
        let mut done = self.watch(written);
        done.appends = std::mem::take(&mut done.appends)
            .into_iter()
            .map(|outcome| self.tamper(outcome))
            .collect();
        done
    }

    pub(super) fn claim(&mut self, now: Timestamp, room: Room, limit: usize) -> Done {
        let written = at_once(self.memory.claim(now, room, limit)).unwrap_or_default();
        self.watch(written)
    }

    pub(super) fn redeliver(&mut self, now: Timestamp, filter: DeadFilter) -> u64 {
        let count = at_once(self.memory.redeliver(now, filter)).unwrap_or_default();
        if self.sabotage == Sabotage::CountRedeliveryTwice {
            count * 2
        } else {
            count
        }
    }

    /// The holder of all leases is gone: they are void.
    pub(super) fn release_all(&mut self, now: Timestamp, outcome: Outcome) -> (Vec<Settle>, Done) {
        let settles: Vec<Settle> = self
            .outstanding
            .iter()
            .map(|(&delivery, &lease)| Settle {
                delivery,
                lease,
                outcome,
                attempt: None,
            })
            .collect();
        let done = self.write(now, settles.clone(), Vec::new(), Room::default());
        (settles, done)
    }

    fn watch(&mut self, written: Written) -> Done {
        let leased = written.leased.into_iter().map(|leased| {
            let delivery = leased.delivery().clone();
            let lease = leased.settle(Outcome::Released, None).lease;
            self.outstanding.insert(delivery.id, lease);
            (delivery, lease)
        });
        Done {
            settles: written.settles,
            appends: written.appends,
            leased: leased.collect(),
            superseded: written.superseded,
            died: written.died.len(),
            next_due: written.next_due,
        }
    }

    fn tamper(&self, outcome: Result<Appended, AppendError>) -> Result<Appended, AppendError> {
        let next = |id: EventId| EventId::new(id.epoch(), id.sequence() + 1);
        match (self.sabotage, outcome) {
            (Sabotage::SkipSequence, Ok(Appended { record, lanes })) => {
                let json = record.json();
                let id = next(record.id());
                let record = EventRecord::restore(id, record.kind(), record.status(), &json);
                Ok(Appended { record, lanes })
            }
            (Sabotage::AcceptAfterEnd, Err(AppendError::Finished { terminal })) => {
                let kind = notify_core::job::EventKind::Lifecycle;
                let status = notify_core::JobStatus::Queued;
                Ok(Appended {
                    record: EventRecord::restore(next(terminal), kind, status, b"{}"),
                    lanes: Vec::new(),
                })
            }
            (_, outcome) => outcome,
        }
    }
}

impl Done {
    /// What the process gets to hold: proofs that it may attempt.
    pub(super) fn take_leased(&mut self) -> Vec<Leased> {
        std::mem::take(&mut self.leased)
            .into_iter()
            .map(|(delivery, lease)| Leased::new(delivery, lease))
            .collect()
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
