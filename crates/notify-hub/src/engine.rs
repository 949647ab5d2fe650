//! The shell that drives the pure core: two tasks and what they share.
//!
//! **Cast.** The *committer* is the only one that writes to the store: it
//! gathers what callers ask for and what deliveries have come to, writes it as one
//! batch, publishes it in commit order and answers the callers. The
//! *dispatcher* runs attempts: it asks the scheduler what to send, sends it, and
//! reports the end. They share the scheduler, each locking it only to call it.
//!
//! **Flow.** `submit` → admission (bounded) → committer → store → live logs,
//! scheduler → caller. Scheduler → dispatcher → transport → scheduler → committer.
//!
//! **Guarantees.** Both tasks belong to the [`Engine`]: they end at
//! [`shutdown`](Engine::shutdown) or when it is dropped, and one that ends before
//! is the end of the notifier ([`watch`]). What was admitted is carried out and made
//! known, also if its caller goes away. Whatever waits is bounded by the admission.

mod admission;
mod committer;
mod dispatcher;
mod trying;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use notify_core::commit::CommitError;
use notify_core::schedule::{EndpointHealth, Scheduler};
use notify_core::store::{Answer, Archive, FreshIds, Operation, Refusal, StoreError};
use notify_core::transport::{DynTransport, VetError};
use notify_core::{EndpointId, EndpointUrl, JobId, Store, Timestamp};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::{Clock, Steady};
use crate::config::Settings;
use crate::error::{Failure, NotifyError};
use crate::live::{LiveJobs, Reader};
use crate::metrics::{Meters, Metrics};
use crate::random::FreshSupply;
use admission::{Admission, Admitted};
use committer::Driver;
use dispatcher::Dispatcher;
use trying::TRIED_AT_ONCE_MAX;
pub use trying::TestAnswer;
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
    calls: Mutex<Option<mpsc::UnboundedReceiver<Call>>>,
    tasks: OnceLock<tokio::sync::Mutex<JoinSet<()>>>,
    fresh: FreshSupply,
    /// Places for endpoints that are tried.
    tries: Semaphore,
}

/// What the engine's tasks and callers share.
struct Shared {
    settings: Settings,
    transport: Arc<dyn DynTransport>,
    store: Arc<dyn Store>,
    archive: Arc<dyn Archive>,
    clock: Arc<dyn Clock>,
    steady: OnceLock<Steady>,
    scheduler: Mutex<Scheduler>,
    live: Arc<LiveJobs>,
    admission: Admission,
    meters: Meters,
    /// Bounded by the admission, each of whose permits travels with its call.
    calls: mpsc::UnboundedSender<Call>,
    /// There are settles to write.
    commit: Notify,
    /// There may be something to send.
    dispatch: Notify,
    phase: tokio::sync::watch::Sender<Phase>,
    /// Why nothing more is done, once it isn't.
    failure: OnceLock<Failure>,
    /// What is carried out for callers that may have gone.
    errands: Mutex<JoinSet<()>>,
}

/// What a caller asks for.
struct Call {
    operation: Operation,
    ticket: Ticket,
}

