//! How long a store is left alone that can't take what it is given, and what callers
//! are told meanwhile.
//!
//! A store that has no space is left alone for a while, and callers are refused. One
//! that can't be asked *now* is asked again soon, and they wait: a caller need not
//! know of a lock that is held for a moment. When that has lasted for
//! [`PATIENCE`] they are refused too. What deliveries have come to is never
//! refused; it is kept until it is written.

use std::time::Duration;

use crate::store::StoreError;

/// For how long callers wait for a store that can't be asked.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long a store is left alone while callers are refused.
const LONG: Duration = Duration::from_secs(1);
/// How long it is left alone while callers wait: at first, and then twice as long
/// each time.
const SHORT: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Duration>,
    refusal: Option<StoreError>,
    /// Since when the store can't be asked, and how often it was tried.
    not_now: Option<(Duration, u32)>,
}

impl Pause {
    /// The store is full.
    pub(super) fn handle_full(&mut self, at: Duration) {
        self.until = Some(at + LONG);
        self.refusal = Some(StoreError::Full);
    }

    /// The store can't be asked now. Says whether callers may wait for it.
    pub(super) fn handle_not_now(&mut self, at: Duration) -> bool {
        let (since, tries) = self.not_now.unwrap_or((at, 0));
        self.not_now = Some((since, tries.saturating_add(1)));
        let left = PATIENCE.saturating_sub(at.saturating_sub(since));
        if left.is_zero() {
            self.until = Some(at + LONG);
            self.refusal = Some(StoreError::NotNow);
        } else {
            let short = SHORT.saturating_mul(2_u32.saturating_pow(tries));
            self.until = Some(at + short.min(left));
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
    pub(super) fn until(&self, at: Duration) -> Option<Duration> {
        self.until.filter(|&until| at < until)
    }

    /// What callers are told while it lasts; they wait if there is nothing.
    pub(super) fn refusal(&self, at: Duration) -> Option<&StoreError> {
        self.until(at)?;
        self.refusal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_wait_for_a_second_in_ever_longer_steps_and_are_then_refused() {
        let mut pause = Pause::default();
        let mut at = Duration::from_secs(7);
        let mut waits = Vec::new();
        while pause.handle_not_now(at) {
            assert_eq!(pause.refusal(at), None);
            let until = pause.until(at).unwrap();
            waits.push((until - at).as_millis());
            at = until;
            assert_eq!(pause.until(at), None);
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 380]);
        for _ in 0..2 {
            assert_eq!(pause.refusal(at), Some(&StoreError::NotNow));
            at = pause.until(at).unwrap();
            assert_eq!(pause.until(at), None);
            assert!(!pause.handle_not_now(at), "they wait anew");
        }
        pause.handle_taken();
        assert!(pause.handle_not_now(at));
    }

    #[test]
    fn a_full_store_is_left_alone_for_a_second() {
        let mut pause = Pause::default();
        let at = Duration::from_secs(7);
        pause.handle_full(at);
        assert_eq!(pause.refusal(at), Some(&StoreError::Full));
        assert_eq!(pause.until(at), Some(at + LONG));
        assert_eq!(pause.until(at + LONG), None);
        assert_eq!(pause.refusal(at + LONG), None);
    }
}
