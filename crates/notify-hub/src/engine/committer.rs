//! The one task that writes: group commit, publication, answers.
//!
//! Whatever has queued up while the last commit ran is the next batch; there is
//! no waiting for more. Settles go before appends, so that deliveries drain
//! under load.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use notify_core::clock::Forbearance;
use notify_core::delivery::Settle;
use notify_core::store::{Batch, StoreError, Written};
use notify_core::{EventId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::pause::Pause;
use super::trimming::Trimming;
use super::{Operation, Phase, Shared};
use crate::error::{NotifyError, appended};

/// The most operations of one batch.
const BATCH_OPERATIONS_MAX: usize = 1_024;
/// The most deliveries that one claim takes out of the store.
const CLAIM_DELIVERIES_MAX: usize = 1_024;

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    operations: mpsc::UnboundedReceiver<Operation>,
    /// Settles of batches that the store did not take.
    pub(super) kept: Vec<Settle>,
    /// Operations of a batch that the store could not be asked for.
    waiting: Vec<Operation>,
    pause: Pause,
    pub(super) next_due: Option<Timestamp>,
    pub(super) claim_wanted: bool,
    pub(super) trimming: Trimming,
    /// How much longer to keep what has ended, by a clock that may be wrong.
    pub(super) forbearance: Forbearance,
}

