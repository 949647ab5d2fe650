//! How much may be under way, and how it ends.

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_per_endpoint_max: 8,
            in_flight_per_host_max: 64,
            in_flight_max: 512,
            ready_per_endpoint_max: 64,
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
