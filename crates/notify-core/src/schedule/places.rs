//! Who may take the places of the global bound.
//!
//! Half of them are only for attempts that are *vouched for*: the endpoint's last
//! attempt succeeded, and it has fewer in flight than when one did since it was last
//! idle. So endpoints
//! that hang, fail or are new take at most the other half, however many they are; and
//! one that hangs all of a sudden takes of this half no more than it was just seen to
//! serve.

use std::collections::VecDeque;

use crate::id::EndpointId;
use crate::map::IdMap;
use crate::time::Timestamp;

/// The most endpoints of which it is remembered, while they are idle, when an attempt
/// last succeeded.
const SUCCEEDED_MAX: usize = 65_536;

/// What vouches for an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    /// How many attempts were in flight, at most, when one succeeded, since it was last
    /// idle; 0 if the last one did not succeed, or there was none.
    served: u32,
    pub(super) last_success_at: Option<Timestamp>,
}

impl Record {
    /// Whether one more than `in_flight` is vouched for.
    pub(super) fn vouches(self, in_flight: u32) -> bool {
        in_flight < self.served
    }

    /// An attempt has succeeded while so many were in flight.
    pub(super) fn handle_success(&mut self, now: Timestamp, in_flight: u32) {
        self.served = self.served.max(in_flight);
        self.last_success_at = Some(now);
    }

    /// An attempt has failed.
    pub(super) fn handle_failure(&mut self) {
        self.served = 0;
    }
}

/// How many attempts are in flight that nothing vouches for, and who waits to make
/// one.
#[derive(Debug)]
pub(super) struct Places {
    in_doubt_max: u32,
    in_doubt: u32,
    /// Endpoints in line that wait for such a place.
    pub(super) waiting: VecDeque<EndpointId>,
    /// Idle endpoints that an attempt has succeeded at: when one last did, and whether
    /// it was the last of all.
    succeeded: IdMap<EndpointId, (Timestamp, bool)>,
}

impl Places {
    pub(super) fn new(in_flight_max: u32) -> Self {
        Self {
            in_doubt_max: in_flight_max.div_ceil(2),
            in_doubt: 0,
            waiting: VecDeque::new(),
            succeeded: IdMap::default(),
        }
    }

    /// Whether there is a place for what nothing vouches for.
    pub(super) fn has_place_in_doubt(&self) -> bool {
        self.in_doubt < self.in_doubt_max
    }

    pub(super) fn take(&mut self, is_vouched: bool) {
        self.in_doubt += u32::from(!is_vouched);
    }

    pub(super) fn give_back(&mut self, is_vouched: bool) {
        self.in_doubt = self.in_doubt.saturating_sub(u32::from(!is_vouched));
    }

    /// What is remembered of an endpoint that was idle.
    pub(super) fn record_of(&self, id: EndpointId) -> Record {
        let known = self.succeeded.get(&id).copied();
        Record {
            served: known.map_or(0, |(_, was_last)| was_last.into()),
            last_success_at: known.map(|(at, _)| at),
        }
    }

    pub(super) fn last_success_at(&self, id: EndpointId) -> Option<Timestamp> {
        self.succeeded.get(&id).map(|(at, _)| *at)
    }

    /// An endpoint has become idle.
    pub(super) fn remember(&mut self, id: EndpointId, record: Record) {
        let Some(at) = record.last_success_at else {
            return;
        };
        if self.succeeded.len() >= SUCCEEDED_MAX {
            // They show anew that they serve.
            self.succeeded.clear();
        }
        self.succeeded.insert(id, (at, record.served > 0));
    }
}