/// The store does nothing more, and neither does the committer.
struct Failed(StoreError);

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, operations: mpsc::UnboundedReceiver<Operation>) -> Self {
        // The first claim is the recovery: what was pending is pending again.
        Self {
            shared,
            operations,
            kept: Vec::new(),
            waiting: Vec::new(),
            pause: Pause::default(),
            next_due: None,
            claim_wanted: true,
            trimming: Trimming::new(Instant::now()),
            forbearance: Forbearance::default(),
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(Failed(error)) = self.work().await {
            self.shared.store_failed(&error).await;
            self.operations.close();
            let mut rest = std::mem::take(&mut self.waiting);
            while let Ok(operation) = self.operations.try_recv() {
                rest.push(operation);
            }
            refuse(rest, &NotifyError::StoreFailed);
        }
    }

    async fn work(&mut self) -> Result<(), Failed> {
        let shared = Arc::clone(&self.shared);
        let mut phase = shared.phase.subscribe();
        let mut gathered = Vec::new();
        loop {
            if !self.is_paused()
                && let Err(error) = self.follow_clock().await
            {
                self.after_failure(error, Vec::new(), Vec::new())?;
            }
            self.claim().await?;
            // While it drains nothing is claimed, so nothing falls due.
            let running = *phase.borrow() == Phase::Running;
            let next_due = self.next_due.filter(|_| running);
            let due = next_due.map(|at| shared.steady().instant_of(at));
            let paused_until = self.paused_until();
            // What is kept is written as soon as that may be.
            let owed = !(self.kept.is_empty() && self.waiting.is_empty());
            let owed = owed.then(Instant::now);
            let wake_at = paused_until.or(owed).or(due);
            // Callers who wait for the store do so where their number is bounded.
            let open = paused_until.is_none() || self.pause.refusal().is_some();
            tokio::select! {
                _ = self.operations.recv_many(&mut gathered, BATCH_OPERATIONS_MAX), if open => {}
                () = shared.commit.notified() => {}
                () = until(wake_at) => self.claim_wanted = true,
                _ = phase.changed() => {}
                () = sleep_until(self.trimming.at) => {}
            }
            if *phase.borrow_and_update() >= Phase::Closing {
                return self.finish(gathered).await;
            }
            let begun = Instant::now();
            self.write(std::mem::take(&mut gathered)).await?;
            self.trim(begun.elapsed()).await;
        }
    }

    /// Writes what is still there, and takes nothing more.
    async fn finish(&mut self, mut rest: Vec<Operation>) -> Result<(), Failed> {
        self.operations.close();
        while let Ok(operation) = self.operations.try_recv() {
            rest.push(operation);
        }
        loop {
            self.pause.cut_short();
            self.write(std::mem::take(&mut rest)).await?;
            match self.paused_until() {
                Some(until) if self.pause.refusal().is_none() => sleep_until(until).await,
                // What is kept is sent once more by the next process.
                _ => return Ok(()),
            }
        }
    }

    /// One batch: settles first, then these operations.
    async fn write(&mut self, operations: Vec<Operation>) -> Result<(), Failed> {
        if self.is_paused() {
            match self.pause.refusal() {
                Some(refusal) => refuse(operations, refusal),
                None => self.waiting.extend(operations),
            }
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(operations);
        let mut settles = std::mem::take(&mut self.kept);
        let may_lease = {
            let mut scheduler = self.shared.scheduler();
            settles.extend(std::iter::from_fn(|| scheduler.poll_settle()));
            scheduler.room()
        };
        if waiting.is_empty() && settles.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            settles: settles.clone(),
            appends: waiting.iter().map(|one| one.append.clone()).collect(),
            may_lease,
        };
        let now = self.shared.now();
        // The answer names only what falls due after `now`.
        self.claim_wanted |= self.next_due.is_some_and(|due| due <= now);
        match self.shared.store.write(now, batch).await {
            Ok(written) => {
                for (operation, outcome) in waiting.iter().zip(&written.appends) {
                    let job = &operation.append.job;
                    if let Ok(appended) = outcome
                        && let Some(behind) = self.shared.live.publish(job, &appended.record)
                    {
                        self.shared.read_on(job, behind);
                    }
                }
                let answers = self.take_in(written);
                for (operation, answer) in waiting.into_iter().zip(answers) {
                    let _ = operation.reply.send(answer);
                }
                Ok(())
            }
            Err(error) => self.after_failure(error, settles, waiting),
        }
    }

    /// Fetches due deliveries, if there is reason to.
    async fn claim(&mut self) -> Result<(), Failed> {
        let now = self.shared.now();
        self.claim_wanted |= self.next_due.is_some_and(|due| due <= now);
        self.claim_wanted |= self.shared.claim.swap(false, Ordering::AcqRel);
        self.claim_wanted |= self.shared.scheduler().poll_claim().is_some();
        let running = *self.shared.phase.borrow() == Phase::Running;
        // What was sent already is written first; until then nothing more is sent,
        // so what is kept stays bounded.
        if !self.claim_wanted || !running || self.is_paused() || !self.kept.is_empty() {
            return Ok(());
        }
        self.claim_wanted = false;
        let room = self.shared.scheduler().room();
        match self
            .shared
            .store
            .claim(now, room, CLAIM_DELIVERIES_MAX)
            .await
        {
            Ok(written) => {
                // A full page may not be the last one; writes get their turn first.
                if written.leased.len() >= CLAIM_DELIVERIES_MAX {
                    self.shared.commit.notify_one();
                    self.claim_wanted = true;
                }
                self.take_in(written);
                Ok(())
            }
            Err(error) => self.after_failure(error, Vec::new(), Vec::new()),
        }
    }

    /// Hands what was written on to the scheduler, and makes the callers' answers.
    fn take_in(&mut self, written: Written) -> Vec<Result<EventId, NotifyError>> {
        self.pause.handle_taken();
        self.next_due = written.next_due;
        let mut scheduler = self.shared.scheduler();
        let answer = |outcome| match outcome {
            Ok(notify_core::store::Appended { record, lanes }) => {
                for lane in &lanes {
                    scheduler.handle_newer(lane, record.sequence());
                }
                Ok(record.id())
            }
            Err(refused) => appended(Err(refused)),
        };
        let answers = written.appends.into_iter().map(answer).collect();
        for leased in written.leased {
            scheduler.handle_ready(leased);
        }
        if scheduler.has_settles() {
            self.shared.commit.notify_one();
        }
        drop(scheduler);
        for reason in written.died {
            tracing::warn!(%reason, "a delivery was given up");
        }
        self.shared.dispatch.notify_one();
        answers
    }

    /// A store that is full, or can't be asked now, is asked again later, with what
    /// it did not take; any other failure is the end.
    fn after_failure(
        &mut self,
        error: StoreError,
        mut settles: Vec<Settle>,
        mut operations: Vec<Operation>,
    ) -> Result<(), Failed> {
        // What an earlier call left is there still, whatever this one was.
        settles.append(&mut self.kept);
        operations.append(&mut self.waiting);
        let now = Instant::now();
        match error {
            StoreError::Full => {
                tracing::warn!("the store has no space left; deliveries wait");
                self.pause.handle_full(now);
                refuse(operations, &error.into());
            }
            StoreError::NotNow if self.pause.handle_not_now(now) => self.waiting = operations,
            StoreError::NotNow => refuse(operations, &error.into()),
            error => {
                refuse(operations, &error.clone().into());
                return Err(Failed(error));
            }
        }
        self.kept = settles;
        self.claim_wanted = true;
        Ok(())
    }

    fn is_paused(&mut self) -> bool {
        self.paused_until().is_some()
    }

    fn paused_until(&mut self) -> Option<Instant> {
        self.pause.poll_until(Instant::now())
    }
}

fn refuse(operations: Vec<Operation>, refusal: &NotifyError) {
    for operation in operations {
        let _ = operation.reply.send(Err(refusal.clone()));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
