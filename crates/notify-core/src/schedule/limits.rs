//! How much may be under way, and how it ends.

use std::time::Duration;

use crate::breaker::{BreakerState, OPEN_MAX, OPEN_MIN};
use crate::time::Timestamp;
use crate::transport::{TransportError, WebhookResponse};

/// How much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attempts in flight to one endpoint.
    pub in_flight_per_endpoint_max: u32,
    /// Attempts in flight to one host and port.
    pub in_flight_per_host_max: u32,
    /// Attempts in flight altogether.
    pub in_flight_max: u32,
    /// Deliveries of one endpoint that are leased and wait for their turn.
    pub ready_per_endpoint_max: u32,
    /// [Bytes](crate::delivery::Delivery::bytes) that deliveries occupy which are leased,
    /// in flight or waiting for their turn. The last one may go beyond it, so that any
    /// event can be sent.
    pub ready_bytes_max: u64,
    /// Endpoints of which it is remembered that they fail: some 200 bytes each. Those
    /// beyond it have no breaker.
    pub sick_endpoints_max: u32,
    /// For how long a delivery waits that can't be attempted: at an endpoint that is
    /// sick, or for a reason of our own.
    pub max_age: Duration,
}

impl Limits {
    /// For how long a breaker is open at most: so that what waits at a sick endpoint
    /// is tried some times before it is too old.
    pub fn open_max(&self) -> Duration {
        (self.max_age / 4).clamp(OPEN_MIN, OPEN_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_per_endpoint_max: 8,
            in_flight_per_host_max: 64,
            in_flight_max: 512,
            ready_per_endpoint_max: 64,
            sick_endpoints_max: 65_536,
            max_age: Duration::from_secs(3 * 86_400),
            ready_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum AttemptEnd {
    /// A request was sent; this is what came of it.
    Sent {
        /// When it was sent, by the wall clock.
        at: Timestamp,
        /// The answer, or why there is none.
        outcome: Result<WebhookResponse, TransportError>,
    },
    /// There was no secret to sign with, so nothing was sent.
    SecretMissing,
    /// It was not carried out, or abandoned; someone else may try.
    Abandoned,
    /// It could not be carried out, for a reason of our own: a store that could
    /// not be read, a bug.
    OwnFailure,
}

/// How an endpoint is, for whoever looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// How its breaker stands.
    pub breaker: BreakerState,
    /// How many attempts are in flight.
    pub in_flight: u32,
    /// How many attempts in a row have failed.
    pub consecutive_failures: u32,
    /// When an attempt last succeeded, if one has lately, in this process.
    pub last_success_at: Option<Timestamp>,
}
