//! Every rule about what is kept: accepting events, fan-out, settling, lanes,
//! registering, redelivering, bounds. Pure, and the only home of these rules.
//!
//! **Cast.** A *store* keeps rows. The ledger decides what becomes of them.
//!
//! **Flow.** For each batch the store
//!
//! 1. asks which rows the batch names ([`wants`], once for each [`Round`]) and
//!    fetches them into [`Rows`];
//! 2. has the ledger decide ([`decide`]);
//! 3. applies the [`Changes`] in one transaction, and builds what is
//!    [granted](Grant) into leases.
//!
//! A claim is the same with the lanes whose heads are due ([`decide_claim`]), and so is
//! giving up what has been due at sick endpoints for too long ([`decide_expiry`]).
//!
//! **Guarantees.** The same rows and the same batch give the same changes. Each
//! operation sees those before it, and one that is refused changes nothing. Every
//! row is put at most once. A damaged row refuses what needs it, by name.
//!
//! **What is left to a store**: how rows are fetched and written; which of a job's
//! settled deliveries is its oldest; which endpoints nothing names. Its estimates
//! of what is pending will do for [`Bounds`]; within a batch they are kept exact.

mod accept;
mod changes;
mod delete;
mod isolate;
mod lanes;
mod letters;
mod pending;
mod register;
mod rows;
mod settle;
mod wants;

use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::id::EndpointId;
use crate::signing::{Keyring, RotationInProgress, Secret};
use crate::store::{Answer, Batch, EndpointChange, HealthNote, Operation, Refusal, Room, Written};
use crate::time::Timestamp;

pub use changes::{Changes, DeliveryChange, End, Grant, LaneChange, NewEvent, NewKey, NewLetter};
pub use isolate::{BUG, Isolated, decide_isolated, unless_it_panics, without_culprits};
pub use pending::Pending;
pub use rows::{
    Changed, DeliveryRow, EndpointRow, Found, JobRow, KeyRow, LaneRows, LetterRow, Rows,
};
pub use wants::{Round, Wants, wants};

use lanes::Lanes;

/// What a store can take, and what it holds; an estimate will do for the latter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Pending deliveries altogether, at most.
    pub pending_max: u64,
    /// Pending deliveries altogether, now.
    pub pending: u64,
    /// Pending deliveries of one endpoint, at most.
    pub pending_per_endpoint_max: u64,
    /// Progress events kept of a running job, at least 1.
    pub progress_events_max: usize,
    /// How many more bytes of jobs and events there is room for.
    pub bytes_left: usize,
    /// Whether there is too little space on the disk to accept anything new.
    pub is_low: bool,
}

impl Bounds {
    /// Pending deliveries of one endpoint, at most, while
    /// [most of the room](Self::is_crowded) is taken; where there is room for less
    /// than a million altogether, a thousandth of it.
    pub const PENDING_PER_ENDPOINT_WHEN_CROWDED: u64 = 1_000;

    /// The most deliveries of one job that can be looked at, unless more are
    /// pending; the oldest settled ones leave first.
    pub const LISTED_PER_JOB_MAX: u64 = 1_024;

    /// What a job occupies in memory, roughly, beyond its events, in bytes.
    pub const JOB_BYTES: usize = 1_024;

    /// What a delivery or an idempotency key occupies in memory, roughly, beyond
    /// its event, in bytes.
    pub const DELIVERY_BYTES: usize = 512;

    /// Whether nine tenths of the room for pending deliveries are taken.
    pub const fn is_crowded(&self) -> bool {
        self.pending.saturating_mul(10) >= self.pending_max.saturating_mul(9)
    }

    /// Whether an endpoint with so much pending may have more.
    pub fn has_room_at(&self, pending_at_endpoint: u64) -> bool {
        let share = self.pending_max / Self::PENDING_PER_ENDPOINT_WHEN_CROWDED;
        let share = share.clamp(1, Self::PENDING_PER_ENDPOINT_WHEN_CROWDED);
        let is_too_much = self.is_crowded() && pending_at_endpoint >= share;
        pending_at_endpoint < self.pending_per_endpoint_max && !is_too_much
    }
}

/// Where a store stands with what is numbered. Goes on from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// The next number; orders what comes, and is never used twice.
    pub number: u64,
    /// The next lease.
    pub lease: u128,
}

