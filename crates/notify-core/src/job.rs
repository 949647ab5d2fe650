//! What a job may do: its statuses and the one transition function.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, EventId};

/// Where a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted, not started.
    #[default]
    Queued,
    /// Under way.
    Processing,
    /// Ended well. Terminal.
    Completed,
    /// Ended badly. Terminal.
    Failed,
    /// Ended by request. Terminal.
    Cancelled,
}

impl JobStatus {
    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The status on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing may follow.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = StatusUnknown;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(StatusUnknown)
    }
}

/// The text is no [`JobStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusUnknown;

impl fmt::Display for StatusUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("status: one of queued, processing, completed, failed, cancelled")
    }
}

impl std::error::Error for StatusUnknown {}

/// What kind of fact an event is; decides what may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `processing` following `processing`: only the newest few are kept.
    Progress,
    /// A change of status that the job can leave again: never dropped.
    Lifecycle,
    /// The end of the job: never dropped, nothing follows.
    Terminal,
}

/// The one transition function: what an event with status `next` is for a job
/// whose last event had status `current` (`None`: no event yet).
///
/// # Errors
/// [`Finished`] after a terminal status. Everything else may follow everything
/// else: a job may go back to `queued`, and progress may go down.
pub const fn transition(
    current: Option<JobStatus>,
    next: JobStatus,
) -> Result<EventKind, Finished> {
    match (current, next) {
        (Some(status), _) if status.is_terminal() => Err(Finished),
        (Some(JobStatus::Processing), JobStatus::Processing) => Ok(EventKind::Progress),
        (_, status) if status.is_terminal() => Ok(EventKind::Terminal),
        _ => Ok(EventKind::Lifecycle),
    }
}

/// The job has ended: nothing may follow its terminal event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished;

/// The head of a job's log: all that decides what may be appended next.
///
/// Every store keeps one per job and moves it only through [`JobHead::accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobHead {
    /// Which incarnation of the log.
    pub epoch: Epoch,
    /// The last event's sequence; 0 before the first.
    pub sequence: u64,
    /// The last event's status; `None` before the first.
    pub status: Option<JobStatus>,
    /// How many lifecycle events there are, the terminal one included.
    pub lifecycle_events: u32,
}

impl JobHead {
    /// The most lifecycle events a job may have; a terminal one always fits.
    pub const LIFECYCLE_EVENTS_MAX: u32 = 1_000;

    /// The head of an empty log.
    pub const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            sequence: 0,
            status: None,
            lifecycle_events: 0,
        }
    }

    /// Takes the next event's place: its id, its kind and the head after it.
    ///
    /// # Errors
    /// [`Refused::Finished`] with the terminal event's id, or
    /// [`Refused::TooMany`]; the head is unchanged then.
    pub fn accept(self, status: JobStatus) -> Result<Accepted, Refused> {
        let terminal = EventId::new(self.epoch, self.sequence);
        let kind =
            transition(self.status, status).map_err(|Finished| Refused::Finished { terminal })?;
        let counted = u32::from(kind != EventKind::Progress);
        let full = self.lifecycle_events >= Self::LIFECYCLE_EVENTS_MAX;
        if kind == EventKind::Lifecycle && full {
            return Err(Refused::TooMany);
        }
        let head = Self {
            epoch: self.epoch,
            sequence: self.sequence + 1,
            status: Some(status),
            lifecycle_events: self.lifecycle_events + counted,
        };
        Ok(Accepted {
            id: EventId::new(head.epoch, head.sequence),
            kind,
            head,
        })
    }

    /// Whether the job has had its terminal event.
    pub fn is_finished(self) -> bool {
        self.status.is_some_and(JobStatus::is_terminal)
    }

    /// The last event's id, if there is one.
    pub fn last_id(self) -> Option<EventId> {
        (self.sequence > 0).then(|| EventId::new(self.epoch, self.sequence))
    }
}

/// What [`JobHead::accept`] grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The new event's id.
    pub id: EventId,
    /// The new event's kind.
    pub kind: EventKind,
    /// The head after the event.
    pub head: JobHead,
}

/// Why [`JobHead::accept`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The job has ended with this event.
    Finished {
        /// The terminal event.
        terminal: EventId,
    },
    /// The job has its [`JobHead::LIFECYCLE_EVENTS_MAX`].
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_status() -> impl Strategy<Value = JobStatus> {
        proptest::sample::select(JobStatus::ALL.to_vec())
    }

    #[test]
    fn a_terminal_event_always_fits() {
        let mut head = JobHead::new(Epoch::from_random(7));
        for _ in 0..JobHead::LIFECYCLE_EVENTS_MAX {
            head = head.accept(JobStatus::Queued).unwrap().head;
        }
        assert_eq!(head.accept(JobStatus::Queued), Err(Refused::TooMany));
        assert_eq!(head.accept(JobStatus::Processing), Err(Refused::TooMany));
        assert_eq!(
            head.accept(JobStatus::Failed).unwrap().kind,
            EventKind::Terminal
        );
    }

    proptest! {
        /// The model: a list of accepted statuses; all rules follow from it.
        #[test]
        fn the_head_agrees_with_a_list(statuses in proptest::collection::vec(any_status(), 0..60)) {
            let epoch = Epoch::from_random(1);
            let mut head = JobHead::new(epoch);
            let mut accepted: Vec<JobStatus> = Vec::new();
            for status in statuses {
                let ended = accepted.iter().any(|status| status.is_terminal());
                let progress = status == JobStatus::Processing
                    && accepted.last() == Some(&JobStatus::Processing);
                match head.accept(status) {
                    Ok(granted) => {
                        prop_assert!(!ended);
                        prop_assert_eq!(granted.kind == EventKind::Progress, progress);
                        prop_assert_eq!(granted.kind == EventKind::Terminal, status.is_terminal());
                        accepted.push(status);
                        prop_assert_eq!(granted.id.sequence(), accepted.len() as u64);
                        head = granted.head;
                    }
                    Err(refused) => {
                        prop_assert!(ended);
                        let terminal = EventId::new(epoch, accepted.len() as u64);
                        prop_assert_eq!(refused, Refused::Finished { terminal });
                    }
                }
            }
        }
    }
}
