//! The shell that drives the pure core: two tasks and what they share.
//!
//! **Cast.** The *committer* is the only one that writes to the store: it
//! gathers what callers want to append and what deliveries have come to, writes
//! it as one batch, publishes it in commit order and answers the callers. The
//! *dispatcher* runs attempts: it asks the scheduler what to send, sends it, and
//! reports the end. They share the scheduler, each locking it only to call it.
//!
//! **Flow.** `append` → admission (bounded) → committer → store → live logs,
//! scheduler → caller. Scheduler → dispatcher → transport → scheduler → committer.
//!
//! **Guarantees.** Both tasks belong to the [`Engine`]: they end at
//! [`shutdown`](Engine::shutdown) or when it is dropped, and one that ends before
//! is the end of the notifier ([`watch`]). What a call asks of the store outlives
//! the caller. Whatever waits is bounded by the admission.

mod admission;
mod committer;
mod dispatcher;
mod pause;
mod setting;
mod trimming;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use notify_core::schedule::Scheduler;
use notify_core::store::{Append, DeadFilter, RegisterError, Registered, Registration, StoreError};
use notify_core::transport::DynTransport;
use notify_core::{EndpointUrl, EventId, JobId, Store, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::{Clock, Steady};
use crate::config::Settings;
use crate::error::{Failure, NotifyError};
use crate::live::{LiveJobs, Reader};
use admission::{Admission, Admitted};
use committer::Committer;
use dispatcher::Dispatcher;
use watch::watch;

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) transport: Arc<dyn DynTransport>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
}

/// The running parts of a notifier.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    /// Taken when the tasks start.
    operations: Mutex<Option<mpsc::UnboundedReceiver<Operation>>>,
    tasks: OnceLock<tokio::sync::Mutex<JoinSet<()>>>,
}

/// What the engine's tasks and callers share.
struct Shared {
    settings: Settings,
    transport: Arc<dyn DynTransport>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    steady: OnceLock<Steady>,
    /// Held for writing while the clock is set, so that no call that has read the
    /// old time writes by it afterwards.
    clock_setting: tokio::sync::RwLock<()>,
    scheduler: Mutex<Scheduler>,
    live: Arc<LiveJobs>,
    admission: Admission,
    /// Bounded by the admission, each of whose permits travels with its operation.
    operations: mpsc::UnboundedSender<Operation>,
    /// There are settles to write.
    commit: Notify,
    /// Something has become due that the committer does not know of.
    claim: AtomicBool,
    /// There may be something to send.
    dispatch: Notify,
    phase: tokio::sync::watch::Sender<Phase>,
    /// Why nothing more is done, once it isn't.
    failure: OnceLock<Failure>,
    /// What is carried out for callers that may have gone.
    errands: Mutex<JoinSet<()>>,
}

/// An event that waits for its commit.
struct Operation {
    append: Append,
    reply: oneshot::Sender<Result<EventId, NotifyError>>,
    _admitted: Admitted,
}

