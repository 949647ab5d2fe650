//! The world of one seed: who is in it, and what each step does.

mod breaking;
mod committing;
mod operating;
mod process;
mod producing;
mod reading;
mod sending;
mod storing;

use std::collections::BTreeMap;
use std::time::Duration;

use notify_core::delivery::Settle;
use notify_core::{DeliveryId, Timestamp};

use self::operating::Secrets;
use self::process::Process;
use self::producing::Call;
use self::reading::Reader;
use self::sending::Attempt;
use super::agenda::{Agenda, Step};
use super::audit::{Audit, Breach, Invariant, Moment};
use super::plan::Plan;
use super::rng::Rng;
use super::sabotage::Sabotage;
use super::store::SimStore;
use super::trace::Trace;
use super::{Figures, Violation};

/// More than any world takes.
const STEPS_MAX: u64 = 100_000;

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    rng: Rng,
    agenda: Agenda,
    trace: Trace,
    store: SimStore,
    audit: Audit,
    sabotage: Sabotage,
    /// `None` while it is down.
    process: Option<Process>,
    lives: u64,
    /// Under way in the network, also when their sender is gone.
    attempts: BTreeMap<u64, Attempt>,
    /// What callers still want of the process.
    calls: BTreeMap<u64, Call>,
    /// Calls with a key, to be made a second time.
    past_calls: Vec<Call>,
    readers: Vec<Reader>,
    /// What each receiver checks with.
    secrets: Vec<Secrets>,
    /// Leases that have ended, each with the life in which it did.
    stale: Vec<(u64, Settle)>,
    /// What the last process went by when it ended, and when that was.
    last_time: Option<(Timestamp, u64)>,
    /// For a sabotage: how long receivers asked to be left alone, where only the
    /// delivery does so.
    unpaced: BTreeMap<DeliveryId, Duration>,
    productions_left: u64,
    next_number: u64,
    healing: bool,
    /// Whether nothing from before it is under way any more.
    healed: bool,
    figures: Figures,
}

