//! The store at work: a call of it begins, is carried out, is answered.

use notify_core::commit::Work;
use notify_core::delivery::Outcome;
use notify_core::store::{Answer, Batch, Operation, Registered, StoreError, Trimmed, Written};

use super::World;
use super::operating::Secrets;
use super::process::{Came, StoreCall};
use crate::sim::agenda::Step;
use crate::sim::audit::Invariant;
use crate::sim::sabotage::Sabotage;
use crate::sim::store::Done;

impl World {
    pub(super) fn begin_call(&mut self, work: Work) {
        let now = self.sched_now();
        let millis = self.agenda.now();
        let most = self.plan.store_millis_max;
        let works = self.rng.between(0, most);
        let answers = works + self.rng.between(0, most);
        let Some(process) = &mut self.process else {
            return;
        };
        let life = process.life;
        process.call = Some(StoreCall {
            now,
            millis,
            work: self.sabotage.work(work, &process.scheduler),
            came: None,
            secrets: Vec::new(),
        });
        self.agenda.plan(works, Step::StoreWorks { life });
        self.agenda.plan(answers, Step::StoreAnswers { life });
    }

    /// The store carries out the call, whoever hears of it.
    pub(super) fn store_works(&mut self) {
        let fault = self.draw_store_fault();
        let mut at = self.moment();
        let drop_one = self.sabotage == Sabotage::DropSettle && self.rng.percent(20);
        let Some(process) = &mut self.process else {
            return;
        };
        let skip = self.sabotage == Sabotage::SkipRecovery && process.life > 1;
        let skip = skip && !process.has_claimed;
        let Some(call) = &mut process.call else {
            return;
        };
        (at.now, at.millis) = (call.now, call.millis);
        if fault.is_some() && matches!(call.work, Work::Trim { .. }) {
            self.figures.failed_trims += 1;
        }
        if let Some((error, false)) = fault {
            call.came = Some(Err(error.clone()));
            self.audit.disturbed(self.agenda.now());
            self.note(|| format!("the store does nothing: {error}"));
            return;
        }
        let mut batch = None;
        let came = match &call.work {
            Work::Claim { .. } if skip => Came::Written(Done::default()),
            Work::Claim { room, limit } => {
                Came::Written(self.store.claim(at.now, room.clone(), *limit))
            }
            Work::Write(asked) => {
                let mut asked = Batch::clone(asked);
                if drop_one {
                    asked.settles.pop();
                }
                for settle in &mut asked.settles {
                    self.sabotage.settle(settle);
                    let waits = self.unpaced.remove(&settle.delivery);
                    if let (Outcome::Retry { after } | Outcome::Postponed { after }, Some(asked)) =
                        (&mut settle.outcome, waits)
                    {
                        *after = asked.max(*after);
                    }
                }
                let done = self.store.write(at.now, &asked);
                call.secrets = new_secrets(&asked, &done);
                batch = Some(asked);
                Came::Written(done)
            }
            Work::Trim {
                retention,
                rows_max,
            } => Came::Trimmed(self.store.trim(at.now, *retention, *rows_max)),
            Work::Wait(_) | Work::End => Came::Trimmed(Trimmed::default()),
        };
        let batch = batch.unwrap_or_default();
        match &came {
            Came::Trimmed(trimmed) if trimmed.forgotten + trimmed.expired > 0 => {
                self.trace
                    .note(self.agenda.now(), || format!("{trimmed:?}"));
                self.audit.expired(at, trimmed.expired, &self.store);
                self.audit.trimmed(at, &self.store);
            }
            Came::Trimmed(_) => {}
            Came::Written(done) => {
                self.trace
                    .note(self.agenda.now(), || describe(&batch, done));
                self.audit.written(at, &batch, done, &self.store);
            }
        }
        let call = self
            .process
            .as_mut()
            .and_then(|process| process.call.as_mut());
        if let Some(call) = call {
            call.came = Some(match fault {
                Some((error, _)) => Err(error),
                None => Ok(came),
            });
        }
        if self.rng.percent(10) {
            self.keep_stale(&batch.settles);
        }
    }

    pub(super) fn store_answers(&mut self) {
        let millis = self.agenda.now();
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(call) = process.call.take() else {
            return;
        };
        let at = process.at(millis);
        match (call.came, call.work) {
            (Some(Ok(Came::Written(done))), Work::Write(batch)) => {
                self.learn_secrets(call.secrets);
                self.written(&batch, done);
            }
            (Some(Ok(Came::Written(done))), _) => {
                process.has_claimed = true;
                let written = self.hold(done);
                if let Some(process) = &mut self.process {
                    let committer = &mut process.committer;
                    committer.handle_claimed(written, &mut process.scheduler);
                }
            }
            (Some(Ok(Came::Trimmed(trimmed))), _) => process.committer.handle_trimmed(at, trimmed),
            // There is no hurry.
            (Some(Err(StoreError::Full | StoreError::NotNow)), Work::Trim { .. }) => {
                process.committer.handle_trimmed(at, Trimmed::default());
            }
            (came, _) => {
                let error = came.and_then(Result::err);
                let error = error.unwrap_or(StoreError::OutcomeUnknown);
                process.unheard = call.secrets;
                process.committer.handle_failed(at, error);
            }
        }
        self.tell();
        self.check_held();
        self.wake_dispatcher();
        self.wake_committer();
    }

