//! The committer: what to write, when to fetch more, when to leave a store alone.
//! Sans I/O: the hub's task and the simulator drive the same type.
//!
//! **Cast.** A [`Committer`] holds what callers ask for and what deliveries have come
//! to until it is written. Its driver carries out what it says, one call of the store
//! at a time, and shares a [`Scheduler`] with whoever sends.
//!
//! **Flow.** The driver calls, as often as it likes:
//!
//! 1. `handle_*` for what has happened: an operation was admitted
//!    ([`handle_operation`](Committer::handle_operation)), the store has answered
//!    ([`handle_written`](Committer::handle_written),
//!    [`handle_claimed`](Committer::handle_claimed),
//!    [`handle_trimmed`](Committer::handle_trimmed),
//!    [`handle_failed`](Committer::handle_failed)), the phase or the clock changed;
//! 2. [`poll_done`](Committer::poll_done) until it has nothing more: what callers are
//!    to be told, in the order of the commits;
//! 3. [`poll_work`](Committer::poll_work): what to do next.
//!
//! **Guarantees.** Whatever has queued up while the last commit ran is the next batch;
//! there is no waiting for more. Settles go before operations, so that deliveries
//! drain under load. A settle is kept until it is written, and while one is kept that
//! a store did not take, nothing more is claimed: what is kept stays bounded. Claiming,
//! writing and trimming take turns. Every operation is answered exactly once.
//!
//! Times are counted from the driver's start, by a clock that nobody sets.

mod pause;
mod trimming;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{ClockStep, Forbearance};
use crate::delivery::Settle;
use crate::retention::Retention;
use crate::schedule::Scheduler;
use crate::store::{
    Answer, Appended, Batch, HealthNote, Operation, Refusal, Room, StoreError, Swept, Trimmed,
    Written,
};
use crate::time::Timestamp;

use pause::Pause;
use trimming::Trimming;

pub use pause::PATIENCE;
pub use work::{CommitError, CommitLimits, CommitPhase, Done, Work};

/// Decides what to write and when. See the [module](self) for the order of calls.
#[derive(Debug)]
pub struct Committer<T> {
    limits: CommitLimits,
    retention: Retention,
    phase: CommitPhase,
    waiting: VecDeque<Waiting<T>>,
    /// What deliveries have come to, to be written.
    settles: Vec<Settle>,
    /// Who has fallen sick or is well again, to be written with them.
    health: Vec<HealthNote>,
    /// Whether the store did not take some of these.
    owes_settles: bool,
    asked: Option<Asked<T>>,
    done: VecDeque<Done<T>>,
    pause: Pause,
    turn: Turn,
    /// When the next head that is not due yet falls due.
    next_due: Option<Duration>,
    claim_wanted: bool,
    trimming: Trimming,
    /// How much longer to keep what has ended, by a clock that may be wrong.
    forbearance: Forbearance,
    has_failed: Option<StoreError>,
}

/// An operation that waits to be written.
#[derive(Debug)]
struct Waiting<T> {
    operation: Operation,
    ticket: T,
    /// How many dead letters its steps have moved so far.
    swept: u64,
}

/// The call of the store that is under way.
#[derive(Debug)]
enum Asked<T> {
    Write {
        batch: Arc<Batch>,
        tickets: Vec<(T, u64)>,
        since: Duration,
    },
    Claim {
        room: Room,
        since: Duration,
    },
    Trim {
        since: Duration,
    },
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Claim,
    Write,
    Trim,
}

impl<T> Committer<T> {
    /// A committer whose store has just been opened: the first claim is the
    /// recovery, in which what was pending is pending again.
    pub fn new(limits: CommitLimits, retention: Retention) -> Self {
        Self {
            limits,
            retention,
            phase: CommitPhase::Running,
            waiting: VecDeque::new(),
            settles: Vec::new(),
            health: Vec::new(),
            owes_settles: false,
            asked: None,
            done: VecDeque::new(),
            pause: Pause::default(),
            turn: Turn::Claim,
            next_due: None,
            claim_wanted: true,
            trimming: Trimming::default(),
            forbearance: Forbearance::default(),
            has_failed: None,
        }
    }

