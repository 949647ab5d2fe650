//! The one task that writes: it drives the [`Committer`] of the core, which decides
//! what to write and when, and makes known what was written.

use std::sync::Arc;

use notify_core::clock::ClockStep;
use notify_core::commit::{CommitLimits, Committer, Done, Work};
use notify_core::delivery::DeadReason;
use notify_core::store::{Answer, StoreError, Trimmed};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Call, Phase, Shared, Ticket};

/// The most calls that are taken over at once.
const CALLS_MAX: usize = 1_024;

pub(super) struct Driver {
    shared: Arc<Shared>,
    calls: mpsc::UnboundedReceiver<Call>,
    committer: Committer<Ticket>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, calls: mpsc::UnboundedReceiver<Call>) -> Self {
        let committer = Committer::new(CommitLimits::default(), shared.settings.retention);
        Self {
            shared,
            calls,
            committer,
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut phase = shared.phase.subscribe();
        let mut taken = Vec::new();
        loop {
            self.committer
                .handle_phase(phase.borrow_and_update().commit());
            self.take(&mut taken);
            self.follow_clock().await;
            let at = shared.at();
            let work = {
                let mut scheduler = shared.scheduler();
                self.committer.poll_work(at, shared.now(), &mut scheduler)
            };
            match work {
                Work::Wait(until) => {
                    self.answer();
                    tokio::select! {
                        _ = self.calls.recv_many(&mut taken, CALLS_MAX) => {}
                        () = shared.commit.notified() => {}
                        () = sleep(until.saturating_sub(at)) => {}
                        _ = phase.changed() => {}
                    }
                }
                Work::End => break,
                work => self.work(work).await,
            }
            self.answer();
        }
        self.end().await;
    }

    /// Takes over what callers ask for.
    fn take(&mut self, taken: &mut Vec<Call>) {
        let at = self.shared.at();
        let waiting = std::iter::from_fn(|| self.calls.try_recv().ok());
        for call in taken.drain(..).chain(waiting.take(CALLS_MAX)) {
            self.committer
                .handle_operation(at, call.operation, call.ticket);
        }
    }

    /// One call of the store.
    async fn work(&mut self, work: Work) {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        let written = match work {
            Work::Write(batch) => {
                let asked = Arc::clone(&batch);
                let written = shared.store.write(now, batch).await;
                if let Ok(written) = &written {
                    shared.meters.wrote(&asked, written);
                }
                written
            }
            Work::Claim { room, limit } => {
                let claimed = shared.store.claim(now, room, limit).await;
                return match claimed {
                    Ok(claimed) => {
                        shared.meters.settled(&claimed);
                        report(&claimed.died);
                        let mut scheduler = shared.scheduler();
                        self.committer.handle_claimed(claimed, &mut scheduler);
                        drop(scheduler);
                        shared.dispatch.notify_one();
                    }
                    Err(error) => self.failed(&error),
                };
            }
            Work::Trim {
                retention,
                rows_max,
            } => {
                let trimmed = shared.store.trim(now, retention, rows_max).await;
                return self.trimmed(trimmed).await;
            }
            Work::Wait(_) | Work::End => return,
        };
        match written {
            Ok(written) => {
                report(&written.died);
                let mut scheduler = shared.scheduler();
                self.committer
                    .handle_written(shared.at(), written, &mut scheduler);
                drop(scheduler);
                shared.dispatch.notify_one();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &StoreError) {
        if *error == StoreError::Full {
            tracing::warn!("the store has no space left; deliveries wait");
        }
        self.committer
            .handle_failed(self.shared.at(), error.clone());
    }

    async fn trimmed(&mut self, trimmed: Result<Trimmed, StoreError>) {
        let at = self.shared.at();
        let trimmed = match trimmed {
            Ok(trimmed) => trimmed,
            // There is no hurry.
            Err(StoreError::Full | StoreError::NotNow) => Trimmed::default(),
            Err(error) => {
                tracing::warn!(%error, "trimming failed");
                self.shared.heed(&error).await;
                Trimmed::default()
            }
        };
        if trimmed.expired > 0 {
            let (reason, expired) = (DeadReason::Expired, trimmed.expired);
            tracing::warn!(%reason, expired, "deliveries were given up");
        }
        if trimmed.forgotten > 0 {
            let forgotten = trimmed.forgotten;
            tracing::debug!(forgotten, "forgot what is past its retention");
        }
        if trimmed.crowded_out > 0 {
            let crowded_out = trimmed.crowded_out;
            tracing::warn!(crowded_out, "dead letters had to make room for newer ones");
        }
        self.committer.handle_trimmed(at, trimmed);
    }

    /// Makes known what was written, in commit order, and answers the callers.
    fn answer(&mut self) {
        while let Some(Done { ticket, outcome }) = self.committer.poll_done() {
            let Ticket { job, reply, .. } = ticket;
            match (&outcome, &job) {
                (Ok(Answer::Appended(appended)), Some(job)) => {
                    if let Some(behind) = self.shared.live.publish(job, &appended.record) {
                        self.shared.read_on(job, behind);
                    }
                }
                (Ok(Answer::Registered(registered)), Some(job)) => {
                    self.shared.live.begins(job, registered.epoch);
                    self.shared.live.token_replaced(job);
                }
                (Ok(Answer::Deleted { .. }), Some(job)) => self.shared.live.deleted(job),
                _ => {}
            }
            // Whoever has gone away has got what it asked for.
            let _ = reply.send(outcome);
        }
    }

    /// Goes by the wall again if it was set: between what is pending in the store and
    /// what the scheduler holds there is one clock. A store that can't be told now is
    /// told at the next turn.
    async fn follow_clock(&mut self) {
        let shared = &self.shared;
        if self.committer.is_paused(shared.at()) {
            return;
        }
        let Some(step) = shared.steady().step(&*shared.clock) else {
            return;
        };
        if let Err(error) = shared.store.clock_set(step).await {
            return self.failed(&error);
        }
        let mut scheduler = shared.scheduler();
        shared.steady().set(step);
        scheduler.handle_clock_set(step);
        drop(scheduler);
        self.committer.handle_clock_set(shared.at(), step);
        tell_of(step);
    }

    /// Takes nothing more; nobody is left without an answer.
    async fn end(mut self) {
        if let Some(error) = self.committer.failure().cloned() {
            self.shared.store_failed(&error).await;
        }
        self.answer();
        self.calls.close();
        // Those that are left learn from their engine why.
        while self.calls.try_recv().is_ok() {}
    }
}

impl Phase {
    fn commit(self) -> notify_core::commit::CommitPhase {
        use notify_core::commit::CommitPhase;
        match self {
            Self::Running => CommitPhase::Running,
            Self::Draining | Self::Stopping => CommitPhase::Draining,
            Self::Closing | Self::Failed => CommitPhase::Closing,
        }
    }
}

fn report(died: &[DeadReason]) {
    for reason in died {
        tracing::warn!(%reason, "a delivery was given up");
    }
}

fn tell_of(step: ClockStep) {
    let (direction, by) = if step.is_back() {
        ("back", step.from.since(step.to))
    } else {
        ("forward", step.to.since(step.from))
    };
    let by_secs = by.as_secs();
    tracing::warn!(
        direction,
        by_secs,
        "the clock was set; retries keep their waits, and nothing is forgotten for a while"
    );
}