impl Supply {
    fn next_number(&mut self) -> u64 {
        let number = self.number;
        self.number += 1;
        number
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Decided {
    /// What to put and delete.
    pub changes: Changes,
    /// The answers, all but the leases and the next due time, which the store adds.
    pub written: Written,
}

/// Decides over a batch, given the rows that it [wants]: first the settles and the
/// health of endpoints, then a step of the first deletion, then the other operations,
/// each in order; last, heads of lanes that remain are leased.
pub fn decide(
    now: Timestamp,
    batch: &Batch,
    rows: Rows,
    bounds: Bounds,
    supply: &mut Supply,
) -> Decided {
    let mut deciding = Deciding::new(now, rows, bounds, supply);
    for settle in &batch.settles {
        let outcome = deciding.settle(settle);
        deciding.written.settles.push(outcome);
    }
    for HealthNote { endpoint, health } in &batch.health {
        deciding.alter_endpoint(*endpoint, |endpoint| endpoint.note_health(*health, now));
    }
    let mut deleted = deciding.delete_first(&batch.operations);
    for operation in &batch.operations {
        let answer = match operation {
            Operation::Delete(deletion) => deleted
                .take()
                .unwrap_or_else(|| Ok(Deciding::later(deletion))),
            operation => deciding.operation(operation),
        };
        deciding.written.answers.push(answer);
    }
    deciding.lease(batch.may_lease.clone(), usize::MAX);
    deciding.finish()
}

/// Decides over lanes whose heads are due: `rows` holds them and their endpoints.
pub fn decide_claim(
    now: Timestamp,
    room: Room,
    limit: usize,
    rows: Rows,
    bounds: Bounds,
    supply: &mut Supply,
) -> Decided {
    let mut deciding = Deciding::new(now, rows, bounds, supply);
    deciding.lanes.touch_all();
    deciding.lease(room, limit);
    deciding.finish()
}

/// Decides over lanes whose heads may have been due at sick endpoints for longer than
/// `max_age`: `rows` holds them, their jobs and their endpoints. Of each at most its
/// head is given up; what stands behind it is asked for again.
pub fn decide_expiry(
    now: Timestamp,
    max_age: Duration,
    rows: Rows,
    bounds: Bounds,
    supply: &mut Supply,
) -> Decided {
    let mut deciding = Deciding::new(now, rows, bounds, supply);
    deciding.max_age = Some(max_age);
    deciding.lanes.touch_all();
    deciding.lease(Room::default(), 0);
    deciding.finish()
}

/// A decision in the making.
struct Deciding<'a> {
    now: Timestamp,
    /// For how long heads may be due at sick endpoints, if old ones are to be given up.
    max_age: Option<Duration>,
    bounds: Bounds,
    supply: &'a mut Supply,
    rows: Rows,
    lanes: Lanes,
    changes: Changes,
    written: Written,
}

impl<'a> Deciding<'a> {
    fn new(now: Timestamp, mut rows: Rows, bounds: Bounds, supply: &'a mut Supply) -> Self {
        let lanes = Lanes::new(rows.take_lanes());
        Self {
            now,
            max_age: None,
            bounds,
            supply,
            rows,
            lanes,
            changes: Changes::default(),
            written: Written::default(),
        }
    }

    fn operation(&mut self, operation: &Operation) -> Result<Answer, Refusal> {
        match operation {
            Operation::Append(append) => self.append(append).map(Answer::Appended),
            Operation::Register(registration) => {
                self.register(registration).map(Answer::Registered)
            }
            Operation::ChangeEndpoint { endpoint, change } => self
                .change_endpoint(*endpoint, change)
                .map(Answer::Endpoint),
            Operation::Redeliver(sweep) => self.redeliver(sweep).map(Answer::Swept),
            Operation::DropDeadLetters(sweep) => self.drop_letters(sweep).map(Answer::Swept),
            Operation::Delete(deletion) => Ok(Self::later(deletion)),
        }
    }

    fn change_endpoint(
        &mut self,
        id: EndpointId,
        change: &EndpointChange,
    ) -> Result<Arc<Endpoint>, Refusal> {
        let row = self.rows.endpoint(id)?.ok_or(Refusal::NoEndpoint)?;
        match change {
            EndpointChange::Enabled(enabled) => {
                let now = self.now;
                self.alter_endpoint(id, |endpoint| match enabled {
                    true => endpoint.enabled = true,
                    false => endpoint.disable(now),
                });
            }
            EndpointChange::Rotate {
                secret,
                expire_old_after,
            } => {
                let (now, secret) = (self.now, Secret::clone(secret));
                let keyring = match &row.endpoint.keyring {
                    None => Keyring::new(secret),
                    Some(own) => own
                        .rotated(now, secret, now.plus(*expire_old_after))
                        .map_err(|RotationInProgress| Refusal::RotationInProgress)?,
                };
                self.alter_endpoint(id, |endpoint| endpoint.keyring = Some(keyring));
            }
        }
        let row = self.rows.endpoint(id)?.ok_or(Refusal::NoEndpoint)?;
        Ok(Arc::clone(&row.endpoint))
    }

    /// Changes what is known of an endpoint.
    fn alter_endpoint(&mut self, id: EndpointId, change: impl FnOnce(&mut Endpoint)) {
        if let Some(row) = self.rows.endpoints.change(&id) {
            let mut endpoint = Endpoint::clone(&row.endpoint);
            change(&mut endpoint);
            if endpoint != *row.endpoint {
                row.endpoint = Arc::new(endpoint);
            }
        }
    }

    fn finish(self) -> Decided {
        let Self {
            rows,
            lanes,
            mut changes,
            mut written,
            ..
        } = self;
        let rows = rows.finish();
        (changes.jobs, changes.progress) = (rows.jobs, rows.progress);
        changes.endpoints = rows.endpoints;
        lanes.finish(&mut changes);
        for Changed { before, row } in &changes.endpoints {
            let is_other = |before: &EndpointRow| !Arc::ptr_eq(&before.endpoint, &row.endpoint);
            if before.as_ref().is_some_and(is_other) {
                written.changed.push(Arc::clone(&row.endpoint));
            }
        }
        Decided { changes, written }
    }
}

#[cfg(test)]
mod tests;
