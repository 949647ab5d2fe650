//! Forgetting a job or an endpoint with all that it has, in bounded steps.

use super::DeadFilter;
use crate::id::{EndpointId, JobId};

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doomed {
    /// A job: its log, its token, its deliveries, and the dead letters of every job
    /// that ever had its id.
    Job {
        /// Which.
        id: JobId,
        /// Whether one that has not ended goes too.
        force: bool,
    },
    /// An endpoint: its secrets, what is pending for it, its dead letters. Jobs that
    /// tell it tell nobody afterwards.
    Endpoint(EndpointId),
}

/// A deletion in bounded steps, or what is left of one.
///
/// Each step is a transaction, and other operations come in between. The job or the
/// endpoint itself goes with the last one, in which nothing else of it is left: until
/// then it is there, and what comes to it meanwhile goes with it. So there is never a
/// part of it without the whole, a step that is made twice does no harm, and after a
/// crash in the middle the same deletion asked again does the rest. Nearly all are
/// through in one step, or in a second one where an attempt has just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    what: Doomed,
    is_begun: bool,
}

impl Deletion {
    /// So many pending deliveries are forgotten in a step, and the rest of the last
    /// lane, which are at most a thousand more. Of dead letters it is
    /// [`Sweep::STEP_MAX`](super::Sweep::STEP_MAX).
    pub const STEP_MAX: usize = 128;

    /// Of this job or endpoint.
    pub fn of(what: Doomed) -> Self {
        Self {
            what,
            is_begun: false,
        }
    }

    /// What is to be forgotten.
    pub fn what(&self) -> &Doomed {
        &self.what
    }

    /// The job that is to be forgotten, if it is one.
    pub fn job(&self) -> Option<&JobId> {
        match &self.what {
            Doomed::Job { id, .. } => Some(id),
            Doomed::Endpoint(_) => None,
        }
    }

    /// Whether a step has been made: then there is nothing wrong in finding nothing.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// What is left after a step that `has_done` something.
    pub fn rest(&self, has_done: bool) -> Self {
        Self {
            what: self.what.clone(),
            is_begun: self.is_begun || has_done,
        }
    }

    /// Its dead letters.
    pub(crate) fn letters(&self) -> DeadFilter {
        match &self.what {
            Doomed::Job { id, .. } => DeadFilter {
                job: Some(id.clone()),
                ..DeadFilter::default()
            },
            Doomed::Endpoint(id) => DeadFilter {
                endpoint: Some(*id),
                ..DeadFilter::default()
            },
        }
    }
}
