//! Handle each event once, though its webhook may arrive more often.
//!
//! The signature's age already keeps an eavesdropper from sending a message
//! again later than the tolerance. What a guard is for is the sender itself: a
//! reply that got lost, a handler that took longer than the sender waits, or an
//! operator's redelivery brings the same `webhook-id` again, with a new and
//! valid signature, hours or days later. That is no attack and no error: an
//! event that is handled already is answered with 200, and nothing is done.
//!
//! An event is *claimed* before it is handled, and remembered as handled only
//! afterwards. Between the two, a second request for it must get neither 200
//! (if the first one then failed, the event would be lost) nor be handled at
//! once (it would be handled twice): it is answered with 503, and the sender
//! comes again.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify_core::Timestamp;

/// Remembers which events are handled, keyed by `webhook-id`.
///
/// Ask it only about ids that are verified: a [`Notification`](crate::Notification)'s
/// `id`, or the `webhook_id` of a [`Proof`](crate::Proof). An id that nobody
/// signed could claim an event that is yet to come.
///
/// ```
/// use notify_verify::{MemoryReplayGuard, Notification, ReplayGuard, Seen, Timestamp};
///
/// # fn save(_: &Notification) -> Result<(), std::io::Error> { Ok(()) }
/// fn handle(guard: &MemoryReplayGuard, webhook: &Notification, now: Timestamp) -> u16 {
///     match guard.claim(&webhook.id.to_string(), now) {
///         // A claim that is dropped without `handled` is given up, so that the
///         // next attempt is handled.
///         Ok(claim) => match save(webhook) {
///             Ok(()) => {
///                 claim.handled();
///                 200
///             }
///             Err(_) => 500,
///         },
///         Err(seen) => seen.status(),
///     }
/// }
/// ```
///
/// # Over one's own database
///
/// If handling is a transaction, no guard is needed and nothing is safer: make
/// the id a unique key, insert it in the transaction that does the work
/// (`INSERT … ON CONFLICT DO NOTHING`), and answer 200 without doing the work
/// if no row was inserted. A second request waits at the key until the first
/// has committed or rolled back, which is what [`Seen::Underway`] stands for.
///
/// To implement this trait over a store that several processes share, `begin`
/// inserts a row `(webhook_id, claimed_at, handled = false)` unless there is
/// one, `handled` sets its flag, `forget` deletes it. Treat a row that is still
/// unhandled some minutes after `claimed_at` as forgotten: the process that
/// claimed it is gone. Keep handled rows for as long as the service may send
/// again: a day covers its retries, its dead-letter retention (30 days by
/// default) covers redeliveries. The methods block; in async code call them
/// where blocking is allowed. If the store can't be reached, `begin` answers
/// [`Seen::Underway`].
pub trait ReplayGuard: Send + Sync {
    /// Claims the event for the caller, atomically.
    ///
    /// # Errors
    /// [`Seen`] if it is claimed or handled already.
    fn begin(&self, webhook_id: &str, now: Timestamp) -> Result<(), Seen>;

    /// The claimed event is handled: from now on it is [`Seen::Handled`].
    fn handled(&self, webhook_id: &str);

    /// The claimed event was not handled: it may be claimed again.
    fn forget(&self, webhook_id: &str);

    /// As [`ReplayGuard::begin`], with a claim that can't be left open.
    ///
    /// # Errors
    /// [`Seen`] if the event is claimed or handled already.
    fn claim(&self, webhook_id: &str, now: Timestamp) -> Result<Claim<'_>, Seen>
    where
        Self: Sized,
    {
        self.begin(webhook_id, now)?;
        Ok(Claim {
            guard: self,
            webhook_id: webhook_id.into(),
            handled: false,
        })
    }
}

impl<G: ReplayGuard + ?Sized> ReplayGuard for Arc<G> {
    fn begin(&self, webhook_id: &str, now: Timestamp) -> Result<(), Seen> {
        (**self).begin(webhook_id, now)
    }

    fn handled(&self, webhook_id: &str) {
        (**self).handled(webhook_id);
    }

    fn forget(&self, webhook_id: &str) {
        (**self).forget(webhook_id);
    }
}

/// The right to handle one event. Dropped without [`Claim::handled`] (an error
/// returned, a panic, a connection closed in the middle), it is given up.
#[must_use = "a claim that is dropped is given up"]
pub struct Claim<'g> {
    guard: &'g dyn ReplayGuard,
    webhook_id: Box<str>,
    handled: bool,
}

