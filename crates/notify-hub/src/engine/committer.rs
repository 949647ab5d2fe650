//! The one task that writes: group commit, publication, answers.
//!
//! Whatever has queued up while the last commit ran is the next batch; there is
//! no waiting for more. Settles go before appends, so that deliveries drain
//! under load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use notify_core::clock::Forbearance;
use notify_core::delivery::Settle;
use notify_core::store::{Batch, StoreError, Written};
use notify_core::{EventId, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::admission::Admitted;
use super::{Operation, Phase, Shared};
use crate::error::{NotifyError, appended};

/// The most operations of one batch.
const BATCH_OPERATIONS_MAX: usize = 1_024;
/// The most deliveries that one claim takes out of the store.
const CLAIM_DELIVERIES_MAX: usize = 1_024;
/// The most jobs and dead letters that one step of trimming forgets.
const TRIM_STEP_MAX: usize = 256;
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// How long a store that is full is left alone.
const FULL_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    operations: mpsc::UnboundedReceiver<Operation>,
    /// Settles of a batch that a full store did not take.
    pub(super) kept: Vec<Settle>,
    pub(super) next_due: Option<Timestamp>,
    pub(super) claim_wanted: bool,
    paused_until: Option<Instant>,
    /// How much longer to keep what has ended, by a clock that may be wrong.
    pub(super) forbearance: Forbearance,
}

/// Who waits for the answer to one append, and its place among the waiting.
type Waiting = (oneshot::Sender<Result<EventId, NotifyError>>, Admitted);

/// The store does nothing more, and neither does the committer.
struct Failed(StoreError);

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, operations: mpsc::UnboundedReceiver<Operation>) -> Self {
        // The first claim is the recovery: what was pending is pending again.
        Self {
            shared,
            operations,
            kept: Vec::new(),
            next_due: None,
            claim_wanted: true,
            paused_until: None,
            forbearance: Forbearance::default(),
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(Failed(error)) = self.work().await {
            self.shared.store_failed(&error).await;
            self.operations.close();
            while let Ok(operation) = self.operations.try_recv() {
                let _ = operation.reply.send(Err(NotifyError::StoreFailed));
            }
        }
    }

    async fn work(&mut self) -> Result<(), Failed> {
        let shared = Arc::clone(&self.shared);
        let mut phase = shared.phase.subscribe();
        let mut trim = interval(TRIM_INTERVAL);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gathered = Vec::new();
        loop {
            if !self.is_paused()
                && let Err(error) = self.follow_clock().await
            {
                let kept = std::mem::take(&mut self.kept);
                self.after_failure(error, kept)?;
            }
            self.claim().await?;
            // While it drains nothing is claimed, so nothing falls due.
            let running = *phase.borrow() == Phase::Running;
            let next_due = self.next_due.filter(|_| running);
            let due = next_due.map(|at| shared.steady().instant_of(at));
            let wake_at = self.paused_until.or(due);
            tokio::select! {
                _ = self.operations.recv_many(&mut gathered, BATCH_OPERATIONS_MAX) => {}
                () = shared.commit.notified() => {}
                () = until(wake_at) => self.claim_wanted = true,
                _ = phase.changed() => {}
                _ = trim.tick() => self.trim().await,
            }
            if *phase.borrow_and_update() >= Phase::Closing {
                return self.finish(gathered).await;
            }
            self.write(std::mem::take(&mut gathered)).await?;
        }
    }

    /// Writes what is still there, and takes nothing more.
    async fn finish(&mut self, mut rest: Vec<Operation>) -> Result<(), Failed> {
        self.operations.close();
        while let Ok(operation) = self.operations.try_recv() {
            rest.push(operation);
        }
        self.paused_until = None;
        self.write(rest).await
    }

    /// One batch: settles first, then these operations.
    async fn write(&mut self, operations: Vec<Operation>) -> Result<(), Failed> {
        if self.is_paused() {
            for operation in operations {
                let _ = operation.reply.send(Err(NotifyError::StoreFull));
            }
            return Ok(());
        }
        let mut settles = std::mem::take(&mut self.kept);
        let may_lease = {
            let mut scheduler = self.shared.scheduler();
            settles.extend(std::iter::from_fn(|| scheduler.poll_settle()));
            scheduler.room()
        };
        if operations.is_empty() && settles.is_empty() {
            return Ok(());
        }
        let (appends, waiting): (Vec<_>, Vec<Waiting>) = operations
            .into_iter()
            .map(
                |Operation {
                     append,
                     reply,
                     admitted,
                 }| (append, (reply, admitted)),
            )
            .unzip();
        let jobs: Vec<_> = appends.iter().map(|append| append.job.clone()).collect();
        let kept = settles.clone();
        let now = self.shared.now();
        match self
            .shared
            .store
            .write(
                now,
                Batch {
                    settles,
                    appends,
                    may_lease,
                },
            )
            .await
        {
            Ok(written) => {
                for (job, outcome) in jobs.iter().zip(&written.appends) {
                    if let Ok(appended) = outcome
                        && let Some(behind) = self.shared.live.publish(job, &appended.record)
                    {
                        self.shared.read_on(job, behind);
                    }
                }
                let answers = self.take_in(written);
                for ((reply, _admitted), answer) in waiting.into_iter().zip(answers) {
                    let _ = reply.send(answer);
                }
                Ok(())
            }
            Err(error) => {
                for (reply, _admitted) in waiting {
                    let _ = reply.send(Err(error.clone().into()));
                }
                self.after_failure(error, kept)
            }
        }
    }

    /// Fetches due deliveries, if there is reason to.
    async fn claim(&mut self) -> Result<(), Failed> {
        let now = self.shared.now();
        self.claim_wanted |= self.next_due.is_some_and(|due| due <= now);
        self.claim_wanted |= self.shared.claim.swap(false, Ordering::AcqRel);
        self.claim_wanted |= self.shared.scheduler().poll_claim().is_some();
        let running = *self.shared.phase.borrow() == Phase::Running;
        if !self.claim_wanted || !running || self.is_paused() {
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
            Err(error) => self.after_failure(error, Vec::new()),
        }
    }

    /// Hands what was written on to the scheduler, and makes the callers' answers.
    fn take_in(&mut self, written: Written) -> Vec<Result<EventId, NotifyError>> {
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

    /// A store that is full is asked again later, with the settles kept; any
    /// other failure is the end.
    fn after_failure(&mut self, error: StoreError, kept: Vec<Settle>) -> Result<(), Failed> {
        if error != StoreError::Full {
            return Err(Failed(error));
        }
        tracing::warn!("the store has no space left; deliveries wait");
        self.kept = kept;
        self.paused_until = Some(Instant::now() + FULL_PAUSE);
        Ok(())
    }

    fn is_paused(&mut self) -> bool {
        self.paused_until = self.paused_until.filter(|until| Instant::now() < *until);
        self.paused_until.is_some()
    }

    async fn trim(&mut self) {
        let after_start = self.shared.steady().after_start();
        let retention = self.shared.settings.retention;
        let retention = self.forbearance.retention(after_start, retention);
        let now = self.shared.now();
        match self.shared.store.trim(now, retention, TRIM_STEP_MAX).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "forgot what is past its retention"),
            Err(error) => {
                tracing::warn!(%error, "trimming failed");
                self.shared.heed(&error).await;
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
