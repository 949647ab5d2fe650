//! What the committer does about a clock that was set.
//!
//! Between what is pending in the store and what the scheduler holds there is one
//! clock, so both are brought to the new time before anything else is written.

use notify_core::clock::ClockStep;
use notify_core::store::StoreError;

use super::committer::Committer;

impl Committer {
    /// Goes by the wall again if it was set. A store that can't be told now is
    /// told at the next turn.
    pub(super) async fn follow_clock(&mut self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let Some(step) = shared.steady().step(&*shared.clock) else {
            return Ok(());
        };
        let alone = shared.clock_setting.write().await;
        shared.store.clock_set(step).await?;
        let mut scheduler = shared.scheduler();
        shared.steady().set(step);
        scheduler.handle_clock_set(step);
        drop(scheduler);
        drop(alone);
        self.kept.iter_mut().for_each(|settle| settle.carry(step));
        self.next_due = None;
        self.claim_wanted = true;
        self.forbearance
            .handle_step(self.shared.steady().after_start(), step);
        report(step);
        Ok(())
    }
}

fn report(step: ClockStep) {
    let (direction, by) = if step.is_back() {
        ("back", step.from.since(step.to))
    } else {
        ("forward", step.to.since(step.from))
    };
    tracing::warn!(
        direction,
        by_secs = by.as_secs(),
        "the clock was set; retries keep their waits, and nothing is forgotten for a while"
    );
}