/// Who asked, and about which job.
struct Ticket {
    job: Option<JobId>,
    reply: oneshot::Sender<Result<Answer, CommitError>>,
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
        let live = LiveJobs::new(
            settings.subscriptions_max,
            settings.live_log_bytes_max,
            settings.progress_events_max,
        );
        let shared = Shared {
            admission: Admission::new(&settings),
            meters: Meters::new(),
            settings,
            transport,
            archive: Arc::clone(&store) as Arc<dyn Archive>,
            store,
            clock,
            steady: OnceLock::new(),
            scheduler: Mutex::new(scheduler),
            live: Arc::new(live),
            calls: sender,
            commit: Notify::new(),
            dispatch: Notify::new(),
            phase: tokio::sync::watch::Sender::new(Phase::Running),
            failure: OnceLock::new(),
            errands: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            calls: Mutex::new(Some(receiver)),
            tasks: OnceLock::new(),
            fresh: FreshSupply::default(),
            tries: Semaphore::new(TRIED_AT_ONCE_MAX),
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn archive(&self) -> &Arc<dyn Archive> {
        &self.shared.archive
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

    /// How an endpoint is.
    pub(crate) fn endpoint_health(&self, id: EndpointId) -> EndpointHealth {
        let scheduler = self.shared.scheduler();
        scheduler.health(self.shared.now(), id)
    }

    /// Ids for whatever an operation may create.
    pub(crate) fn fresh_ids(&self) -> Result<FreshIds, NotifyError> {
        self.fresh.draw()
    }

    /// The one place where a text becomes the URL of an endpoint.
    pub(crate) fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        self.shared.transport.vet(text)
    }

    /// Has an operation carried out: returns when it is in the store. `bytes` is what
    /// it occupies while it waits, beyond a little.
    ///
    /// # Cancel safety
    /// Once admitted it is carried out, whoever waits for it.
    pub(crate) async fn submit(
        &self,
        operation: Operation,
        bytes: usize,
    ) -> Result<Result<Answer, Refusal>, NotifyError> {
        self.start()?;
        let admitted = self.shared.admission.enter(bytes).await?;
        let (reply, answer) = oneshot::channel();
        let job = match &operation {
            Operation::Append(append) => Some(append.job.clone()),
            Operation::Register(registration) => Some(registration.job.clone()),
            Operation::Delete(deletion) => deletion.job().cloned(),
            _ => None,
        };
        let ticket = Ticket {
            job,
            reply,
            _admitted: admitted,
        };
        self.shared
            .calls
            .send(Call { operation, ticket })
            .map_err(|_| self.refusal())?;
        let began = self.shared.at();
        let answered = answer.await;
        let took = self.shared.at().saturating_sub(began);
        match answered {
            Ok(Ok(answer)) => {
                self.shared.meters.committed(took);
                Ok(Ok(answer))
            }
            Ok(Err(CommitError::Refused(refusal))) => Ok(Err(refusal)),
            Ok(Err(CommitError::Store(error))) => Err(error.into()),
            // The committer answers everything that it takes over; what it did not
            // take was left when it ended, or it was aborted.
            Err(_) if !self.is_ready() => Err(self.refusal()),
            Err(_) => Err(NotifyError::OutcomeUnknown),
        }
    }

    /// What is counted, and how things stand.
    pub(crate) async fn metrics(&self) -> Result<Metrics, NotifyError> {
        let shared = &self.shared;
        let kept = self.archive().counters().await?;
        let (in_flight, ready, own_failures) = {
            let scheduler = shared.scheduler();
            (
                scheduler.in_flight(),
                scheduler.ready(),
                scheduler.own_failures(),
            )
        };
        let now = shared.now();
        Ok(Metrics {
            own_failures,
            pending_deliveries: kept.pending_deliveries,
            pending_limit: shared.settings.pending_deliveries_max as u64,
            dead_letters: kept.dead_letters,
            jobs: kept.jobs,
            in_flight: in_flight as u64,
            ready: ready as u64,
            oldest_due: kept
                .oldest_due_at
                .map_or(Duration::ZERO, |at| now.since(at)),
            followed_jobs: shared.live.unfinished() as u64,
            ..shared.meters.read()
        })
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
            let (reader, behind) = attached.ok_or(NotifyError::overloaded())?;
            if let Some(behind) = behind {
                // Also if this one goes away: others wait for it.
                self.shared.read_on(job, behind);
            }
            let filled = reader.filled(&*self.shared.archive).await;
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
            if let Some(calls) = lock(&self.calls).take() {
                let shared = || Arc::clone(&self.shared);
                let dispatcher = Dispatcher::new(shared());
                tasks.spawn(watch(shared(), "dispatcher", dispatcher.run()));
                let committer = Driver::new(shared(), calls);
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

    /// How long ago the engine was started, by a clock that nobody sets.
    fn at(&self) -> Duration {
        self.steady().after_start()
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
