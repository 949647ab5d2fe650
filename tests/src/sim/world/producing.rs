//! The operator's services: they emit events, and ask again when they must.

use notify_core::commit::CommitError;
use notify_core::delivery::DeadReason;
use notify_core::store::{Answer, Append, FreshIds, Operation, Refusal, StoreError, Webhook};
use notify_core::{
    EndpointId, Epoch, EventId, EventLimits, IdempotencyKey, JobEvent, JobId, JobStatus, Timestamp,
};
use serde_json::json;

use super::World;
use crate::sim::agenda::Step;

/// What somebody wants of the process, until he has an answer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// Whether it is with the process.
    pub(super) asked: bool,
    /// Whether nobody waits for it any more.
    pub(super) gone: bool,
}

/// What a caller is told.
#[derive(Clone, Debug)]
enum Heard {
    Done(Answer),
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
        if self.rng.percent(self.plan.many_letters) {
            self.make_letters(&job);
        } else if !self.plan.crowd.is_empty() && self.rng.percent(30) {
            self.rush();
        }
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

    /// Many jobs have something to say to one receiver, one after the other.
    fn rush(&mut self) {
        let Some(url) = self.rng.pick(&self.plan.urls).cloned() else {
            return;
        };
        let apart = self.rng.between(1, 60);
        let mut after = 0;
        for job in self.plan.crowd.clone() {
            let append = self.append(
                &job,
                JobStatus::Queued,
                Some(Webhook::To(url.clone())),
                None,
            );
            after += self.rng.between(0, apart);
            self.call_after(after, append.map(Operation::Append));
        }
    }

    /// Many webhooks of one job can't be sent to.
    fn make_letters(&mut self, job: &JobId) {
        let Some(url) = self.rng.pick(&self.plan.urls).cloned() else {
            return;
        };
        for _ in 0..self.rng.between(70, 140) {
            let webhook = Webhook::Refused {
                url: url.as_str().to_owned(),
                reason: DeadReason::AddressRefused,
            };
            let append = self.append(job, JobStatus::Queued, Some(webhook), None);
            self.call(append.map(Operation::Append));
        }
    }

    /// An event with a status, in a call of its own.
    pub(super) fn emit(&mut self, job: &JobId, status: JobStatus) {
        let webhook = match self.rng.percent(35) {
            true => self.rng.pick(&self.plan.urls).cloned().map(Webhook::To),
            false => None,
        };
        let webhook = match self.rng.percent(self.plan.unsendable) {
            true => Some(self.draw_unsendable()),
            false => webhook,
        };
        let key = match self.rng.percent(40) {
            true => {
                let number = self.number();
                IdempotencyKey::parse(&format!("key-{number}")).ok()
            }
            false => None,
        };
        let append = self.append(job, status, webhook, key);
        self.call(append.map(Operation::Append));
    }

    fn draw_unsendable(&mut self) -> Webhook {
        let url = self.rng.pick(&self.plan.urls);
        let url = url.map_or_else(String::new, |url| url.as_str().to_owned());
        match self.rng.percent(50) {
            true => Webhook::Refused {
                url: "htp:/typo".to_owned(),
                reason: DeadReason::UrlInvalid,
            },
            false => Webhook::Refused {
                url,
                reason: DeadReason::AddressRefused,
            },
        }
    }

    fn append(
        &mut self,
        job: &JobId,
        status: JobStatus,
        webhook: Option<Webhook>,
        key: Option<IdempotencyKey>,
    ) -> Option<Append> {
        let event = JobEvent {
            status,
            result: Some(json!(self.number())),
            ..JobEvent::default()
        };
        let content = event.content(EventLimits::default()).ok()?;
        let text = webhook.as_ref().map(|webhook| match webhook {
            Webhook::To(url) => url.as_str(),
            Webhook::Refused { url, .. } => url.as_str(),
        });
        let idempotency = key.map(|key| (key, content.fingerprint(text)));
        Some(Append {
            job: job.clone(),
            draft: content.draft(self.agenda.wall().as_secs()),
            idempotency,
            webhook,
            has_global_secret: self.plan.operator_secret.is_some(),
            progress_min_interval: self.plan.progress_min_interval,
            fresh: self.fresh_ids(),
        })
    }

    /// An earlier call once more: with its key the same event, unless the caller
    /// has changed its content.
    fn repeat(&mut self) {
        let Some(call) = self.rng.pick(&self.past_calls).cloned() else {
            return;
        };
        let Operation::Append(mut append) = call.operation else {
            return;
        };
        if self.rng.percent(30)
            && let Some((_, content)) = &mut append.idempotency
        {
            content.0 = [7; 32];
        }
        append.fresh = self.fresh_ids();
        self.call(Some(Operation::Append(append)));
    }

