//! The committer, and the scheduler between it and the dispatcher.
//!
//! It does what the hub's committer does, one step at a time: a call of the store
//! begins, is carried out, is answered. Anything may happen in between.

use notify_core::Timestamp;
use notify_core::delivery::{Leased, Settle};
use notify_core::schedule::Scheduler;
use notify_core::store::{Appended, Room, StoreError};

use super::World;
use super::process::{Asked, LONG_PAUSE_MILLIS, Process, STANDSTILL_MILLIS, StoreCall};
use super::producing::Answer;
use crate::sim::agenda::Step;
use crate::sim::ledger::Invariant;
use crate::sim::sabotage::Sabotage;
use crate::sim::store::Done;

impl World {
    pub(super) fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.lives += 1;
        let (life, wall) = (self.lives, self.agenda.wall());
        let mut limits = self.plan.limits;
        if self.sabotage == Sabotage::WidenWindow {
            limits.in_flight_per_endpoint_max += 1;
        }
        let scheduler = Scheduler::new(limits, self.plan.policy.clone(), self.rng.number());
        let mut process = Process::new(life, self.agenda.now(), wall, scheduler);
        process.claim_wanted = self.sabotage != Sabotage::SkipRecovery || life == 1;
        self.process = Some(process);
        self.note(|| format!("process {life} starts; the wall says {wall:?}"));
        self.agenda.plan(500, Step::Trim { life });
        self.wake_committer();
    }

    pub(super) fn wake_committer(&mut self) {
        let life = self.lives;
        let after = self.rng.between(0, 2);
        self.agenda.plan(after, Step::Commit { life });
    }

    /// One turn of the committer: a claim if there is reason to, else a write if
    /// there is something to write.
    pub(super) fn commit(&mut self) {
        let now = self.sched_now();
        let millis = self.agenda.now();
        let ignore_room = self.sabotage == Sabotage::IgnoreRoom;
        let Some(process) = &mut self.process else {
            return;
        };
        if process.call.is_some() {
            return;
        }
        process.paused_until = process.paused_until.filter(|&until| millis < until);
        process.claim_wanted |= process.next_due.is_some_and(|due| due <= now);
        process.claim_wanted |= process.scheduler.poll_claim().is_some();
        let mut room = process.scheduler.room();
        if ignore_room {
            room = Room {
                each: u32::MAX,
                ..Room::default()
            };
        }
        let mut asked = None;
        if let Some(until) = process.paused_until {
            let most = if process.refuses {
                process.waiting.len()
            } else {
                0
            };
            let refused: Vec<u64> = process.waiting.drain(..most).collect();
            let life = process.life;
            self.agenda.plan(until - millis, Step::Commit { life });
            for ticket in refused {
                self.answer(ticket, Answer::Later);
            }
            return;
        } else if process.claim_wanted && process.kept.is_empty() {
            process.claim_wanted = false;
            asked = Some(Asked::Claim);
        } else {
            let most = self.plan.batch_operations_max.min(process.waiting.len());
            let tickets: Vec<u64> = process.waiting.drain(..most).collect();
            let settles = self.gather_settles();
            if !tickets.is_empty() || !settles.is_empty() {
                asked = Some(Asked::Write { settles, tickets });
            }
        }
        match asked {
            Some(asked) => self.begin_call(now, asked, room),
            None => self.sleep_until_due(now),
        }
    }

    fn gather_settles(&mut self) -> Vec<Settle> {
        let drop_one = self.sabotage == Sabotage::DropSettle && self.rng.percent(20);
        self.poll_settles();
        let process = self.process.as_mut();
        let mut settles = process.map_or(Vec::new(), |process| std::mem::take(&mut process.kept));
        if drop_one {
            settles.pop();
        }
        settles
    }

    /// Takes what the scheduler has settled: each delivery that it was given,
    /// once.
    fn poll_settles(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        while let Some(mut settle) = process.scheduler.poll_settle() {
            let id = settle.delivery;
            let once = process.unsettled.remove(&id);
            for ready in process.ready.values_mut() {
                ready.remove(&id);
            }
            self.ledger
                .check(once, Invariant::I6, || format!("{id} was settled twice"));
            self.sabotage
                .settle(&mut settle, process.time(self.agenda.now()));
            process.kept.push(settle);
        }
    }

    fn begin_call(&mut self, now: Timestamp, asked: Asked, room: Room) {
        let most = self.plan.store_millis_max;
        let works = self.rng.between(0, most);
        let answers = works + self.rng.between(0, most);
        let Some(process) = &mut self.process else {
            return;
        };
        let life = process.life;
        process.call = Some(StoreCall {
            now,
            asked,
            room,
            came: None,
        });
        self.agenda.plan(works, Step::StoreWorks { life });
        self.agenda.plan(answers, Step::StoreAnswers { life });
    }

    /// The store carries out the call, whoever hears of it.
    pub(super) fn store_works(&mut self) {
        let fault = self.draw_store_fault();
        let mut at = self.moment();
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(call) = &mut process.call else {
            return;
        };
        at.now = call.now;
        if let Some((error, false)) = fault {
            call.came = Some(Err(error.clone()));
            self.note(|| format!("the store does nothing: {error}"));
            return;
        }
        let room = call.room.clone();
        let (done, settles, appends) = match &call.asked {
            Asked::Claim => {
                let limit = self.plan.claim_deliveries_max;
                (
                    self.store.claim(at.now, room, limit),
                    Vec::new(),
                    Vec::new(),
                )
            }
            Asked::Write { settles, tickets } => {
                let calls = tickets.iter().filter_map(|ticket| self.calls.get(ticket));
                let appends: Vec<_> = calls.map(|call| call.append.clone()).collect();
                let done = self
                    .store
                    .write(at.now, settles.clone(), appends.clone(), room);
                (done, settles.clone(), appends)
            }
        };
        self.trace.note(self.agenda.now(), || {
            let settles = settles
                .iter()
                .map(|settle| (settle.delivery, settle.outcome));
            let appended = done.appends.iter().zip(&appends);
            let appended = appended.map(|(outcome, append)| match outcome {
                Ok(appended) => format!("{} {:?}", append.job, appended.record),
                Err(error) => format!("{} {error:?}", append.job),
            });
            let leased = done.leased.iter().map(|(delivery, _)| delivery.id);
            format!(
                "the store: settles {:?}, appends {:?}, leases {:?}",
                settles.collect::<Vec<_>>(),
                appended.collect::<Vec<_>>(),
                leased.collect::<Vec<_>>()
            )
        });
        self.ledger
            .written(at, &settles, &appends, &done, &self.store);
        if let Some(call) = self
            .process
            .as_mut()
            .and_then(|process| process.call.as_mut())
        {
            call.came = Some(match fault {
                Some((error, _)) => Err(error),
                None => Ok(done),
            });
        }
        if self.rng.percent(10) {
            self.keep_stale(&settles);
        }
    }

    pub(super) fn store_answers(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(StoreCall { asked, came, .. }) = process.call.take() else {
            return;
        };
        let is_claim = matches!(asked, Asked::Claim);
        let (settles, tickets) = match asked {
            Asked::Claim => (Vec::new(), Vec::new()),
            Asked::Write { settles, tickets } => (settles, tickets),
        };
        match came.unwrap_or(Err(StoreError::OutcomeUnknown)) {
            Ok(done) => {
                let full_page = done.leased.len() >= self.plan.claim_deliveries_max;
                process.claim_wanted |= is_claim && full_page;
                self.take_in(tickets, done);
            }
            Err(error) => {
                let now = self.agenda.now();
                let Some(process) = &mut self.process else {
                    return;
                };
                let may_wait = match error {
                    StoreError::Full => {
                        process.pause(now + LONG_PAUSE_MILLIS, true);
                        false
                    }
                    StoreError::NotNow => process.handle_not_now(now),
                    _ => {
                        for ticket in tickets {
                            self.answer(ticket, Answer::from(&error));
                        }
                        // The store does nothing more: the process ends, and
                        // starts anew.
                        self.crash();
                        return;
                    }
                };
                process.kept.splice(0..0, settles);
                process.claim_wanted = true;
                if may_wait {
                    for ticket in tickets.into_iter().rev() {
                        process.waiting.push_front(ticket);
                    }
                } else {
                    for ticket in tickets {
                        self.answer(ticket, Answer::Later);
                    }
                }
            }
        }
        self.wake_committer();
    }

    fn take_in(&mut self, tickets: Vec<u64>, mut done: Done) {
        let drop_one = self.sabotage == Sabotage::DropLease && self.rng.percent(20);
        let Some(process) = &mut self.process else {
            return;
        };
        let mut answers = Vec::new();
        for outcome in &done.appends {
            answers.push(match outcome {
                Ok(Appended { record, lanes }) => {
                    for lane in lanes {
                        process.scheduler.handle_newer(lane, record.sequence());
                    }
                    Answer::Accepted(record.id())
                }
                Err(refused) => Answer::from(refused),
            });
        }
        let mut leased = done.take_leased();
        if drop_one {
            leased.pop();
        }
        process.not_now = None;
        process.next_due = done.next_due;
        self.poll_settles();
        for leased in leased {
            self.hold(leased);
        }
        if self.sabotage == Sabotage::IgnoreLanes {
            self.send_at_once(&tickets, &done);
        }
        for (ticket, answer) in tickets.into_iter().zip(answers) {
            self.answer(ticket, answer);
        }
        self.wake_dispatcher();
    }

    /// Hands a leased delivery to the scheduler.
    pub(super) fn hold(&mut self, leased: Leased) {
        let Some(process) = &mut self.process else {
            return;
        };
        let (id, endpoint) = (leased.delivery().id, leased.delivery().lane.endpoint);
        process.unsettled.insert(id);
        let ready = process.ready.entry(endpoint).or_default();
        ready.insert(id);
        let (held, most) = (ready.len(), self.plan.limits.ready_per_endpoint_max);
        process.scheduler.handle_ready(leased);
        self.ledger
            .check(held <= most as usize, Invariant::I13, || {
                format!("{held} deliveries of {endpoint} are ready, at most {most} may be")
            });
    }

    /// A process with nothing to do while something is due has missed a wake-up.
    pub(super) fn check_progress(&mut self) {
        let Some(process) = &self.process else { return };
        if process.is_at_rest(self.agenda.now()) {
            let now = self.sched_now();
            let since = now.as_millis().saturating_sub(STANDSTILL_MILLIS);
            let overdue = self.ledger.due_before(Timestamp::from_millis(since));
            self.ledger.check(overdue.is_none(), Invariant::I14, || {
                format!("{overdue:?} has been due for long, and the process does nothing")
            });
        }
    }

    fn sleep_until_due(&mut self, now: Timestamp) {
        let Some(process) = &self.process else { return };
        if let Some(due) = process.next_due {
            let wait = u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX);
            let life = process.life;
            self.agenda.plan(wait, Step::Commit { life });
        }
    }
}
