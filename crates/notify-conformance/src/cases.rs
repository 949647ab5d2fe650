//! The cases, a room a subject. Each is a function over a factory that states one
//! fact about every store, and is named by it.

#![expect(missing_docs, reason = "a case's name says what it states")]

use crate::{Bounds, Draw, DurableFactory, Restart, StoreFactory, rig, snapshot};

pub mod accepting;
pub mod clock;
pub mod dead_letters;
pub mod deleting;
pub mod endpoints;
pub mod fan_out;
pub mod histories;
pub mod idempotency;
pub mod lanes;
pub mod leasing;
pub mod lost_replies;
pub mod reading;
pub mod redelivering;
pub mod restarting;
pub mod settling;
pub mod sick;
pub mod trimming;
