//! A simulator: the scheduler and the model store under faults, in simulated time.
//!
//! **Cast.** A *world* is drawn from a seed: settings, jobs, endpoints, how often
//! each receiver fails. The *process* drives the committer and the scheduler of the
//! core as the hub does, one step at a time: a call of the store begins, is carried
//! out, is answered, and anything may happen in between. The *store* is the model
//! store. *Services* emit events, an *operator* interferes, *readers* follow streams.
//! The *audit* keeps an account of its own of what must be true, and compares after
//! each step.
//!
//! **Flow.** A fault phase: crashes at any point (also during recovery, and between
//! the steps of a walk over dead letters), attempts that panic, replies of the store
//! that are lost after the commit, a store that is full or busy, reads that fail,
//! callers that go away, endpoints that fall sick and are tried again, what grows too old
//! there, a clock that is set, or wrong by days when the process
//! starts, leases of several earlier lives, endpoints that are disabled or gone,
//! webhooks that can't be sent to, receivers that fail, are late or say yes unheard.
//! Then everything heals, and the backlog must drain.
//!
//! **Guarantees.** A seed decides everything, so a failure is replayed from its
//! number. A run is silent and fast; the one that fails is run again with a trace.
//!
//! **Not simulated.** HTTP, files and threads. A crash voids all leases and loses
//! everything but the store, and the next process finds the times in it brought to
//! its own clock, which is what a durable store does by itself.

mod agenda;
mod audit;
mod plan;
mod rng;
mod sabotage;
mod store;
mod trace;
mod world;

use std::fmt;
use std::ops::AddAssign;

pub use audit::Invariant;
pub use sabotage::Sabotage;
use world::World;

/// Runs one seed's world to its end.
///
/// # Errors
/// [`Violation`] with the trace, if an invariant does not hold.
pub fn run(seed: u64, sabotage: Sabotage) -> Result<Figures, Violation> {
    let (outcome, _) = run_once(seed, sabotage, false);
    outcome.map_err(|quiet| {
        let (again, _) = run_once(seed, sabotage, true);
        // Only chance from outside could make the second run another one.
        again.err().unwrap_or(quiet)
    })
}

/// A hash over everything that happens in a seed's world.
pub fn fingerprint(seed: u64) -> u64 {
    run_once(seed, Sabotage::None, true).1
}

fn run_once(seed: u64, sabotage: Sabotage, traced: bool) -> (Result<Figures, Violation>, u64) {
    let Some(world) = World::new(seed, sabotage, traced) else {
        let what = "no world can be drawn".to_owned();
        return (Err(Violation::new(Invariant::I1, what, Vec::new())), 0);
    };
    let (outcome, hash) = world.run();
    (
        outcome.map_err(|violation| Violation { seed, ..violation }),
        hash,
    )
}

/// What one or more runs consisted of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Worlds.
    pub seeds: u64,
    /// Things that happened.
    pub steps: u64,
    /// Crashes of the process.
    pub crashes: u64,
    /// Of those, crashes before the first claim was through.
    pub crashes_in_recovery: u64,
    /// Batches that were written and whose reply was lost.
    pub lost_replies: u64,
    /// Settles with a lease of long ago.
    pub stale_leases: u64,
    /// Jumps of the wall clock.
    pub clock_jumps: u64,
    /// Accepted events.
    pub events: u64,
    /// Requests that left.
    pub attempts: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that were given up, each time they were.
    pub dead: u64,
    /// Deliveries that a newer event replaced.
    pub superseded: u64,
    /// Dead letters that were tried again.
    pub redeliveries: u64,
    /// Messages that a receiver took more than once.
    pub duplicates: u64,
    /// Callers that went away.
    pub gone: u64,
    /// Attempts that panicked.
    pub panics: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Steps of trimming that failed.
    pub failed_trims: u64,
    /// Processes that started with a clock that was wrong by days.
    pub wrong_clocks: u64,
    /// Walks over dead letters that took more than one step.
    pub long_walks: u64,
    /// Crashes between the steps of one.
    pub broken_walks: u64,
    /// Dead letters that were dropped.
    pub dropped: u64,
    /// Deliveries that could not be sent anywhere.
    pub unsent: u64,
    /// Deliveries for which too much waited.
    pub backlog_full: u64,
    /// Attempts that went before one that had waited longer.
    pub passed: u64,
    /// Deliveries that were due at a sick endpoint for too long.
    pub expired: u64,
    /// Deliveries that held up their job's end for too long.
    pub overtaken: u64,
}

impl Figures {
    fn named(&self) -> [(&'static str, u64); 27] {
        [
            ("seeds", self.seeds),
            ("steps", self.steps),
            ("crashes", self.crashes),
            ("crashes in recovery", self.crashes_in_recovery),
            ("lost replies", self.lost_replies),
            ("stale leases", self.stale_leases),
            ("clock jumps", self.clock_jumps),
            ("events", self.events),
            ("attempts", self.attempts),
            ("delivered", self.delivered),
            ("dead", self.dead),
            ("superseded", self.superseded),
            ("redeliveries", self.redeliveries),
            ("duplicates", self.duplicates),
            ("callers gone", self.gone),
            ("panics", self.panics),
            ("failed reads", self.failed_reads),
            ("failed trims", self.failed_trims),
            ("wrong clocks", self.wrong_clocks),
            ("long walks", self.long_walks),
            ("broken walks", self.broken_walks),
            ("dropped", self.dropped),
            ("unsent", self.unsent),
            ("backlog full", self.backlog_full),
            ("passed", self.passed),
            ("expired", self.expired),
            ("overtaken", self.overtaken),
        ]
    }

    /// The name of something that never happened, if there is one.
    pub fn missing(&self) -> Option<&'static str> {
        let never = self.named().into_iter().find(|(_, count)| *count == 0);
        never.map(|(name, _)| name)
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        self.crashes += other.crashes;
        self.crashes_in_recovery += other.crashes_in_recovery;
        self.lost_replies += other.lost_replies;
        self.stale_leases += other.stale_leases;
        self.clock_jumps += other.clock_jumps;
        self.events += other.events;
        self.attempts += other.attempts;
        self.delivered += other.delivered;
        self.dead += other.dead;
        self.superseded += other.superseded;
        self.redeliveries += other.redeliveries;
        self.duplicates += other.duplicates;
        self.gone += other.gone;
        self.panics += other.panics;
        self.failed_reads += other.failed_reads;
        self.failed_trims += other.failed_trims;
        self.wrong_clocks += other.wrong_clocks;
        self.long_walks += other.long_walks;
        self.broken_walks += other.broken_walks;
        self.dropped += other.dropped;
        self.unsent += other.unsent;
        self.backlog_full += other.backlog_full;
        self.passed += other.passed;
        self.expired += other.expired;
        self.overtaken += other.overtaken;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, count)) in self.named().into_iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {name}")?;
        }
        Ok(())
    }
}

/// An invariant does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The world in which it doesn't.
    pub seed: u64,
    /// Which.
    pub invariant: Invariant,
    /// In which way.
    pub what: String,
    /// What happened before, newest last.
    pub trace: Vec<String>,
}

impl Violation {
    fn new(invariant: Invariant, what: String, trace: Vec<String>) -> Self {
        Self {
            seed: 0,
            invariant,
            what,
            trace,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Self {
            seed,
            invariant,
            what,
            ..
        } = self;
        writeln!(f, "seed {seed} breaks {invariant}: {what}")?;
        write!(f, "replay: cargo xtask sim --from {seed} --seeds 1")
    }
}

impl std::error::Error for Violation {}
