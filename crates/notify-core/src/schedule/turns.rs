//! Who sends next: endpoints in line, each in its turn.
//!
//! An endpoint that can send stands in line. Where its turn finds no place at its host
//! it waits there; where it finds none of those that [nothing vouches for](super::places)
//! it waits for one.

use std::sync::Arc;

use super::{InFlight, Line, Scheduler, usize_from};
use crate::delivery::Delivery;
use crate::id::EndpointId;
use crate::time::Timestamp;

impl Scheduler {
    /// The next delivery to attempt now, if any may be. It counts as in flight
    /// until [`handle_attempt_finished`](Self::handle_attempt_finished).
    pub fn poll_attempt(&mut self, now: Timestamp) -> Option<Delivery> {
        if self.in_flight.len() >= usize_from(self.limits.in_flight_max) {
            return None;
        }
        while let Some(id) = self.next_in_line() {
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                continue;
            };
            let is_sick = endpoint.has_health && self.healths.is_sick(id);
            if endpoint.ready.is_empty() || (is_sick && endpoint.in_flight > 0) {
                endpoint.line = Line::Out;
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
            let is_vouched = endpoint.record.vouches(endpoint.in_flight);
            if !is_vouched && !self.places.has_place_in_doubt() {
                endpoint.line = Line::InDoubt;
                if !std::mem::replace(&mut endpoint.is_listed, true) {
                    self.places.waiting.push_back(id);
                }
                let host = Arc::clone(&endpoint.host);
                self.pass_on_place(&host);
                continue;
            }
            endpoint.line = Line::Out;
            let Some(leased) = endpoint.ready.pop_front() else {
                continue;
            };
            endpoint.in_flight += 1;
            host.in_flight += 1;
            self.places.take(is_vouched);
            if is_sick {
                self.healths.handle_probe(id);
            }
            let delivery = leased.delivery().clone();
            self.in_flight.insert(
                delivery.id,
                InFlight {
                    leased,
                    began_at: now,
                    is_vouched,
                    is_probe: is_sick,
                },
            );
            self.after_ready_shrank(id);
            self.stand_in_line(id);
            return Some(delivery);
        }
        None
    }

    /// Whose turn it is: those that have waited for a place in doubt come first, once
    /// there is one.
    fn next_in_line(&mut self) -> Option<EndpointId> {
        while self.places.has_place_in_doubt()
            && let Some(id) = self.places.waiting.pop_front()
        {
            let Some(endpoint) = self.endpoints.get_mut(&id) else {
                continue;
            };
            endpoint.is_listed = false;
            if endpoint.line == Line::InDoubt {
                endpoint.line = Line::Turn;
                return Some(id);
            }
            self.forget_if_idle(id);
        }
        self.turns.pop_front()
    }

    /// Puts an endpoint in line if it can send and is not in line already.
    pub(super) fn stand_in_line(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        let most = match endpoint.has_health && self.healths.is_sick(id) {
            true => 1,
            false => self.limits.in_flight_per_endpoint_max,
        };
        let may_send = endpoint.in_flight < most && !endpoint.ready.is_empty();
        let has_turn = match endpoint.line {
            Line::Out => may_send,
            Line::Turn => false,
            Line::InDoubt => may_send && endpoint.record.vouches(endpoint.in_flight),
        };
        if has_turn {
            endpoint.line = Line::Turn;
            self.turns.push_back(id);
        }
    }

    /// An attempt to `id` is over: whoever waited for its place may have it.
    pub(super) fn free_place(&mut self, id: EndpointId, host: &Arc<str>) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.in_flight = host.in_flight.saturating_sub(1);
        }
        self.pass_on_place(host);
        self.stand_in_line(id);
        if self.healths.is_sick(id) {
            self.claim_wanted |= self.may_probe(id);
        }
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
}