/// Where the engine stands; only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// No new calls and no new attempts; those in flight may finish.
    Draining,
    /// Attempts are abandoned.
    Stopping,
    /// What is known is written, and nothing more.
    Closing,
    /// Nothing more is done.
    Failed,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            settings,
            transport,
            store,
            clock,
            seed,
        } = parts;
        let (sender, receiver) = mpsc::unbounded_channel();
        let scheduler = Scheduler::new(settings.schedule, settings.retry_policy.clone(), seed);
        let live = LiveJobs::new(settings.subscriptions_max, settings.progress_events_max);
        let shared = Shared {
            admission: Admission::new(&settings),
            settings,
            transport,
            store,
            clock,
            steady: OnceLock::new(),
            clock_setting: tokio::sync::RwLock::default(),
            scheduler: Mutex::new(scheduler),
            live: Arc::new(live),
            operations: sender,
            commit: Notify::new(),
            claim: AtomicBool::new(false),
            dispatch: Notify::new(),
            phase: tokio::sync::watch::Sender::new(Phase::Running),
            failure: OnceLock::new(),
            errands: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            operations: Mutex::new(Some(receiver)),
            tasks: OnceLock::new(),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    pub(crate) fn live(&self) -> &Arc<LiveJobs> {
        &self.shared.live
    }

    pub(crate) fn wall_now(&self) -> Timestamp {
        self.shared.clock.wall_now()
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.shared.phase.borrow() == Phase::Running
    }

    pub(crate) fn vet(&self, url: &EndpointUrl) -> Result<(), NotifyError> {
        Ok(self.shared.transport.vet(url)?)
    }

    /// Accepts an event: returns when it is in the store.
    pub(crate) async fn append(&self, append: Append) -> Result<EventId, NotifyError> {
        self.start()?;
        let admitted = self.shared.admission.enter(append.draft.json.len()).await?;
        let (reply, answer) = oneshot::channel();
        let operation = Operation {
            append,
            reply,
            _admitted: admitted,
        };
        self.shared
            .operations
            .send(operation)
            .map_err(|_| self.refusal())?;
        // The committer answers everything that it takes; a reply that is gone
        // was with it when it was aborted.
        answer.await.unwrap_or(Err(NotifyError::OutcomeUnknown))
    }

    /// Registers a job, and ends what its old token had opened.
    pub(crate) async fn register(
        &self,
        registration: Registration,
    ) -> Result<Registered, NotifyError> {
        self.start()?;
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let job = registration.job.clone();
            let registered = shared.store.register(shared.now(), registration).await;
            if let Err(RegisterError::Store(error)) = &registered {
                shared.heed(error).await;
            }
            let registered = registered?;
            shared.live.begins(&job, registered.epoch);
            shared.live.token_replaced(&job);
            Ok(registered)
        };
        self.shared.see_through(work).await?
    }

    /// Turns dead letters into pending deliveries, which are then attempted.
    pub(crate) async fn redeliver(&self, filter: DeadFilter) -> Result<u64, NotifyError> {
        self.start()?;
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let by_one_clock = shared.clock_setting.read().await;
            let redelivered = shared.store.redeliver(shared.now(), filter).await;
            drop(by_one_clock);
            // Also if it failed: what it came to may not be known.
            shared.claim.store(true, Ordering::Release);
            shared.commit.notify_one();
            if let Err(error) = &redelivered {
                shared.heed(error).await;
            }
            Ok(redelivered?)
        };
        self.shared.see_through(work).await?
    }

    /// Takes note of what the store said.
    pub(crate) async fn heed<T>(&self, said: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &said {
            self.shared.heed(error).await;
        }
        said
    }

    /// Counts a reader in and sees to it that it finds the job's log.
    pub(crate) async fn attach(&self, job: &JobId) -> Result<Reader, NotifyError> {
        self.start()?;
        loop {
            let attached = self.shared.live.attach(job);
            let reader = attached.ok_or(NotifyError::overloaded())?;
            let filled = reader.filled(&*self.shared.store).await;
            if self.heed(filled).await? {
                return Ok(reader);
            }
        }
    }

    /// Waits until the notifier has failed.
    pub(crate) async fn failed(&self) -> Failure {
        let mut phase = self.shared.phase.subscribe();
        // Its sender lives as long as the engine.
        let _ = phase.wait_for(|phase| *phase == Phase::Failed).await;
        match self.shared.failure.get() {
            Some(failure) => failure.clone(),
            // Set before the phase.
            None => std::future::pending().await,
        }
    }

    /// See [`JobNotifier::shutdown`](crate::JobNotifier::shutdown).
    pub(crate) async fn shutdown(&self, deadline: Duration) {
        self.shared.advance(Phase::Draining);
        self.shared.live.close();
        let Some(tasks) = self.tasks.get() else {
            return;
        };
        let mut tasks = tasks.lock().await;
        // The dispatcher ends when nothing is in flight or it is told to abandon
        // it; then the committer, which has by then all that is to be written.
        // It ends first only if all fails, which ends the dispatcher too.
        if tokio::time::timeout(deadline, tasks.join_next())
            .await
            .is_err()
        {
            self.shared.advance(Phase::Stopping);
            tasks.join_next().await;
        }
        self.shared.advance(Phase::Closing);
        while tasks.join_next().await.is_some() {}
        let mut errands = std::mem::take(&mut *lock(&self.shared.errands));
        errands.shutdown().await;
    }

    /// Starts the tasks, once; says why calls are not taken.
    pub(crate) fn start(&self) -> Result<(), NotifyError> {
        if !self.is_ready() {
            return Err(self.refusal());
        }
        self.tasks.get_or_init(|| {
            let mut tasks = JoinSet::new();
            if let Some(operations) = lock(&self.operations).take() {
                let shared = || Arc::clone(&self.shared);
                let dispatcher = Dispatcher::new(shared());
                tasks.spawn(watch(shared(), "dispatcher", dispatcher.run()));
                let committer = Committer::new(shared(), operations);
                tasks.spawn(watch(shared(), "committer", committer.run()));
            }
            tokio::sync::Mutex::new(tasks)
        });
        Ok(())
    }

    fn refusal(&self) -> NotifyError {
        match *self.shared.phase.borrow() {
            Phase::Failed => match self.shared.failure.get() {
                Some(Failure::Part { .. }) => NotifyError::NotReady("a part of it has ended"),
                _ => NotifyError::StoreFailed,
            },
            Phase::Running => NotifyError::NotReady("its runtime has ended"),
            Phase::Draining | Phase::Stopping | Phase::Closing => {
                NotifyError::NotReady("shutting down")
            }
        }
    }
}

impl Shared {
    /// The time for scheduling.
    fn now(&self) -> Timestamp {
        self.steady().now()
    }

    fn steady(&self) -> &Steady {
        self.steady.get_or_init(|| Steady::start(&*self.clock))
    }

    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.scheduler)
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The tasks are aborted with their set, which is no failure.
        self.shared.advance(Phase::Closing);
        lock(&self.shared.errands).abort_all();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("phase", &*self.shared.phase.borrow())
            .finish_non_exhaustive()
    }
}

/// A poisoned lock only means that another thread has panicked; the data behind
/// these locks is whole after each call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
