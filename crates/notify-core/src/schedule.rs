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
//! An idle endpoint that is well occupies next to no memory.
//!
//! **Sick endpoints.** A [breaker](crate::breaker) each. What is ready for one that
//! falls sick is given back, which costs it no attempt; there is no room for it but for
//! its probe when that is due ([`poll_timeout`](Scheduler::poll_timeout) says when), and
//! no more than one attempt is in flight then. A probe that fails counts as an attempt
//! of its delivery like any other, unless it would be its last: that one is postponed,
//! so that nothing is used up at an endpoint that has been sick for less than
//! [`Limits::max_age`].
//!
//! **Not needed for correctness.** The ready deliveries here are a cache of the
//! store's: losing the whole scheduler loses no delivery, only leases.

mod deleted;
mod ending;
mod health;
mod limits;
mod own_failures;
mod places;
mod room;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::ClockStep;
use crate::delivery::{Delivery, LaneKey, Leased, Outcome, Settle};
use crate::endpoint::Endpoint;
use crate::id::{DeliveryId, EndpointId};
use crate::job::EventKind;
use crate::map::IdMap;
use crate::retry::{RetryPolicy, Verdict};
use crate::store::{HealthNote, Room};
use crate::time::Timestamp;
use health::{Healths, Turned};
use own_failures::OwnFailures;
use places::{Places, Record};

pub use limits::{AttemptEnd, EndpointHealth, Limits};

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
    healths: Healths,
    places: Places,
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
    line: Line,
    /// Whether it is named among those that wait for a place in doubt, rightly or not
    /// any more.
    is_listed: bool,
    /// Whether its health may be known.
    has_health: bool,
    record: Record,
    /// Whether due heads may wait for it in the store, for want of room. Then
    /// nothing is leased to it in passing: those who have waited longest come first.
    is_behind: bool,
}

