//! Settling: what ends a lease, and what ends a delivery.

use std::time::Duration;

use super::Deciding;
use super::lanes::Ending;
use crate::delivery::{Outcome, Settle};
use crate::job::EventKind;
use crate::store::StaleLease;

impl Deciding<'_> {
    pub(super) fn settle(&mut self, settle: &Settle) -> Result<(), StaleLease> {
        let now = self.now;
        let key = &settle.lane;
        let lane = self.lanes.get(key).ok_or(StaleLease)?;
        let is_it = |held: &super::DeliveryRow| {
            held.id == settle.delivery && held.lease == Some(settle.lease)
        };
        let held = lane.find(is_it).ok_or(StaleLease)?;
        let (number, kind) = (held.row.number, held.row.kind);
        held.row.lease = None;
        let waits: Option<Duration> = match settle.outcome {
            Outcome::Retry { after } | Outcome::Postponed { after } => Some(after),
            _ => None,
        };
        if let Some(after) = waits {
            held.row.due_at = now.plus(after);
        }
        if let Some(mut attempt) = settle.attempt.clone() {
            let sent_at = now.minus(attempt.duration);
            if attempt.failure().is_some() {
                held.row.first_failed_at.get_or_insert(now);
                held.row.attempts_made = attempt.number;
            }
            if let Outcome::Retry { after } = settle.outcome {
                let waited = attempt.duration.saturating_add(after);
                attempt.next_attempt_at = Some(attempt.at.plus(waited));
            }
            held.attempts.push(attempt);
            // A redelivery is a lane of its own, and keeps no other one waiting.
            if kind == EventKind::Progress && key.redelivery.is_none() {
                lane.progress_sent_at = Some(sent_at);
            }
        }
        self.lanes.touch(key);
        match settle.outcome {
            Outcome::Delivered => self.end(key, number, Ending::Delivered),
            Outcome::Dead { reason } => self.end(key, number, Ending::Dead(reason)),
            // The lane rule finds the newer event and supersedes this one, which
            // hands its due time on.
            Outcome::Released | Outcome::Superseded => {}
            Outcome::Retry { .. } | Outcome::Postponed { .. } => {}
        }
        Ok(())
    }
}
