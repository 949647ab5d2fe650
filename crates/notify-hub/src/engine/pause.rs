//! How long the committer leaves a store alone that can't take what it is given,
//! and what it tells callers meanwhile.
//!
//! A store that has no space is left alone for a while, and callers are refused. One
//! that can't be asked *now* is asked again soon, and they wait: a caller need not
//! know of a lock that is held for a moment. When that has lasted for
//! [`PATIENCE`] they are refused too. What deliveries have come to is never
//! refused; it is kept until it is written.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::NotifyError;

/// For how long callers wait for a store that can't be asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a store is left alone while callers are refused.
const LONG: Duration = Duration::from_secs(1);
/// How long it is left alone while callers wait: at first, and then twice as long
/// each time.
const SHORT: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    refusal: Option<NotifyError>,
    /// Since when the store can't be asked, and how often it was tried.
    not_now: Option<(Instant, u32)>,
}

impl Pause {
    /// The store is full.
    pub(super) fn handle_full(&mut self, now: Instant) {
        self.until = Some(now + LONG);
        self.refusal = Some(NotifyError::StoreFull);
    }

    /// The store can't be asked now. Says whether callers may wait for it.
    pub(super) fn handle_not_now(&mut self, now: Instant) -> bool {
        let (since, tries) = self.not_now.unwrap_or((now, 0));
        self.not_now = Some((since, tries.saturating_add(1)));
        let left = PATIENCE.saturating_sub(now - since);
        if left.is_zero() {
            self.until = Some(now + LONG);
            self.refusal = Some(NotifyError::overloaded());
        } else {
            let short = SHORT.saturating_mul(2_u32.saturating_pow(tries));
            self.until = Some(now + short.min(left));
            self.refusal = None;
        }
        !left.is_zero()
    }

    /// The store has taken something.
    pub(super) fn handle_taken(&mut self) {
        *self = Self::default();
    }

    /// Ends the pause, though not what it is for.
    pub(super) fn cut_short(&mut self) {
        self.until = None;
        self.refusal = None;
    }

    /// Until when the store is left alone.
    pub(super) fn poll_until(&mut self, now: Instant) -> Option<Instant> {
        if self.until.is_some_and(|until| until <= now) {
            self.cut_short();
        }
        self.until
    }

    /// What callers are told while it lasts; they wait if there is nothing.
    pub(super) fn refusal(&self) -> Option<&NotifyError> {
        self.refusal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_wait_for_a_second_in_ever_longer_steps_and_are_then_refused() {
        let mut pause = Pause::default();
        let begun = Instant::now();
        let mut now = begun;
        let mut waits = Vec::new();
        while pause.handle_not_now(now) {
            assert_eq!(pause.refusal(), None);
            let until = pause.poll_until(now).unwrap();
            waits.push((until - now).as_millis());
            now = until;
            assert_eq!(pause.poll_until(now), None);
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 380]);
        for _ in 0..2 {
            assert_eq!(pause.refusal(), Some(&NotifyError::overloaded()));
            now = pause.poll_until(now).unwrap();
            assert_eq!(pause.poll_until(now), None);
            assert!(!pause.handle_not_now(now), "they wait anew");
        }
        pause.handle_taken();
        assert!(pause.handle_not_now(now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_store_is_left_alone_for_a_second() {
        let mut pause = Pause::default();
        let now = Instant::now();
        pause.handle_full(now);
        assert_eq!(pause.refusal(), Some(&NotifyError::StoreFull));
        assert_eq!(pause.poll_until(now), Some(now + LONG));
        assert_eq!(pause.poll_until(now + LONG), None);
        assert_eq!(pause.refusal(), None);
    }
}