impl Claim<'_> {
    /// The event is handled. Call it when nothing can fail any more, before
    /// answering.
    pub fn handled(mut self) {
        self.handled = true;
        self.guard.handled(&self.webhook_id);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.handled {
            self.guard.forget(&self.webhook_id);
        }
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.webhook_id).finish()
    }
}

/// Why an event can't be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// Another request is handling it right now.
    Underway,
    /// It is handled already.
    Handled,
}

impl Seen {
    /// The status to answer with: 200 for what is handled, 503 for what is
    /// underway, so that the sender comes again.
    pub const fn status(self) -> u16 {
        match self {
            Self::Underway => 503,
            Self::Handled => 200,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Underway => "the event is being handled by another request",
            Self::Handled => "the event is handled already",
        })
    }
}

impl std::error::Error for Seen {}

/// A [`ReplayGuard`] in memory, for a receiver of one process that may handle an
/// event again after a restart.
///
/// It holds at most `entries_max` ids, each for at most the retention; where
/// there are more, the oldest leave first. With the ids of a notify service an
/// entry takes about 200 bytes.
#[derive(Debug)]
pub struct MemoryReplayGuard {
    entries_max: usize,
    retention: Duration,
    entries: Mutex<Entries>,
}

impl MemoryReplayGuard {
    /// How long an id is remembered unless told otherwise: 48 hours, longer than
    /// a service goes on retrying.
    pub const RETENTION_DEFAULT: Duration = Duration::from_secs(48 * 3600);

    /// A guard for at most `entries_max` ids (at least one).
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries_max: entries_max.max(1),
            retention: Self::RETENTION_DEFAULT,
            entries: Mutex::default(),
        }
    }

    /// Remembers an id for this long. Less than twice the verifier's tolerance
    /// would let a captured message in again.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// A panic elsewhere leaves the entries whole: no change to them is made in
    /// two steps that could be torn apart by one.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryReplayGuard {
    /// 65,536 ids.
    fn default() -> Self {
        Self::new(65_536)
    }
}

impl ReplayGuard for MemoryReplayGuard {
    fn begin(&self, webhook_id: &str, now: Timestamp) -> Result<(), Seen> {
        let mut entries = self.entries();
        entries.expire(now, self.retention);
        if let Some(entry) = entries.by_id.get(webhook_id) {
            return Err(entry.seen);
        }
        while entries.by_id.len() >= self.entries_max {
            entries.remove_oldest();
        }
        entries.insert(webhook_id, now);
        Ok(())
    }

    fn handled(&self, webhook_id: &str) {
        if let Some(entry) = self.entries().by_id.get_mut(webhook_id) {
            entry.seen = Seen::Handled;
        }
    }

    fn forget(&self, webhook_id: &str) {
        self.entries().remove_unhandled(webhook_id);
    }
}

/// The ids, found by name and in the order of their claims.
#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<Arc<str>, Entry>,
    in_order: BTreeMap<u64, Arc<str>>,
    claims: u64,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    claim: u64,
    at: Timestamp,
}

impl Entries {
    fn insert(&mut self, webhook_id: &str, at: Timestamp) {
        self.claims += 1;
        let id: Arc<str> = webhook_id.into();
        let entry = Entry {
            seen: Seen::Underway,
            claim: self.claims,
            at,
        };
        self.in_order.insert(self.claims, Arc::clone(&id));
        self.by_id.insert(id, entry);
    }

    /// An entry that is handled stays: a claim that was pushed out by newer
    /// ones has nothing to take back.
    fn remove_unhandled(&mut self, webhook_id: &str) {
        let underway = |entry: &Entry| entry.seen == Seen::Underway;
        if self.by_id.get(webhook_id).is_some_and(underway)
            && let Some(entry) = self.by_id.remove(webhook_id)
        {
            self.in_order.remove(&entry.claim);
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.in_order.pop_first() {
            self.by_id.remove(&id);
        }
    }

    /// Claims are made in the order of time, so the oldest is looked at first
    /// and the first that is young enough ends the search. A clock that goes
    /// back makes entries younger, which only keeps them longer.
    fn expire(&mut self, now: Timestamp, retention: Duration) {
        let young = |entry: &Entry| now.since(entry.at) <= retention;
        while let Some((_, id)) = self.in_order.first_key_value() {
            if self.by_id.get(id).is_some_and(young) {
                return;
            }
            self.remove_oldest();
        }
    }
}

#[cfg(test)]
mod tests;
