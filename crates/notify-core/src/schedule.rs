//! What to send next: windows, fair turns, and what the end of an attempt means.
//!
//! **Cast.** A [`Scheduler`] holds the deliveries that were leased from a store
//! and are ready to go, and those in flight. It does no I/O: a driver feeds it
//! and carries out what it says.
//!
//! **Flow.** The driver calls, in any order and as often as it likes:
//!
//! 1. `handle_*` for what has happened: a delivery was leased
//!    ([`handle_ready`](Scheduler::handle_ready)), a newer event came into a lane
//!    ([`handle_newer`](Scheduler::handle_newer)), an attempt ended
//!    ([`handle_attempt_finished`](Scheduler::handle_attempt_finished));
//! 2. `poll_*` until each has nothing more: what to send
//!    ([`poll_attempt`](Scheduler::poll_attempt)), what to write
//!    ([`poll_settle`](Scheduler::poll_settle)), whether to fetch more
//!    ([`poll_claim`](Scheduler::poll_claim)).
//!
//! **Guarantees.** Never more attempts in flight than the endpoint's window, its
//! host's cap and the global bound; never more ready deliveries of one endpoint
//! than [`Limits::ready_per_endpoint_max`], nor more bytes altogether than
//! [`Limits::ready_bytes_max`] and one event, if the store keeps to
//! [`Scheduler::room`]; endpoints that can send take turns; each delivery that
//! came in goes out through [`poll_settle`](Scheduler::poll_settle) exactly once, unless
//! it was [deleted](Scheduler::handle_deleted).
//! What fails for a reason of our own is charged to nobody: it counts as no
//! attempt and is postponed, for a second at first and for twice as long each time.
//! An idle endpoint occupies no memory.
//!
//! **Not needed for correctness.** The ready deliveries here are a cache of the
//! store's: losing the whole scheduler loses no delivery, only leases.

mod deleted;
mod limits;
mod own_failures;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::clock::ClockStep;
use crate::delivery::{Attempt, DeadReason, Delivery, LaneKey, Leased, Outcome, Settle};
use crate::endpoint::Endpoint;
use crate::id::{DeliveryId, EndpointId};
use crate::job::EventKind;
use crate::map::IdMap;
use crate::retry::{RetryPolicy, Verdict, classify};
use crate::store::Room;
use crate::time::Timestamp;
use crate::transport::{TransportError, WebhookResponse};
use own_failures::OwnFailures;

pub use limits::{AttemptEnd, Limits};

/// Decides what to send next. See the [module](self) for the order of calls.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    policy: RetryPolicy,
    seed: u64,
    endpoints: IdMap<EndpointId, EndpointState>,
    hosts: HashMap<Arc<str>, HostState>,
    /// Endpoints that have something ready and room in their window, in turn.
    turns: VecDeque<EndpointId>,
    in_flight: IdMap<DeliveryId, InFlight>,
    /// What is ready or in flight occupies.
    bytes: u64,
    settles: VecDeque<Settle>,
    own_failures: OwnFailures,
    claim_wanted: bool,
    /// Whether due heads were left behind of which it is not known where, or where
    /// nothing else is known of the endpoint.
    all_behind: bool,
}

#[derive(Debug)]
struct EndpointState {
    host: Arc<str>,
    ready: VecDeque<Leased>,
    in_flight: u32,
    /// Whether it stands in `turns`, or in line at its host.
    in_line: bool,
    /// Whether due heads may wait for it in the store, for want of room. Then
    /// nothing is leased to it in passing: those who have waited longest come first.
    is_behind: bool,
}

#[derive(Debug, Default)]
struct HostState {
    in_flight: u32,
    waiting: VecDeque<EndpointId>,
}

#[derive(Debug)]
struct InFlight {
    leased: Leased,
    began_at: Timestamp,
}

impl Scheduler {
    /// An empty scheduler. `seed` decides the jitter of retries.
    pub fn new(limits: Limits, policy: RetryPolicy, seed: u64) -> Self {
        Self {
            limits,
            policy,
            seed,
            endpoints: IdMap::default(),
            hosts: HashMap::new(),
            turns: VecDeque::new(),
            in_flight: IdMap::default(),
            bytes: 0,
            settles: VecDeque::new(),
            own_failures: OwnFailures::default(),
            claim_wanted: false,
            all_behind: false,
        }
    }