    /// How many operations wait to be written.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many settles wait to be written.
    pub fn kept(&self) -> usize {
        self.settles.len()
    }

    /// Whether the store is left alone for a while.
    pub fn is_paused(&self, at: Duration) -> bool {
        self.pause.until(at).is_some()
    }

    /// Why nothing more is done, once it isn't.
    pub fn failure(&self) -> Option<&StoreError> {
        self.has_failed.as_ref()
    }

    /// An operation was admitted.
    pub fn handle_operation(&mut self, at: Duration, operation: Operation, ticket: T) {
        let refusal = match &self.has_failed {
            Some(error) => Some(error.clone()),
            None => self.pause.refusal(at).cloned(),
        };
        match refusal {
            Some(error) => self.tell(ticket, Err(CommitError::Store(error))),
            None => self.waiting.push_back(Waiting {
                operation,
                ticket,
                swept: 0,
            }),
        }
    }

    /// The phase has changed. There is no way back.
    pub fn handle_phase(&mut self, phase: CommitPhase) {
        if phase == CommitPhase::Closing && self.phase < phase {
            // What is kept is written at once, or not at all.
            self.pause.cut_short();
        }
        self.phase = self.phase.max(phase);
    }

    /// The clock was set, and store and scheduler have been told.
    pub fn handle_clock_set(&mut self, at: Duration, step: ClockStep) {
        self.forbearance.handle_step(at, step);
        self.next_due = None;
        self.claim_wanted = true;
    }

    /// The store has written what it was given.
    pub fn handle_written(&mut self, at: Duration, written: Written, scheduler: &mut Scheduler) {
        let Some(Asked::Write {
            batch,
            tickets,
            since,
        }) = self.asked.take()
        else {
            return;
        };
        self.trimming.handle_wrote(at.saturating_sub(since));
        self.owes_settles = false;
        for answer in written.answers.iter().flatten() {
            if let Answer::Appended(Appended { record, lanes, .. }) = answer {
                for lane in lanes {
                    scheduler.handle_newer(lane, record.sequence());
                }
            }
        }
        for (operation, answer) in batch.operations.iter().zip(&written.answers) {
            if let Operation::Delete(deletion) = operation {
                scheduler.handle_deleted(deletion.what(), answer);
            }
        }
        // Its answer names only what falls due after it.
        self.claim_wanted |= self.next_due.is_some_and(|due| due <= at);
        let answers = self.take_in(since, written, scheduler);
        let asked = batch.operations.iter().zip(tickets);
        for ((operation, (ticket, swept)), answer) in asked.zip(answers) {
            self.handle_answer(operation, ticket, swept, answer);
        }
    }

    /// The store has answered a claim.
    pub fn handle_claimed(&mut self, written: Written, scheduler: &mut Scheduler) {
        let Some(Asked::Claim { room, since }) = self.asked.take() else {
            return;
        };
        let bytes = written.leased.iter().map(|it| it.delivery().bytes());
        let is_cut = written.leased.len() >= self.limits.claim_deliveries_max
            || bytes.sum::<u64>() >= room.bytes;
        scheduler.handle_claimed(&room, is_cut);
        self.take_in(since, written, scheduler);
    }

    /// A step of trimming has ended.
    pub fn handle_trimmed(&mut self, at: Duration, trimmed: Trimmed) {
        let Some(Asked::Trim { since }) = self.asked.take() else {
            return;
        };
        // What stood behind what was given up may fall due before anybody knows.
        self.claim_wanted |= trimmed.expired > 0;
        let took = at.saturating_sub(since);
        self.trimming.handle_step(at, took, trimmed.more);
    }

