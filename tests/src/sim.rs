//! A simulator: the scheduler and the model store under faults, in simulated time.
//!
//! **Cast.** A *world* is drawn from a seed: settings, jobs, endpoints, how often
//! each receiver fails. The *process* does what the hub does, with its scheduler
//! and its committer, one step at a time; the *store* is the model store. *Services*
//! emit events, an *operator* interferes, *readers* follow streams. The *ledger*
//! keeps an account of its own of what must be true, and compares after each step.
//!
//! **Flow.** A fault phase: crashes at any point (also during recovery), replies
//! of the store that are lost after the commit, a store that is full, a wall clock
//! that jumps, leases of long ago, receivers that fail, are late or say yes unheard.
//! Then everything heals, and the backlog must drain.
//!
//! **Guarantees.** A seed decides everything, so a failure is replayed from its
//! number. A run is silent and fast; the one that fails is run again with a trace.
//!
//! **Not simulated.** HTTP, files and threads. A crash voids all leases and loses
//! everything but the store, which is what a durable store does by itself.

mod agenda;
mod ledger;
mod plan;
mod rng;
mod sabotage;
mod store;
mod trace;
mod world;

use std::fmt;
use std::ops::AddAssign;

pub use ledger::Invariant;
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
}

impl Figures {
    fn named(&self) -> [(&'static str, u64); 14] {
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