    /// How many attempts are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many deliveries are ready and wait for their turn.
    pub fn ready(&self) -> usize {
        self.endpoints
            .values()
            .map(|endpoint| endpoint.ready.len())
            .sum()
    }

    /// How many endpoints have something ready or in flight.
    pub fn busy_endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether settles wait to be written.
    pub fn has_settles(&self) -> bool {
        !self.settles.is_empty()
    }

    /// How many attempts could not be carried out so far, for a reason of our own.
    pub fn own_failures(&self) -> u64 {
        self.own_failures.total()
    }

    /// How many more deliveries each endpoint can take: for a claim.
    pub fn room(&self) -> Room {
        let each = self.limits.ready_per_endpoint_max;
        let busy = self
            .endpoints
            .iter()
            .filter(|(_, endpoint)| !endpoint.ready.is_empty());
        let left = busy.map(|(&id, endpoint)| (id, each.saturating_sub(len(&endpoint.ready))));
        Room {
            each,
            left: left.collect(),
            bytes: self.limits.ready_bytes_max.saturating_sub(self.bytes),
        }
    }

    /// How many new heads each endpoint can take as they come: none where others
    /// have waited for longer.
    pub fn room_in_passing(&self) -> Room {
        if self.all_behind {
            return Room::default();
        }
        let mut room = self.room();
        let behind = self.endpoints.iter();
        let behind = behind.filter(|(_, endpoint)| endpoint.is_behind);
        room.left.extend(behind.map(|(&id, _)| (id, 0)));
        room
    }

    /// How many bytes what is ready or in flight occupies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes in a delivery that was leased from the store.
    pub fn handle_ready(&mut self, leased: Leased) {
        self.bytes += leased.delivery().bytes();
        let delivery = leased.delivery();
        let id = delivery.lane.endpoint;
        let endpoint = self.endpoints.entry(id).or_insert_with(|| EndpointState {
            host: delivery.endpoint.url.authority().into(),
            ready: VecDeque::new(),
            in_flight: 0,
            in_line: false,
            is_behind: false,
        });
        endpoint.ready.push_back(leased);
        self.stand_in_line(id);
    }

    /// A claim with this room was answered. `is_cut` if it came to its limit or used
    /// up the bytes, so that there may be more anywhere. What it left behind where there was room is
    /// told by [`handle_left_waiting`](Self::handle_left_waiting), and afterwards;
    /// where there was none, nobody has looked.
    pub fn handle_claimed(&mut self, room: &Room, is_cut: bool) {
        self.all_behind = is_cut;
        self.claim_wanted |= is_cut;
        for endpoint in self.endpoints.values_mut() {
            endpoint.is_behind = false;
        }
        self.endpoints.retain(|_, endpoint| !endpoint.is_idle());
        for (&id, _) in room.left.iter().filter(|(_, left)| **left == 0) {
            self.handle_left_waiting(id);
        }
    }

    /// A due head of this endpoint was left in the store, or may have been, for want
    /// of room.
    pub fn handle_left_waiting(&mut self, id: EndpointId) {
        match self.endpoints.get_mut(&id) {
            Some(endpoint) => {
                endpoint.is_behind = true;
                self.after_ready_shrank(id);
            }
            // It had no room then and has all of it now; nothing is known of it that
            // could keep its place.
            None => {
                self.claim_wanted = true;
                self.all_behind = true;
            }
        }
    }

    /// An endpoint is not what it was: it has other secrets, or was disabled, and
    /// then what is ready for it is given back; or enabled.
    pub fn handle_endpoint_changed(&mut self, endpoint: &Arc<Endpoint>) {
        self.claim_wanted |= endpoint.enabled;
        let Some(state) = self.endpoints.get_mut(&endpoint.id) else {
            return;
        };
        if endpoint.enabled {
            for leased in &mut state.ready {
                leased.set_endpoint(Arc::clone(endpoint));
            }
            return;
        }
        let given_back = state.ready.drain(..);
        let settles = given_back.map(|leased| {
            self.bytes = self.bytes.saturating_sub(leased.delivery().bytes());
            leased.settle(Outcome::Released, None)
        });
        self.settles.extend(settles);
        self.forget_if_idle(endpoint.id);
    }