    /// What the store was asked for, or was told of the clock, did not come about. A
    /// store that is full, or can't be asked now, is asked again later, with what it
    /// did not take; any other error is the end.
    pub fn handle_failed(&mut self, at: Duration, error: StoreError) {
        let asked = self.asked.take();
        let is_trim = matches!(asked, Some(Asked::Trim { .. }));
        if let Some(Asked::Write { batch, tickets, .. }) = asked {
            self.take_back(batch, tickets);
        }
        let may_wait = match error {
            StoreError::Full => {
                self.pause.handle_full(at);
                false
            }
            StoreError::NotNow => self.pause.handle_not_now(at),
            error => {
                self.refuse_all(&error);
                self.has_failed = Some(error);
                return;
            }
        };
        if is_trim {
            // There is no hurry.
            self.trimming.handle_step(at, Duration::ZERO, false);
        }
        self.claim_wanted = true;
        if !may_wait && let Some(refusal) = self.pause.refusal(at).cloned() {
            self.refuse_all(&refusal);
        }
    }

    /// What a caller is to be told, if there is anything.
    pub fn poll_done(&mut self) -> Option<Done<T>> {
        self.done.pop_front()
    }

    /// What to do next. After anything but [`Work::Wait`] and [`Work::End`] the driver
    /// says what came of it before it asks again.
    ///
    /// `now` is the scheduler's time, `at` the committer's, and both are of this moment.
    pub fn poll_work(&mut self, at: Duration, now: Timestamp, scheduler: &mut Scheduler) -> Work {
        self.settles
            .extend(std::iter::from_fn(|| scheduler.poll_settle()));
        self.health
            .extend(std::iter::from_fn(|| scheduler.poll_health()));
        if self.has_failed.is_some() {
            return Work::End;
        }
        if let Some(until) = self.pause.until(at) {
            let is_over = self.phase == CommitPhase::Closing && self.pause.refusal(at).is_some();
            // What is kept is sent once more by the next process.
            return if is_over {
                Work::End
            } else {
                Work::Wait(until)
            };
        }
        self.claim_wanted |= self.next_due.is_some_and(|due| due <= at);
        self.claim_wanted |= scheduler.poll_claim(now);
        for _ in 0..3 {
            let turn = self.turn;
            self.turn = turn.next();
            let work = match turn {
                Turn::Claim => self.claim(at, scheduler),
                Turn::Write => self.write(at, scheduler),
                Turn::Trim => self.trim(at),
            };
            if let Some(work) = work {
                return work;
            }
        }
        match self.phase {
            CommitPhase::Closing => Work::End,
            // Nothing is claimed, so nothing falls due.
            CommitPhase::Draining => Work::Wait(self.trimming.at),
            CommitPhase::Running => {
                let probe = scheduler.poll_timeout();
                let probe = probe.map(|probe| at.saturating_add(probe.since(now)));
                let due = self.next_due.into_iter().chain(probe);
                Work::Wait(due.fold(self.trimming.at, Duration::min))
            }
        }
    }

    fn claim(&mut self, at: Duration, scheduler: &mut Scheduler) -> Option<Work> {
        let may = self.phase == CommitPhase::Running && !self.owes_settles;
        if !self.claim_wanted || !may {
            return None;
        }
        self.claim_wanted = false;
        let room = scheduler.room();
        if room.bytes == 0 {
            // It would be cut before it has begun. The scheduler asks for it in time.
            scheduler.handle_claimed(&room, true);
            self.next_due = None;
            return None;
        }
        self.asked = Some(Asked::Claim {
            room: room.clone(),
            since: at,
        });
        Some(Work::Claim {
            room,
            limit: self.limits.claim_deliveries_max,
        })
    }

