//! The lane rule: what the waiting deliveries of one job to one endpoint do to
//! each other. One pure function, used live, on recovery and by every store, so
//! that order is the store's and holds wherever the store is shared.
//!
//! - Only a lane's head can be leased: an event is not attempted before the one
//!   ahead of it is settled.
//! - A waiting progress is superseded as soon as a newer event has a delivery in
//!   the lane. A newer progress inherits its due time; any other event keeps its
//!   own, which is at once.
//! - Progress keeps its distance: it is not sent before [`LaneRow::spacing`] after
//!   the lane's last progress was. One that failed is tried again as anything is.
//! - Once a terminal delivery waits behind a non-terminal one that has failed,
//!   that one is tried for at most [`OVERTAKEN_AFTER`] more. While its endpoint is sick
//!   nothing is tried, so that time stands still: it begins anew when the endpoint is
//!   well again.
//! - Where it is asked for, a head that has been due at a sick endpoint for longer than
//!   `max_age` is given up. At a healthy endpoint nothing expires.

use std::time::Duration;

use crate::delivery::DeadReason;
use crate::job::EventKind;
use crate::time::Timestamp;

/// For how long a failing delivery may hold up its job's terminal one.
pub const OVERTAKEN_AFTER: Duration = Duration::from_secs(60);

/// An unsettled delivery, as far as its lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneRow {
    /// The event's position in its job.
    pub sequence: u64,
    /// The event's kind.
    pub kind: EventKind,
    /// When the delivery was accepted.
    pub accepted_at: Timestamp,
    /// Not to be attempted before.
    pub due_at: Timestamp,
    /// When its first attempt failed, if one did.
    pub first_failed_at: Option<Timestamp>,
    /// How long after the lane's last progress it is sent at the earliest, if it
    /// is progress itself.
    pub spacing: Duration,
    /// Whether someone may be attempting it now.
    pub leased: bool,
}

/// What else the rule asks of a lane and its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneFacts {
    /// When a progress of this lane was last sent, as far as it is known.
    pub progress_sent_at: Option<Timestamp>,
    /// Since when the endpoint is sick, if it is.
    pub sick_since: Option<Timestamp>,
    /// When the endpoint was last found to be well again.
    pub well_since: Option<Timestamp>,
    /// For how long a head may be due at a sick endpoint, if the time has come to give
    /// up what was due for longer.
    pub max_age: Option<Duration>,
}

impl LaneFacts {
    /// From when on a row counts as overtaken by `terminal`, if it may be at all.
    fn overtaken_at(&self, row: &LaneRow, terminal: &LaneRow, now: Timestamp) -> Option<Timestamp> {
        if self.sick_since.is_some() {
            return None;
        }
        // A time to come is of a clock that was set back since.
        let well_since = self.well_since.filter(|&at| at <= now);
        let waiting_since = row.first_failed_at?.max(terminal.accepted_at);
        let waiting_since = waiting_since.max(well_since.unwrap_or(waiting_since));
        Some(waiting_since.plus(OVERTAKEN_AFTER))
    }

    /// Whether a head that is due at `due_at` has been so for too long.
    fn is_too_old(&self, due_at: Timestamp, now: Timestamp) -> bool {
        let (Some(sick_since), Some(max_age)) = (self.sick_since, self.max_age) else {
            return false;
        };
        now > waits_since(due_at, sick_since).plus(max_age)
    }
}

/// Since when a head has been due at an endpoint that is sick.
pub fn waits_since(due_at: Timestamp, sick_since: Timestamp) -> Timestamp {
    due_at.max(sick_since)
}

/// What [`plan`] says is to be done with a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanePlan {
    /// The rows that are settled without an attempt, by position in the input.
    pub settled: Vec<(usize, Overruled)>,
    /// The head afterwards, by position, and when it may be attempted. `None` if
    /// the head is leased or the lane is empty.
    pub head: Option<(usize, Timestamp)>,
    /// The last row's due time where it inherits one, by position.
    pub inherited: Option<(usize, Timestamp)>,
}

/// Why a row is settled without an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overruled {
    /// A newer event takes its place.
    Superseded,
    /// The job's terminal event has waited behind it for too long.
    Overtaken,
    /// It has been due at a sick endpoint for too long.
    Expired,
}

impl Overruled {
    /// The reason on the dead letter, if there is one.
    pub const fn dead_reason(self) -> Option<DeadReason> {
        match self {
            Self::Superseded => None,
            Self::Overtaken => Some(DeadReason::Overtaken),
            Self::Expired => Some(DeadReason::Expired),
        }
    }
}

/// Decides over a lane's unsettled rows, in order of their sequence.
///
/// A store with many rows may leave out those in the middle: the head, the row
/// after each progress, and the last row decide everything.
///
/// A row whose next attempt would come only after its time is up is overtaken
/// at once: no attempt is left that waiting could serve. At most one row expires:
/// the one behind it may be one that was left out.
pub fn plan(rows: &[LaneRow], facts: &LaneFacts, now: Timestamp) -> LanePlan {
    let mut plan = LanePlan::default();
    let mut rows = rows.to_vec();
    let last = rows.len().saturating_sub(1);

    for newer in 1..rows.len() {
        let Some([older_row, newer_row]) = rows.get_mut(newer - 1..=newer) else {
            break;
        };
        if older_row.kind == EventKind::Progress && !older_row.leased {
            plan.settled.push((newer - 1, Overruled::Superseded));
            if newer_row.kind == EventKind::Progress && !newer_row.leased {
                newer_row.due_at = older_row.due_at;
                plan.inherited = Some((newer, newer_row.due_at));
            }
        }
    }

    let terminal = rows
        .get(last)
        .filter(|row| row.kind == EventKind::Terminal)
        .copied();
    let mut may_expire = true;
    for (position, row) in rows.iter().enumerate() {
        if plan.settled.contains(&(position, Overruled::Superseded)) {
            continue;
        }
        if row.leased {
            break;
        }
        let terminal = terminal.as_ref().filter(|_| position < last);
        let give_up_at = terminal.and_then(|terminal| facts.overtaken_at(row, terminal, now));
        if give_up_at.is_some_and(|give_up_at| row.due_at.max(now) > give_up_at) {
            plan.settled.push((position, Overruled::Overtaken));
            continue;
        }
        // A time to come is of a clock that was set back since; it holds nobody up.
        let sent_at = facts.progress_sent_at.filter(|&sent_at| sent_at <= now);
        let spaced = row.kind == EventKind::Progress && row.first_failed_at.is_none();
        let due_at = match sent_at.filter(|_| spaced) {
            Some(sent_at) => row.due_at.max(sent_at.plus(row.spacing)),
            None => row.due_at,
        };
        if may_expire && facts.is_too_old(due_at, now) {
            plan.settled.push((position, Overruled::Expired));
            may_expire = false;
            continue;
        }
        plan.head = Some((position, due_at));
        break;
    }
    plan.inherited = plan
        .inherited
        .filter(|&(position, _)| !plan.settled.iter().any(|&(settled, _)| settled == position));
    plan
}

#[cfg(test)]
mod tests;