    pub(super) fn call(&mut self, operation: Option<Operation>) {
        let after = self.rng.between(0, 3);
        self.call_after(after, operation);
    }

    fn call_after(&mut self, after: u64, operation: Option<Operation>) {
        let Some(operation) = operation else { return };
        let ticket = self.number();
        let call = Call {
            operation,
            asked: false,
            gone: false,
        };
        self.calls.insert(ticket, call);
        self.agenda.plan(after, Step::Ask { ticket });
        if !self.healing && self.rng.percent(8) {
            let leaves = after + self.rng.between(0, 60);
            self.agenda.plan(leaves, Step::Leave { ticket });
        }
    }

    /// The call goes to the process, if there is one.
    pub(super) fn ask(&mut self, ticket: u64) {
        let fresh_ids = self.fresh_ids();
        let Some(call) = self.calls.get_mut(&ticket).filter(|call| !call.asked) else {
            return;
        };
        let Some(process) = &mut self.process else {
            let after = self.rng.between(50, 1_000);
            self.agenda.plan(after, Step::Ask { ticket });
            return;
        };
        match &mut call.operation {
            Operation::Append(Append { fresh, .. }) => *fresh = fresh_ids,
            Operation::Register(registration) => registration.fresh = fresh_ids,
            _ => {}
        }
        call.asked = true;
        process.mailbox.push_back(ticket);
        self.wake_committer();
    }

    /// Nobody waits for the call any more. What has come to the process is carried
    /// out all the same.
    pub(super) fn leave(&mut self, ticket: u64) {
        let Some(call) = self.calls.get_mut(&ticket) else {
            return;
        };
        self.figures.gone += 1;
        call.gone = true;
        let asked = call.asked;
        self.note(|| format!("caller {ticket} goes away"));
        if !asked {
            self.calls.remove(&ticket);
        }
    }

    pub(super) fn answer(&mut self, ticket: u64, outcome: Result<Answer, CommitError>) {
        let Some(mut call) = self.calls.remove(&ticket) else {
            return;
        };
        let heard = Heard::from(outcome);
        self.note(|| format!("caller {ticket} hears {heard:?}"));
        let accepted = match &heard {
            Heard::Done(Answer::Appended(appended)) => Some(appended.record.id()),
            Heard::Accepted(id) => Some(*id),
            _ => None,
        };
        if let (Operation::Append(append), Some(id)) = (&call.operation, accepted) {
            self.audit.acknowledged(append, id);
            if append.idempotency.is_some() && self.past_calls.len() < 8 {
                self.past_calls.push(call.clone());
            }
        }
        if let Operation::Redeliver(sweep) | Operation::DropDeadLetters(sweep) = &call.operation
            && let Heard::Done(Answer::Swept(swept)) = &heard
        {
            let id = sweep.filter().since.map_or(0, Timestamp::as_millis);
            self.figures.long_walks += u64::from(self.audit.steps_of(id) > 1);
            self.audit.walk_done(id, swept.count, swept.rest.is_none());
        }
        let again = match (&call.operation, &heard) {
            (_, Heard::Done(_) | Heard::Accepted(_) | Heard::Refused) => false,
            // Nobody asks for ever.
            (Operation::Append(_), Heard::Later) => {
                self.rng.percent(if self.healing { 50 } else { 95 })
            }
            // Without a key a service can't ask again without saying it twice.
            (Operation::Append(append), Heard::Unknown) => append.idempotency.is_some(),
            (Operation::ChangeEndpoint { change, .. }, _) => {
                matches!(change, notify_core::store::EndpointChange::Enabled(_))
            }
            (_, Heard::Later | Heard::Unknown) => false,
        };
        if again && !call.gone {
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
            let unknown = CommitError::Store(StoreError::OutcomeUnknown);
            self.answer(ticket, Err(unknown));
        }
    }

    /// Every job comes to its end, so that its terminal event must get through.
    pub(super) fn end_jobs(&mut self) {
        for job in self.audit.running() {
            self.emit(&job, JobStatus::Completed);
        }
    }

    pub(super) fn fresh_ids(&mut self) -> FreshIds {
        FreshIds {
            epoch: Epoch::from_random(self.rng.wide()),
            endpoint: EndpointId::from_random(self.rng.wide()),
        }
    }
}

impl From<Result<Answer, CommitError>> for Heard {
    fn from(outcome: Result<Answer, CommitError>) -> Self {
        match outcome {
            Ok(answer) => Self::Done(answer),
            Err(CommitError::Refused(Refusal::Duplicate { first, .. })) => Self::Accepted(first),
            Err(CommitError::Refused(Refusal::Full)) => Self::Later,
            Err(CommitError::Refused(_)) => Self::Refused,
            Err(CommitError::Store(StoreError::Full | StoreError::NotNow)) => Self::Later,
            Err(CommitError::Store(_)) => Self::Unknown,
        }
    }
}