    /// The store has written a batch.
    fn written(&mut self, batch: &Batch, done: Done) {
        let millis = self.agenda.now();
        if self.sabotage == Sabotage::IgnoreLanes {
            self.send_at_once(&done);
        }
        let Some(process) = &mut self.process else {
            return;
        };
        let mut once = true;
        for settle in &batch.settles {
            once &= process.unsettled.remove(&settle.lease.token());
        }
        self.audit.check(once, Invariant::I6, || {
            "a delivery was settled twice".to_owned()
        });
        process.overrule(&done);
        let written = self.hold(done);
        if let Some(process) = &mut self.process {
            let (at, committer) = (process.at(millis), &mut process.committer);
            committer.handle_written(at, written, &mut process.scheduler);
        }
    }

    /// Takes note of what the process is given, before the scheduler has it.
    fn hold(&mut self, mut done: Done) -> Written {
        if self.sabotage == Sabotage::DropLease && self.rng.percent(20) {
            done.leased.pop();
        }
        let most = self.plan.limits.ready_per_endpoint_max;
        let millis = self.agenda.now();
        let bytes_max = self.plan.limits.ready_bytes_max;
        let Some(process) = &mut self.process else {
            return Written::default();
        };
        for endpoint in &done.changed {
            if endpoint.enabled {
                process.disabled.remove(&endpoint.id);
            } else {
                process.disabled.insert(endpoint.id);
                self.audit.hears_of_disabled(endpoint.id);
            }
        }
        if self.sabotage == Sabotage::SendToDisabled {
            done.changed.retain(|endpoint| endpoint.enabled);
        }
        for (delivery, lease) in &done.leased {
            process.unsettled.insert(lease.token());
            let bytes = process.bytes();
            let endpoint = delivery.lane.endpoint;
            self.audit.meets(millis, delivery);
            let in_flight = process.in_flight.values().any(|(to, ..)| *to == endpoint);
            let ready = process.ready.entry(endpoint).or_default();
            let is_bare = ready.is_empty() && !in_flight;
            if self.audit.is_sick(endpoint) && !(is_bare && self.audit.may_probe(millis, endpoint))
            {
                // It is given back.
                continue;
            }
            ready.push(delivery.clone());
            let held = ready.len();
            self.audit.check(held <= most as usize, Invariant::I13, || {
                format!("{held} deliveries of {endpoint} are ready, at most {most} may be")
            });
            self.audit.check(bytes < bytes_max, Invariant::I13, || {
                format!("of {bytes_max} bytes {bytes} are used up, and one more is leased")
            });
        }
        done.into_written()
    }

    /// The scheduler holds what the process's own account says.
    fn check_held(&mut self) {
        let is_true = matches!(
            self.sabotage,
            Sabotage::SendToDisabled | Sabotage::IgnoreLanes
        );
        let Some(process) = self.process.as_ref().filter(|_| !is_true) else {
            return;
        };
        let held: usize = process.ready.values().map(Vec::len).sum();
        let ready = process.scheduler.ready();
        let bytes = (process.bytes(), process.scheduler.bytes());
        self.audit.check(held == ready, Invariant::I13, || {
            format!("the scheduler holds {ready} deliveries of {held}")
        });
        self.audit.check(bytes.0 == bytes.1, Invariant::I13, || {
            format!("of {} bytes the scheduler counts {}", bytes.0, bytes.1)
        });
    }
}

/// Which secrets endpoints have with a batch.
fn new_secrets(batch: &Batch, done: &Done) -> Vec<Secrets> {
    let answers = batch.operations.iter().zip(&done.answers);
    let known = answers.filter_map(|(operation, answer)| match (operation, answer) {
        (
            Operation::Register(registration),
            Ok(Answer::Registered(Registered {
                used_new_secret: true,
                ..
            })),
        ) => {
            let webhook = registration.webhook.as_ref()?;
            Some(Secrets {
                url: webhook.url.clone(),
                known: vec![(webhook.secret_if_new.clone()?, None)],
            })
        }
        (Operation::ChangeEndpoint { .. }, Ok(Answer::Endpoint(endpoint))) => {
            let keyring = endpoint.keyring.as_ref()?;
            let previous = keyring.previous().into_iter();
            let previous = previous.map(|(secret, until)| (secret.clone(), until));
            let newest = (keyring.newest().clone(), None);
            Some(Secrets {
                url: endpoint.url.clone(),
                known: previous.chain([newest]).collect(),
            })
        }
        _ => None,
    });
    known.collect()
}

fn describe(batch: &Batch, done: &Done) -> String {
    let settles = batch.settles.iter();
    let settles = settles.map(|settle| (settle.delivery, settle.outcome));
    let answers = batch.operations.iter().zip(&done.answers);
    let answers = answers.map(|(operation, answer)| match (operation, answer) {
        (Operation::Append(append), Ok(Answer::Appended(appended))) => {
            format!("{} {:?}", append.job, appended.record)
        }
        (Operation::Append(append), Err(refusal)) => format!("{} {refusal:?}", append.job),
        (Operation::Register(registration), answer) => {
            format!("{} {answer:?}", registration.job)
        }
        (operation, answer) => format!("{operation:?} {answer:?}"),
    });
    let leased = done.leased.iter().map(|(delivery, _)| delivery.id);
    format!(
        "the store: settles {:?}, answers {:?}, leases {:?}, left {:?}",
        settles.collect::<Vec<_>>(),
        answers.collect::<Vec<_>>(),
        leased.collect::<Vec<_>>(),
        done.left_waiting,
    )
}
