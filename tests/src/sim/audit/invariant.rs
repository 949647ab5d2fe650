//! The rules that the audit holds everyone to.

use std::fmt;

/// A rule of the system that must hold whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An accepted event is delivered to each of its endpoints, or dead, or
    /// superseded, or pending; and is kept until its retention is over.
    I1,
    /// An event is wholly there or wholly absent.
    I2,
    /// A job's sequence has no gap and no reuse.
    I3,
    /// At most one terminal event, and nothing after it.
    I4,
    /// Order within a lane.
    I5,
    /// Never before due, never to a disabled endpoint; so many attempts and no more,
    /// and none for what was our own failure.
    I6,
    /// A stale lease settles nothing.
    I7,
    /// A reader's ids only rise and miss no lifecycle event.
    I8,
    /// One idempotency key, one event.
    I9,
    /// A redelivery makes one new generation with the same webhook id; a walk over
    /// dead letters takes them all, and says how many.
    I10,
    /// Every attempt verifies, at its time.
    I11,
    /// Every queue is bounded.
    I13,
    /// Once faults end, the backlog drains.
    I14,
    /// A clock that jumps reopens nothing and hastens nothing.
    I16,
    /// What was asked for is carried out or refused, once, whoever waits for it.
    Answered,
    /// Where an endpoint has more due lanes than room, the one that has waited
    /// longest goes first.
    Fair,
    /// Nothing but a probe goes to an endpoint that is sick, and the store is told who
    /// is.
    Sick,
    /// Half of the places are only for endpoints whose last attempt succeeded.
    Places,
    /// What has been due at a sick endpoint for too long is given up.
    Expires,
    /// What is wrong with a webhook never costs the event.
    Costless,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
