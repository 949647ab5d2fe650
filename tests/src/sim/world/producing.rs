//! The operator's services: they emit events, and ask again when they must.

use notify_core::store::{Append, AppendError, FreshIds, Store, StoreError};
use notify_core::{
    DeliveryId, EndpointId, Epoch, EventId, EventLimits, IdempotencyKey, JobEvent, JobId, JobStatus,
};
use serde_json::json;

use super::World;
use crate::sim::agenda::Step;
use crate::sim::store::at_once;

/// What a service wants of the process, until it has an answer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) append: Append,
    /// Whether it is with the process.
    pub(super) asked: bool,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Accepted(EventId),
    Refused,
    /// Not now.
    Later,
    Unknown,
}

impl World {
    pub(super) fn produce(&mut self) {
        let Some(job) = self.rng.pick(&self.plan.jobs).cloned() else {
            return;
        };
        match self.rng.between(0, 9) {
            // A burst, so that one batch holds much of one lane.
            0..=3 => {
                for _ in 0..self.rng.between(2, 14) {
                    self.emit(&job, JobStatus::Processing);
                }
            }
            4 if !self.past_calls.is_empty() => self.repeat(),
            _ => {
                let statuses = [
                    JobStatus::Queued,
                    JobStatus::Queued,
                    JobStatus::Processing,
                    JobStatus::Processing,
                    JobStatus::Completed,
                    JobStatus::Failed,
                ];
                for _ in 0..self.rng.between(1, 3) {
                    let status = self.rng.pick(&statuses).copied().unwrap_or_default();
                    self.emit(&job, status);
                }
            }
        }
        self.productions_left = self.productions_left.saturating_sub(1);
        if self.productions_left > 0 && !self.healing {
            let share = self.plan.fault_phase_millis / self.plan.productions;
            let after = self.rng.between(0, 2 * share);
            self.agenda.plan(after, Step::Produce);
        }
    }

    /// An event with a status, in a call of its own.
    pub(super) fn emit(&mut self, job: &JobId, status: JobStatus) {
        let number = self.number();
        let event = JobEvent {
            status,
            result: Some(json!(number)),
            ..JobEvent::default()
        };
        let webhook = match self.rng.percent(35) {
            true => self.rng.pick(&self.plan.urls).cloned(),
            false => None,
        };
        let key = match self.rng.percent(40) {
            true => IdempotencyKey::parse(&format!("key-{number}")).ok(),
            false => None,
        };
        let Ok(content) = event.content(EventLimits::default()) else {
            return;
        };
        let idempotency = key.map(|key| (key, content.fingerprint(webhook.as_ref())));
        let append = Append {
            job: job.clone(),
            draft: content.draft(self.agenda.wall().as_secs()),
            idempotency,
            webhook,
            progress_min_interval: self.plan.progress_min_interval,
            fresh: self.fresh_ids(),
        };
        self.call(append);
    }

    /// An earlier call once more: with its key the same event, unless the caller
    /// has changed its content.
    fn repeat(&mut self) {
        let Some(mut call) = self.rng.pick(&self.past_calls).cloned() else {
            return;
        };
        if self.rng.percent(30)
            && let Some((_, content)) = &mut call.append.idempotency
        {
            content.0 = [7; 32];
        }
        call.append.fresh = self.fresh_ids();
        self.call(call.append);
    }

    fn call(&mut self, append: Append) {
        let ticket = self.number();
        let asked = false;
        self.calls.insert(ticket, Call { append, asked });
        let after = self.rng.between(0, 3);
        self.agenda.plan(after, Step::Ask { ticket });
    }

    /// The call goes to the process, if there is one.
    pub(super) fn ask(&mut self, ticket: u64) {
        let fresh = self.fresh_ids();
        let Some(call) = self.calls.get_mut(&ticket) else {
            return;
        };
        let Some(process) = &mut self.process else {
            let after = self.rng.between(50, 1_000);
            self.agenda.plan(after, Step::Ask { ticket });
            return;
        };
        call.append.fresh = fresh;
        call.asked = true;
        process.waiting.push_back(ticket);
        self.wake_committer();
    }

    pub(super) fn answer(&mut self, ticket: u64, answer: Answer) {
        let Some(mut call) = self.calls.remove(&ticket) else {
            return;
        };
        let job = call.append.job.clone();
        self.note(|| format!("{job}: caller {ticket} hears {answer:?}"));
        let again = match answer {
            Answer::Accepted(id) => {
                self.ledger.acknowledged(&call.append, id);
                if call.append.idempotency.is_some() && self.past_calls.len() < 8 {
                    self.past_calls.push(call.clone());
                }
                false
            }
            Answer::Refused => false,
            Answer::Later => !self.healing || self.rng.percent(50),
            // Without a key a service can't ask again without saying it twice.
            Answer::Unknown => call.append.idempotency.is_some(),
        };
        if again {
            call.asked = false;
            self.calls.insert(ticket, call);
            let after = self.rng.between(50, 2_000);
            self.agenda.plan(after, Step::Ask { ticket });
        }
    }

    /// Everyone who waits for the process hears that it is gone.
    pub(super) fn hang_up(&mut self) {
        let asked = self.calls.iter().filter(|(_, call)| call.asked);
        let tickets: Vec<u64> = asked.map(|(&ticket, _)| ticket).collect();
        for ticket in tickets {
            self.answer(ticket, Answer::Unknown);
        }
    }

    /// Every job comes to its end, so that its terminal event must get through.
    pub(super) fn end_jobs(&mut self) {
        for job in self.plan.jobs.clone() {
            let view = at_once(self.store.memory().job(&job)).ok().flatten();
            if view.is_some_and(|view| !view.head.is_finished()) {
                self.emit(&job, JobStatus::Completed);
            }
        }
    }

    pub(super) fn fresh_ids(&mut self) -> FreshIds {
        FreshIds {
            epoch: Epoch::from_random(self.rng.wide()),
            endpoint: EndpointId::from_random(self.rng.wide()),
            deliveries: [(); 2].map(|()| DeliveryId::from_random(self.rng.wide())),
        }
    }
}

impl From<&AppendError> for Answer {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::Duplicate { first } => Self::Accepted(*first),
            AppendError::Full => Self::Later,
            AppendError::OutcomeUnknown => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

impl From<&StoreError> for Answer {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Full | StoreError::NotNow => Self::Later,
            _ => Self::Unknown,
        }
    }
}