    /// A newer event came into a lane: a progress of that lane that is ready but
    /// not sent is settled as superseded.
    pub fn handle_newer(&mut self, lane: &LaneKey, sequence: u64) {
        let Some(endpoint) = self.endpoints.get_mut(&lane.endpoint) else {
            return;
        };
        let overruled = endpoint.ready.iter().position(|leased| {
            let Delivery {
                lane: held, record, ..
            } = leased.delivery();
            held == lane && record.kind() == EventKind::Progress && record.sequence() < sequence
        });
        if let Some(leased) = overruled.and_then(|position| endpoint.ready.remove(position)) {
            self.bytes = self.bytes.saturating_sub(leased.delivery().bytes());
            self.settles
                .push_back(leased.settle(Outcome::Superseded, None));
            self.after_ready_shrank(lane.endpoint);
        }
    }

    /// An attempt that [`poll_attempt`](Self::poll_attempt) asked for has ended.
    /// One that is not in flight is ignored.
    pub fn handle_attempt_finished(
        &mut self,
        now: Timestamp,
        delivery: DeliveryId,
        end: AttemptEnd,
    ) {
        let Some(InFlight { leased, began_at }) = self.in_flight.remove(&delivery) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(leased.delivery().bytes());
        let endpoint = leased.delivery().lane.endpoint;
        let settle = match end {
            AttemptEnd::Sent { at, outcome } => {
                self.after_sending(now, leased, began_at, at, &outcome)
            }
            AttemptEnd::OwnFailure => self.postpone(now, leased),
            AttemptEnd::SecretMissing => {
                let reason = DeadReason::SecretMissing;
                self.own_failures.forget(delivery);
                leased.settle(Outcome::Dead { reason }, None)
            }
            AttemptEnd::Abandoned => {
                self.own_failures.forget(delivery);
                leased.settle(Outcome::Released, None)
            }
        };
        self.settles.push_back(settle);
        self.free_place(endpoint);
    }

    /// Nobody is charged with an attempt that was our own failure.
    fn postpone(&mut self, now: Timestamp, leased: Leased) -> Settle {
        let after = self.own_failures.postpone(now, leased.delivery().id);
        leased.settle(Outcome::Postponed { after }, None)
    }

    /// A request was sent at `began_at`, by the wall clock `at`, and this has come
    /// of it.
    fn after_sending(
        &mut self,
        now: Timestamp,
        leased: Leased,
        began_at: Timestamp,
        at: Timestamp,
        outcome: &Result<WebhookResponse, TransportError>,
    ) -> Settle {
        let delivery = leased.delivery().id;
        let duration = now.since(began_at);
        let number = leased.delivery().attempts_made.saturating_add(1);
        let verdict = classify(outcome, at.plus(duration));
        let Some(decided) = self.decide(delivery, number, verdict) else {
            return self.postpone(now, leased);
        };
        self.own_failures.forget(delivery);
        let (status, error, snippet) = match outcome {
            Ok(answer) if verdict == Verdict::Delivered => (Some(answer.status), None, None),
            Ok(answer) => (Some(answer.status), None, Attempt::snippet_of(&answer.body)),
            Err(error) => (None, Some(error.to_string()), None),
        };
        let attempt = Attempt {
            number,
            at,
            duration,
            status,
            error,
            snippet,
            next_attempt_at: None,
        };
        leased.settle(decided, Some(attempt))
    }

    /// The clock was set: what was reckoned by the old time is reckoned by the new.
    pub fn handle_clock_set(&mut self, step: ClockStep) {
        for in_flight in self.in_flight.values_mut() {
            in_flight.began_at = step.carry(in_flight.began_at);
        }
        self.own_failures.handle_clock_set(step);
    }

