//! A step of a history, and whom it may name.

use std::time::Duration;

use notify_core::delivery::Outcome;
use notify_core::endpoint::Health;
use notify_core::retention::Retention;
use notify_core::store::{Append, DeadFilter, Registration};
use notify_core::{DeliveryId, EndpointUrl, JobId, Secret};

/// Endpoints that never have a secret of their own.
pub(super) const PLAIN: [&str; 3] = ["a", "b", "c"];

/// Endpoints that have one from their first mention.
pub(super) const OWN_SECRET: [&str; 2] = ["x", "y"];

/// One step of a history.
#[derive(Debug)]
pub(super) enum Step {
    Write {
        ends: Vec<(DeliveryId, Outcome)>,
        stale: Vec<usize>,
        appends: Vec<Append>,
        room: RoomFor,
    },
    Register(Box<Registration>),
    Claim,
    Redeliver(DeadFilter),
    Drop(DeadFilter),
    Trim(Retention),
    Examine(EndpointUrl, Health),
    Enable(EndpointUrl, bool),
    Rotate(EndpointUrl, Box<Secret>, Duration),
    Delete(JobId, bool),
    DeleteEndpoint(&'static str),
    Wait(Duration),
}

#[derive(Clone, Debug)]
pub(super) enum RoomFor {
    Nobody,
    Everybody,
    AllBut(EndpointUrl),
}

/// Every endpoint there may be.
pub(super) fn everyone() -> Vec<&'static str> {
    [&PLAIN[..], &OWN_SECRET].concat()
}