    fn write(&mut self, at: Duration, scheduler: &Scheduler) -> Option<Work> {
        if self.settles.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let most = self.waiting.len().min(self.limits.batch_operations_max);
        let mut operations = Vec::with_capacity(most);
        let mut tickets = Vec::with_capacity(most);
        for waiting in self.waiting.drain(..most) {
            operations.push(waiting.operation);
            tickets.push((waiting.ticket, waiting.swept));
        }
        let batch = Arc::new(Batch {
            health: std::mem::take(&mut self.health),
            settles: std::mem::take(&mut self.settles),
            operations,
            may_lease: scheduler.room_in_passing(),
        });
        self.asked = Some(Asked::Write {
            batch: Arc::clone(&batch),
            tickets,
            since: at,
        });
        Some(Work::Write(batch))
    }

    fn trim(&mut self, at: Duration) -> Option<Work> {
        if self.phase == CommitPhase::Closing || !self.trimming.is_due(at) {
            return None;
        }
        // Until it has had its share of the time.
        self.turn = Turn::Trim;
        self.asked = Some(Asked::Trim { since: at });
        Some(Work::Trim {
            retention: self.forbearance.retention(at, self.retention),
            rows_max: self.limits.trim_rows_max,
        })
    }

    /// Hands on to the scheduler what was written. The store was asked at `since`, and
    /// what it says of the time to come it may have said then.
    fn take_in(
        &mut self,
        since: Duration,
        written: Written,
        scheduler: &mut Scheduler,
    ) -> Vec<Result<Answer, Refusal>> {
        self.pause.handle_taken();
        self.next_due = written.next_due_in.map(|wait| since.saturating_add(wait));
        for endpoint in &written.changed {
            scheduler.handle_endpoint_changed(endpoint);
        }
        for leased in written.leased {
            scheduler.handle_ready(leased);
        }
        for endpoint in written.left_waiting {
            scheduler.handle_left_waiting(endpoint);
        }
        written.answers
    }

    /// Answers a caller; one whose walk over dead letters or whose deletion is not
    /// through goes on.
    fn handle_answer(
        &mut self,
        operation: &Operation,
        ticket: T,
        swept: u64,
        answer: Result<Answer, Refusal>,
    ) {
        if let Ok(Answer::Deleted { rest: Some(rest) }) = answer {
            let operation = Operation::Delete(rest);
            return self.waiting.push_back(Waiting {
                operation,
                ticket,
                swept,
            });
        }
        let Ok(Answer::Swept(Swept { count, rest })) = answer else {
            return self.tell(ticket, answer.map_err(CommitError::Refused));
        };
        let swept = swept + count;
        let operation = match (operation, rest) {
            (Operation::Redeliver(_), Some(rest)) => Operation::Redeliver(rest),
            (Operation::DropDeadLetters(_), Some(rest)) => Operation::DropDeadLetters(rest),
            (_, rest) => {
                let count = swept;
                return self.tell(ticket, Ok(Answer::Swept(Swept { count, rest })));
            }
        };
        self.waiting.push_back(Waiting {
            operation,
            ticket,
            swept,
        });
    }

    /// What the store did not take comes first again.
    fn take_back(&mut self, batch: Arc<Batch>, tickets: Vec<(T, u64)>) {
        let batch = Arc::try_unwrap(batch).unwrap_or_else(|shared| Batch::clone(&shared));
        self.owes_settles |= !batch.settles.is_empty();
        self.settles.splice(0..0, batch.settles);
        self.health.splice(0..0, batch.health);
        for (operation, (ticket, swept)) in batch.operations.into_iter().zip(tickets).rev() {
            self.waiting.push_front(Waiting {
                operation,
                ticket,
                swept,
            });
        }
    }

    fn refuse_all(&mut self, error: &StoreError) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.tell(waiting.ticket, Err(CommitError::Store(error.clone())));
        }
    }

    fn tell(&mut self, ticket: T, outcome: Result<Answer, CommitError>) {
        self.done.push_back(Done { ticket, outcome });
    }
}

impl Turn {
    const fn next(self) -> Self {
        match self {
            Self::Claim => Self::Write,
            Self::Write => Self::Trim,
            Self::Trim => Self::Claim,
        }
    }
}

#[cfg(test)]
mod tests;