    /// The next delivery to attempt now, if any may be. It counts as in flight
    /// until [`handle_attempt_finished`](Self::handle_attempt_finished).
    pub fn poll_attempt(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.in_flight.len() >= usize_from(self.limits.in_flight_max) {
            return None;
        }
        while let Some(id) = self.turns.pop_front() {
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                continue;
            };
            if endpoint.ready.is_empty() {
                endpoint.in_line = false;
                let host = Arc::clone(&endpoint.host);
                self.forget_if_idle(id);
                self.pass_on_place(&host);
                continue;
            }
            let host = self.hosts.entry(Arc::clone(&endpoint.host)).or_default();
            if host.in_flight >= self.limits.in_flight_per_host_max {
                host.waiting.push_back(id);
                continue;
            }
            endpoint.in_line = false;
            let Some(leased) = endpoint.ready.pop_front() else {
                continue;
            };
            endpoint.in_flight += 1;
            host.in_flight += 1;
            let delivery = leased.delivery().clone();
            self.in_flight.insert(
                delivery.id,
                InFlight {
                    leased,
                    began_at: now,
                },
            );
            self.after_ready_shrank(id);
            self.stand_in_line(id);
            return Some(delivery);
        }
        None
    }

    /// The next settle to write, if there is one.
    pub fn poll_settle(&mut self) -> Option<Settle> {
        self.settles.pop_front()
    }

    /// Whether to claim: the store may hold due deliveries for which there was no
    /// room before, and an eighth of the bytes is free, so that it is worth while.
    pub fn poll_claim(&mut self) -> bool {
        let most = self.limits.ready_bytes_max;
        self.bytes <= most - most / 8 && std::mem::take(&mut self.claim_wanted)
    }

    /// What becomes of a delivery after its `number`th attempt; `None` if it was
    /// no attempt, but our own failure.
    fn decide(&self, delivery: DeliveryId, number: u32, verdict: Verdict) -> Option<Outcome> {
        let dead = |reason| Outcome::Dead { reason };
        Some(match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Gone => dead(DeadReason::Gone),
            Verdict::AddressRefused => dead(DeadReason::AddressRefused),
            Verdict::Ours => return None,
            Verdict::Failed { retry_after, .. } => {
                let mut seed = DefaultHasher::new();
                (self.seed, delivery, number).hash(&mut seed);
                match self.policy.delay_after(number, seed.finish()) {
                    Some(delay) => {
                        let after = delay.max(retry_after.unwrap_or_default());
                        Outcome::Retry { after }
                    }
                    None => dead(DeadReason::Exhausted),
                }
            }
        })
    }

    /// Puts an endpoint in line if it can send and is not in line already.
    fn stand_in_line(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let has_place = endpoint.in_flight < self.limits.in_flight_per_endpoint_max;
        if has_place && !endpoint.in_line && !endpoint.ready.is_empty() {
            endpoint.in_line = true;
            self.turns.push_back(id);
        }
    }

    /// An attempt to `id` is over: whoever waited for its place may have it.
    fn free_place(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        let host = Arc::clone(&endpoint.host);
        if let Some(host) = self.hosts.get_mut(&host) {
            host.in_flight = host.in_flight.saturating_sub(1);
        }
        self.pass_on_place(&host);
        self.stand_in_line(id);
        self.forget_if_idle(id);
    }

    /// Lets the next endpoint in line at `host` try its turn.
    fn pass_on_place(&mut self, host: &Arc<str>) {
        let Some(state) = self.hosts.get_mut(host) else {
            return;
        };
        self.turns.extend(state.waiting.pop_front());
        if state.in_flight == 0 && state.waiting.is_empty() {
            self.hosts.remove(host);
        }
    }

    fn after_ready_shrank(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if endpoint.is_behind && len(&endpoint.ready) <= self.limits.ready_per_endpoint_max / 2 {
            self.claim_wanted = true;
        }
        self.forget_if_idle(id);
    }

    fn forget_if_idle(&mut self, id: EndpointId) {
        if self.endpoints.get(&id).is_some_and(EndpointState::is_idle) {
            self.endpoints.remove(&id);
        }
    }
}

impl EndpointState {
    fn is_idle(&self) -> bool {
        let has_nothing = self.in_flight == 0 && self.ready.is_empty();
        has_nothing && !self.in_line && !self.is_behind
    }
}

fn len<T>(queue: &VecDeque<T>) -> u32 {
    u32::try_from(queue.len()).unwrap_or(u32::MAX)
}

fn usize_from(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