impl World {
    /// `None` only if the plan can't be drawn.
    pub(super) fn new(seed: u64, sabotage: Sabotage, traced: bool) -> Option<Self> {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng)?;
        let mut world = Self {
            rng,
            agenda: Agenda::new(),
            trace: Trace::new(traced),
            store: SimStore::new(plan.memory, sabotage),
            audit: Audit::new(&plan),
            sabotage,
            process: None,
            lives: 0,
            attempts: BTreeMap::new(),
            calls: BTreeMap::new(),
            past_calls: Vec::new(),
            readers: Vec::new(),
            secrets: Vec::new(),
            stale: Vec::new(),
            last_time: None,
            unpaced: BTreeMap::new(),
            productions_left: plan.productions,
            next_number: 0,
            healing: false,
            healed: false,
            figures: Figures::default(),
            plan,
        };
        world.open();
        Some(world)
    }

    fn open(&mut self) {
        for job in self.plan.jobs.clone() {
            if self.rng.percent(70) {
                self.register(&job);
            }
            for _ in 0..self.rng.between(0, 2) {
                self.readers.push(Reader::of(job.clone()));
            }
        }
        let heal_at = self.plan.fault_phase_millis;
        for step in [Step::Start, Step::Produce, Step::Read, Step::Operate] {
            self.agenda.plan(0, step);
        }
        let break_at = self.rng.between(1, self.plan.break_millis);
        self.agenda.plan(break_at, Step::Break);
        self.agenda.plan(heal_at, Step::Heal);
    }

    /// Runs to the end: everything has settled, or something is wrong.
    pub(super) fn run(mut self) -> (Result<Figures, Violation>, u64) {
        let mut deadline = u64::MAX;
        while !self.audit.is_broken()
            && !self.is_over()
            && let Some(step) = self.agenda.next()
        {
            self.figures.steps += 1;
            let now = self.agenda.now();
            if self.process.is_some() {
                self.audit.ticks(self.moment());
            }
            let drained = now <= deadline || self.audit.pending() == 0;
            self.check_answered(now <= deadline);
            let endless = self.figures.steps > STEPS_MAX;
            self.audit.check(!endless, Invariant::I14, || {
                "it goes round in circles".to_owned()
            });
            let waiting = (!drained).then(|| self.audit.waiting());
            self.audit.check(drained, Invariant::I14, || {
                format!("no due time explains why these still wait: {waiting:?}")
            });
            if matches!(step, Step::Read | Step::Break | Step::Heal) {
                self.check_progress();
            }
            if step == Step::Heal {
                self.heal();
                deadline = now.saturating_add(self.drain_millis_max());
            } else {
                self.take(step);
            }
        }
        if !self.audit.is_broken() {
            self.check_end();
        }
        self.sum_up();
        let hash = self.trace.hash();
        match self.audit.take_breach() {
            None => (Ok(self.figures), hash),
            Some(Breach { invariant, what }) => {
                let trace = self.trace.into_lines();
                (Err(Violation::new(invariant, what, trace)), hash)
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Produce => self.produce(),
            Step::Ask { ticket } => self.ask(ticket),
            Step::Leave { ticket } => self.leave(ticket),
            Step::Commit { life } if self.lives_on(life) => self.commit(),
            Step::StoreWorks { life } if self.lives_on(life) => self.store_works(),
            Step::StoreAnswers { life } if self.lives_on(life) => self.store_answers(),
            Step::Dispatch { life } if self.lives_on(life) => self.dispatch(),
            Step::Arrives { attempt } => self.arrives(attempt),
            Step::Ends { life, attempt } => self.ends(life, attempt),
            Step::Read => self.read(),
            Step::Operate => self.operate(),
            Step::Break => self.break_something(),
            Step::Start => self.start(),
            // What belonged to a process that is gone, or is no step of its own.
            _ => {}
        }
    }

    /// Whether everything has healed and come to rest.
    fn is_over(&self) -> bool {
        let at_rest = |process: &Process| process.call.is_none() && process.is_idle();
        self.healed
            && self.calls.is_empty()
            && self.audit.pending() == 0
            && self.process.as_ref().is_some_and(at_rest)
    }

    /// What the backlog may take to drain: as long as the latest due time asks
    /// for, and some minutes. No due time may be further off than 29 h.
    fn drain_millis_max(&mut self) -> u64 {
        let now = self.agenda.now();
        let wait = self.audit.last_due().unwrap_or(now).saturating_sub(now);
        let probe = self.audit.last_probe().unwrap_or(now).saturating_sub(now);
        self.audit
            .check(wait <= 29 * 3_600_000, Invariant::I16, || {
                format!("a delivery is due only in {wait} ms")
            });
        wait.saturating_add(probe).saturating_add(15 * 60_000)
    }

    /// At the end nothing is pending, nothing is held, and every reader has read
    /// everything that it must not miss.
    fn check_end(&mut self) {
        self.audit.audit_all(self.agenda.now(), &self.store);
        let pending = self.audit.pending();
        let waiting = self.audit.waiting();
        self.audit.check(pending == 0, Invariant::I14, || {
            format!("nothing is to come, and these wait: {waiting}")
        });
        self.check_answered(false);
        if let Some(process) = &self.process {
            let idle = process.is_idle();
            self.audit.check(idle, Invariant::I13, || {
                "a scheduler with nothing to do still holds something".to_owned()
            });
        }
        self.finish_reading();
    }

    /// Nobody's call is forgotten, also if he has gone.
    fn check_answered(&mut self, may_wait: bool) {
        let calls = self.calls.len();
        self.audit
            .check(may_wait || calls == 0, Invariant::Answered, || {
                format!("{calls} calls are never answered, whoever waits for it")
            });
    }

    fn sum_up(&mut self) {
        let account = self.audit.figures;
        self.figures.seeds = 1;
        self.figures.events = account.events;
        self.figures.attempts = account.attempts;
        self.figures.delivered = account.delivered;
        self.figures.dead = account.dead;
        self.figures.superseded = account.superseded;
        self.figures.redeliveries = account.redeliveries;
        self.figures.dropped = account.dropped;
        self.figures.unsent = account.unsent;
        self.figures.backlog_full = account.backlog_full;
        self.figures.passed = account.passed;
        self.figures.expired = account.expired;
        self.figures.overtaken = account.overtaken;
        self.figures.duplicates = account.duplicates;
    }

    fn lives_on(&self, life: u64) -> bool {
        self.process.is_some() && self.lives == life
    }

    /// The time for scheduling: the process's own, or the wall's if there is none.
    fn sched_now(&self) -> Timestamp {
        let follows = self.sabotage == Sabotage::FollowTheWall;
        match &self.process {
            Some(process) if !follows => process.time(self.agenda.now()),
            Some(_) | None => self.agenda.wall(),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            life: self.lives,
            millis: self.agenda.now(),
            now: self.sched_now(),
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.agenda.now(), line);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// A few of each life are enough; the oldest are the most different.
    fn keep_stale(&mut self, settles: &[Settle]) {
        let life = self.lives;
        let kept = self.stale.iter().filter(|(of, _)| *of == life).count();
        let room = 4usize.saturating_sub(kept);
        let more = settles.iter().take(room).cloned();
        self.stale.extend(more.map(|settle| (life, settle)));
    }

    /// Settles of several earlier lives.
    fn stale_settles(&mut self) -> Vec<Settle> {
        let mut settles = Vec::new();
        for _ in 0..self.rng.between(1, 4) {
            let index = self.rng.index(self.stale.len());
            settles.extend(index.map(|index| self.stale.swap_remove(index).1));
        }
        settles
    }
}