/// Where an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nowhere.
    Out,
    /// In `turns`, or in line at its host.
    Turn,
    /// In line for a place of those that nothing vouches for.
    InDoubt,
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
    is_vouched: bool,
    is_probe: bool,
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
            healths: Healths::new(limits.open_max(), usize_from(limits.sick_endpoints_max)),
            places: Places::new(limits.in_flight_max),
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

    /// How an endpoint is.
    pub fn health(&self, now: Timestamp, id: EndpointId) -> EndpointHealth {
        let endpoint = self.endpoints.get(&id);
        let (breaker, consecutive_failures) = self.healths.state(id, now);
        EndpointHealth {
            breaker,
            in_flight: endpoint.map_or(0, |endpoint| endpoint.in_flight),
            consecutive_failures,
            last_success_at: match endpoint {
                Some(endpoint) => endpoint.record.last_success_at,
                None => self.places.last_success_at(id),
            },
        }
    }

    /// At how many endpoints nothing but a probe is attempted.
    pub fn sick_endpoints(&self) -> usize {
        self.healths.count_sick()
    }

    /// How many bytes what is ready or in flight occupies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes in a delivery that was leased from the store. It is given back if its
    /// endpoint has fallen sick, and it is not its probe.
    pub fn handle_ready(&mut self, leased: Leased) {
        let delivery = leased.delivery();
        let id = delivery.lane.endpoint;
        self.healths.meet(&delivery.endpoint);
        if self.healths.is_sick(id) && !self.may_probe(id) {
            self.settles
                .push_back(leased.settle(Outcome::Released, None));
            return;
        }
        self.bytes += delivery.bytes();
        let (healths, places) = (&self.healths, &self.places);
        let endpoint = self.endpoints.entry(id).or_insert_with(|| EndpointState {
            host: delivery.endpoint.url.authority().into(),
            ready: VecDeque::new(),
            in_flight: 0,
            line: Line::Out,
            is_listed: false,
            has_health: false,
            record: places.record_of(id),
            is_behind: false,
        });
        endpoint.has_health = healths.is_known(id);
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
        let places = &mut self.places;
        self.endpoints.retain(|&id, endpoint| {
            endpoint.is_behind = false;
            let is_idle = endpoint.is_idle();
            if is_idle {
                places.remember(id, endpoint.record);
            }
            !is_idle
        });
        for (&id, _) in room.left.iter().filter(|(_, left)| **left == 0) {
            self.handle_left_waiting(id);
        }
    }

    /// A due head of this endpoint was left in the store, or may have been, for want
    /// of room.
    pub fn handle_left_waiting(&mut self, id: EndpointId) {
        if self.healths.is_sick(id) {
            // What waits there is looked for when a probe is due.
            self.claim_wanted |= self.may_probe(id);
            return;
        }
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
        self.healths.handle_changed(endpoint);
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
        let Some(in_flight) = self.in_flight.remove(&delivery) else {
            return;
        };
        let bytes = in_flight.leased.delivery().bytes();
        self.bytes = self.bytes.saturating_sub(bytes);
        let id = in_flight.leased.delivery().lane.endpoint;
        self.places.give_back(in_flight.is_vouched);
        let is_probe = in_flight.is_probe;
        let (settle, verdict) = self.settle(now, in_flight, end);
        self.settles.push_back(settle);
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        match verdict {
            Some(Verdict::Delivered) => endpoint.record.handle_success(now, endpoint.in_flight),
            Some(Verdict::Failed { .. } | Verdict::Gone) => endpoint.record.handle_failure(),
            Some(Verdict::AddressRefused | Verdict::Ours) | None => {}
        }
        endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        let host = Arc::clone(&endpoint.host);
        let has_failed = matches!(verdict, Some(Verdict::Failed { .. }));
        if endpoint.has_health || has_failed {
            let turned = self.healths.handle_end(now, id, is_probe, verdict);
            endpoint.has_health = self.healths.is_known(id);
            self.after_turn(id, turned);
        }
        self.free_place(id, &host);
    }

    /// Gives back what is ready for an endpoint that has fallen sick; fetches what waits
    /// for one that is well again.
    fn after_turn(&mut self, id: EndpointId, turned: Turned) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        match turned {
            Turned::Nothing => {}
            Turned::Sick => {
                for leased in endpoint.ready.drain(..) {
                    self.bytes = self.bytes.saturating_sub(leased.delivery().bytes());
                    self.settles
                        .push_back(leased.settle(Outcome::Released, None));
                }
            }
            Turned::Well => {
                endpoint.is_behind = true;
                self.claim_wanted = true;
            }
            Turned::Due => self.claim_wanted = true,
        }
    }

    /// The clock was set: what was reckoned by the old time is reckoned by the new.
    pub fn handle_clock_set(&mut self, step: ClockStep) {
        for in_flight in self.in_flight.values_mut() {
            in_flight.began_at = step.carry(in_flight.began_at);
        }
        self.own_failures.handle_clock_set(step);
        self.healths.handle_clock_set(step);
        // By a later time more is due in the store, which nothing new may pass.
        self.all_behind |= !step.is_back();
        self.claim_wanted = true;
    }

    /// The next settle to write, if there is one.
    pub fn poll_settle(&mut self) -> Option<Settle> {
        self.settles.pop_front()
    }

    /// What is to be noted of an endpoint's health with the next batch, if there is
    /// anything.
    pub fn poll_health(&mut self) -> Option<HealthNote> {
        self.healths.poll_note()
    }

    /// Whether to claim: the store may hold due deliveries for which there was no
    /// room before, and an eighth of the bytes is free, so that it is worth while; or
    /// from now on one that may be a probe.
    pub fn poll_claim(&mut self, now: Timestamp) -> bool {
        let most = self.limits.ready_bytes_max;
        self.claim_wanted |= self.healths.poll_due(now);
        self.bytes <= most - most / 8 && std::mem::take(&mut self.claim_wanted)
    }

    /// When [`poll_claim`](Self::poll_claim) is to be asked again, if nothing happens
    /// before: a probe falls due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.healths.next_due()
    }

    fn after_ready_shrank(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        self.claim_wanted |= if endpoint.has_health && self.healths.is_sick(id) {
            self.may_probe(id)
        } else {
            endpoint.is_behind && len(&endpoint.ready) <= self.limits.ready_per_endpoint_max / 2
        };
        self.forget_if_idle(id);
    }

    fn forget_if_idle(&mut self, id: EndpointId) {
        if self.endpoints.get(&id).is_some_and(EndpointState::is_idle)
            && let Some(endpoint) = self.endpoints.remove(&id)
        {
            self.places.remember(id, endpoint.record);
        }
    }
}

impl EndpointState {
    fn is_idle(&self) -> bool {
        let has_nothing = self.in_flight == 0 && self.ready.is_empty();
        has_nothing && self.line == Line::Out && !self.is_listed && !self.is_behind
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
