//! Simulated time: what happens next, and what the wall says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use notify_core::Timestamp;

/// Something that happens at its time. `life` says which incarnation of the
/// process it belongs to: with that one it is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A service of the operator has something to say.
    Produce,
    /// A call is made, or made again.
    Ask { ticket: u64 },
    /// The committer looks what there is to do.
    Commit { life: u64 },
    /// The store carries out the committer's call.
    StoreWorks { life: u64 },
    /// The committer hears what became of its call.
    StoreAnswers { life: u64 },
    /// The dispatcher looks what there is to send.
    Dispatch { life: u64 },
    /// A request reaches its receiver.
    Arrives { attempt: u64 },
    /// The sender knows how the attempt ended.
    Ends { life: u64, attempt: u64 },
    /// Readers of streams come, read and go.
    Read,
    /// The operator does something.
    Operate,
    /// A caller goes away, whatever becomes of its call.
    Leave { ticket: u64 },
    /// Something breaks.
    Break,
    /// The process starts.
    Start,
    /// Nothing breaks any more.
    Heal,
}

/// What is to come, in order of time and then of planning.
#[derive(Debug)]
pub(super) struct Agenda {
    now: u64,
    /// What the wall clock is wrong by.
    wall_offset: i64,
    planned: u64,
    coming: BinaryHeap<Reverse<(u64, u64, Step)>>,
}

impl Agenda {
    const WALL_AT_START: Timestamp = Timestamp::from_secs(1_712_534_400);
    /// What the wall clock is wrong by at most, in both directions: ten days, less
    /// than dead letters are kept for.
    const WALL_OFFSET_MAX: i64 = 10 * 86_400_000;

    pub(super) fn new() -> Self {
        Self {
            now: 0,
            wall_offset: 0,
            planned: 0,
            coming: BinaryHeap::new(),
        }
    }

    /// Milliseconds since the beginning: the time that really passes.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn wall(&self) -> Timestamp {
        let millis = Self::WALL_AT_START.as_millis() + self.now;
        Timestamp::from_millis(millis.saturating_add_signed(self.wall_offset))
    }

    pub(super) fn jump_wall(&mut self, by: i64) {
        let offset = self.wall_offset.saturating_add(by);
        self.wall_offset = offset.clamp(-Self::WALL_OFFSET_MAX, Self::WALL_OFFSET_MAX);
    }

    pub(super) fn plan(&mut self, after: u64, step: Step) {
        self.planned += 1;
        let at = self.now.saturating_add(after);
        self.coming.push(Reverse((at, self.planned, step)));
    }

    /// Goes on to the next step.
    pub(super) fn next(&mut self) -> Option<Step> {
        let Reverse((at, _, step)) = self.coming.pop()?;
        self.now = at;
        Some(step)
    }
}
