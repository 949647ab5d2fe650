//! The model behind the port: all that stands between the two.

mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify_core::clock::ClockStep;
use notify_core::delivery::{DeadLetter, DeliveryView, Lease, Leased, Outcome};
use notify_core::endpoint::{Endpoint, Health};
use notify_core::event::EventRecord;
use notify_core::job::JobStatus;
use notify_core::retention::Retention;
use notify_core::store::{
    Answer, Append, Appended, Archive, Batch, Counters, DeadFilter, Doomed, EndpointChange,
    FreshIds, JobView, List, Listed, Operation, PAGE_BYTES_MAX, Page, Refusal, RegisterWebhook,
    Registered, Registration, Room, StaleLease, Store, StoreResult, Swept, TokenHash, Trimmed,
    Webhook, Written,
};
use notify_core::{DeliveryId, EndpointId, EndpointUrl, JobId, Timestamp};

use views::{dead_letter, delivery, delivery_view, head, job_view, lane_key, page};

use crate::Bounds;
use crate::model::{self, End, Event, Job, Lane, Letter, Model, NewIds, NotDeleted, Refused, Wish};

/// A [`Model`] that is asked as any store is: what random histories compare others
/// with. It is slow, and gone with its process.
#[derive(Debug)]
pub struct ModelStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    model: Model,
    /// It was opened again, and nobody has said yet what time it is.
    reopened: bool,
}

impl ModelStore {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        let model = Model::new(bounds);
        Self {
            state: Mutex::new(State {
                model,
                reopened: false,
            }),
        }
    }

    /// From now on it is the same store, opened again.
    pub fn reopen(&self) {
        let mut state = self.lock();
        state.reopened = true;
        state.model.void_leases();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the model something that goes by the time.
    fn at<T: Send + 'static>(
        &self,
        now: Timestamp,
        ask: impl FnOnce(&mut Model) -> T,
    ) -> StoreResult<'_, T> {
        let mut state = self.lock();
        if std::mem::take(&mut state.reopened) {
            state.model.restart(now);
        }
        Box::pin(std::future::ready(Ok(ask(&mut state.model))))
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&mut Model) -> T) -> StoreResult<'_, T> {
        Box::pin(std::future::ready(Ok(read(&mut self.lock().model))))
    }
}

impl Store for ModelStore {
    fn write(&self, now: Timestamp, batch: Arc<Batch>) -> StoreResult<'_, Written> {
        self.at(now, |model| {
            let mut written = Written::default();
            let mut lanes = Vec::new();
            for settle in batch.settles.clone() {
                let mut attempt = settle.attempt;
                let end = match settle.outcome {
                    Outcome::Delivered => End::Delivered,
                    Outcome::Superseded | Outcome::Released => End::GivenBack,
                    Outcome::Retry { after } => {
                        if let Some(attempt) = &mut attempt {
                            let next = attempt.at.plus(attempt.duration).plus(after);
                            attempt.next_attempt_at = Some(next);
                        }
                        End::Again(now.plus(after))
                    }
                    Outcome::Postponed { after } => End::Again(now.plus(after)),
                    Outcome::Dead { reason } => End::Dead(reason),
                };
                let (id, lease) = (settle.delivery, number_of(settle.lease));
                let settled = model.settle(now, id, lease, end, attempt);
                let settled = settled.map(|lane| lanes.push(lane));
                written.settles.push(settled.map_err(|_| StaleLease));
            }
            for note in &batch.health {
                model.examine(now, note.endpoint, note.health == Health::Sick);
            }
            // Deletions come before the others.
            let is_deletion = |operation: &Operation| matches!(operation, Operation::Delete(_));
            let (first, others): (Vec<_>, Vec<_>) = (0..)
                .zip(batch.operations.clone())
                .partition(|(_, it)| is_deletion(it));
            let mut answers = BTreeMap::new();
            for (place, operation) in first.into_iter().chain(others) {
                let answer = carry_out(model, now, operation, &mut lanes);
                answers.insert(place, answer);
            }
            written.answers = answers.into_values().collect();
            let mut room = batch.may_lease.clone();
            let leased = model.lease(now, &lanes, |endpoint, json_bytes| {
                room.take(endpoint, json_bytes)
            });
            finish(model, now, leased, written)
        })
    }

    fn claim(&self, now: Timestamp, mut room: Room, limit: usize) -> StoreResult<'_, Written> {
        self.at(now, |model| {
            let leased = model.claim(now, limit, |endpoint, json_bytes| {
                room.take(endpoint, json_bytes)
            });
            finish(model, now, leased, Written::default())
        })
    }

    fn trim(
        &self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> StoreResult<'_, Trimmed> {
        self.at(now, |model| {
            let room = model::LettersRoom {
                per_endpoint_max: retention.dead_letters_per_endpoint_max,
                bytes_max: retention.dead_letter_bytes_max,
            };
            let (jobs, letters) = (retention.jobs, retention.dead_letters);
            let expired = model.expire(now, retention.max_age);
            let trimmed = model.trim(now, jobs, letters, room, rows_max);
            model.take_toll();
            Trimmed {
                forgotten: trimmed.forgotten,
                expired,
                crowded_out: trimmed.crowded_out,
                more: trimmed.more,
            }
        })
    }

    fn clock_set(&self, step: ClockStep) -> StoreResult<'_, ()> {
        self.read(|model| model.set_clock(step.from, step.to))
    }
}

impl Archive for ModelStore {
    fn read(&self, job: &JobId, after: u64, limit: usize) -> StoreResult<'_, Option<Page>> {
        self.read(|model| {
            let job = model.job(job)?;
            let mut events: Vec<EventRecord> = Vec::new();
            let mut bytes = 0;
            let later = model.kept(job).into_iter();
            for event in later.filter(|event| event.sequence() > after) {
                bytes += event.json().len();
                if events.len() == limit || (!events.is_empty() && bytes > PAGE_BYTES_MAX) {
                    break;
                }
                events.push(event.clone());
            }
            let head = head(job);
            Some(Page { head, events })
        })
    }

    fn job(&self, job: &JobId) -> StoreResult<'_, Option<JobView>> {
        self.read(|model| model.job(job).map(job_view))
    }

    fn jobs(&self, status: Option<JobStatus>, list: List) -> StoreResult<'_, Listed<JobView>> {
        self.read(|model| {
            let wanted = |job: &&Job| {
                let stands = job.status().unwrap_or(JobStatus::Queued);
                status.is_none_or(|status| status == stands)
            };
            let jobs = model.jobs().iter().filter(wanted);
            page(jobs.map(|job| (job.number, job_view(job))), &list)
        })
    }

    fn token(&self, job: &JobId) -> StoreResult<'_, Option<TokenHash>> {
        self.read(|model| model.job(job)?.token)
    }

    fn deliveries(&self, job: &JobId, list: List) -> StoreResult<'_, Listed<DeliveryView>> {
        self.read(|model| {
            let epoch = model.job(job).map(|job| job.epoch);
            let all = model.deliveries().iter();
            let of_job = all.filter(|it| Some(it.record.id().epoch()) == epoch);
            let views = of_job.map(|it| (it.number, delivery_view(model, it)));
            page(views, &list)
        })
    }

    fn delivery(&self, delivery: DeliveryId) -> StoreResult<'_, Option<DeliveryView>> {
        self.read(|model| {
            let mut all = model.deliveries().iter();
            let found = all.find(|it| it.id == delivery)?;
            Some(delivery_view(model, found))
        })
    }

    fn dead_letters(&self, filter: DeadFilter, list: List) -> StoreResult<'_, Listed<DeadLetter>> {
        self.read(|model| {
            let wanted = wanted(model, filter);
            let letters = model.letters().iter().filter(|letter| wanted(letter));
            page(letters.map(|it| (it.number, dead_letter(model, it))), &list)
        })
    }

    fn count_dead_letters(&self, filter: DeadFilter) -> StoreResult<'_, u64> {
        self.read(|model| {
            let wanted = wanted(model, filter);
            let letters = model.letters().iter();
            letters.filter(|letter| wanted(letter)).count() as u64
        })
    }

    fn endpoint(&self, endpoint: EndpointId) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        self.read(|model| model.endpoint(endpoint).cloned().map(Arc::new))
    }

    fn endpoint_at(&self, url: &EndpointUrl) -> StoreResult<'_, Option<Arc<Endpoint>>> {
        self.read(|model| model.endpoint_at(url).cloned().map(Arc::new))
    }

    fn endpoints(&self, list: List) -> StoreResult<'_, Listed<Arc<Endpoint>>> {
        self.read(|model| {
            page(
                (1..).zip(model.endpoints().iter().cloned().map(Arc::new)),
                &list,
            )
        })
    }

    fn counters(&self) -> StoreResult<'_, Counters> {
        self.read(|model| Counters {
            jobs: model.jobs().len() as u64,
            pending_deliveries: model.pending() as u64,
            dead_letters: model.letters().len() as u64,
            oldest_due_at: model.oldest_due(END_OF_TIME),
        })
    }
}

/// No time is after it.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

fn carry_out(
    model: &mut Model,
    now: Timestamp,
    operation: Operation,
    touched: &mut Vec<Lane>,
) -> Result<Answer, Refusal> {
    let swept = |count| Answer::Swept(Swept { count, rest: None });
    Ok(match operation {
        Operation::Append(append) => Answer::Appended(append_one(model, now, append, touched)?),
        Operation::Register(registration) => {
            Answer::Registered(register(model, now, *registration)?)
        }
        Operation::ChangeEndpoint { endpoint, change } => {
            let changed = match change {
                EndpointChange::Enabled(enabled) => model
                    .enable(now, endpoint, enabled)
                    .ok_or(Refusal::NoEndpoint)?,
                EndpointChange::Rotate {
                    secret,
                    expire_old_after,
                } => model
                    .rotate(now, endpoint, *secret, expire_old_after)
                    .map_err(refusal)?,
            };
            Answer::Endpoint(Arc::new(changed.clone()))
        }
        Operation::Redeliver(sweep) => {
            let wanted = wanted(model, sweep.filter().clone());
            swept(model.redeliver(now, wanted))
        }
        Operation::DropDeadLetters(sweep) => {
            let wanted = wanted(model, sweep.filter().clone());
            swept(model.drop_letters(wanted))
        }
        Operation::Delete(deletion) => {
            match deletion.what() {
                Doomed::Job { id, force } => {
                    let deleted = model.delete_job(id, *force);
                    deleted.map_err(|refused| match refused {
                        NotDeleted::Unknown => Refusal::NoJob,
                        NotDeleted::Running => Refusal::JobRunning,
                    })?;
                }
                Doomed::Endpoint(id) => {
                    let url = model.endpoint(*id).map(|endpoint| endpoint.url.clone());
                    let url = url.ok_or(Refusal::NoEndpoint)?;
                    let deleted = model.delete_endpoint(now, &url);
                    deleted.map_err(|_| Refusal::NoEndpoint)?;
                }
            }
            Answer::Deleted { rest: None }
        }
    })
}

fn refusal(refused: model::Refusal) -> Refusal {
    match refused {
        model::Refusal::JobExists => Refusal::JobExists,
        model::Refusal::SecretConflict => Refusal::SecretConflict,
        model::Refusal::NoEndpoint => Refusal::NoEndpoint,
        model::Refusal::RotationInProgress => Refusal::RotationInProgress,
    }
}

fn register(
    model: &mut Model,
    now: Timestamp,
    registration: Registration,
) -> Result<Registered, Refusal> {
    let registration = model::Registration {
        job: registration.job,
        token: registration.token,
        replace_token: registration.replace_token,
        webhook: registration.webhook.map(wish),
        ids: ids(registration.fresh),
    };
    let registered = model.register(now, registration);
    let registered = registered.map_err(refusal)?;
    Ok(Registered {
        epoch: registered.epoch,
        used_new_secret: registered.used_new_secret,
    })
}

fn append_one(
    model: &mut Model,
    now: Timestamp,
    append: Append,
    touched: &mut Vec<Lane>,
) -> Result<Appended, Refusal> {
    let event = Event {
        job: append.job,
        draft: append.draft,
        key: append.idempotency,
        webhook: append.webhook.map(|webhook| match webhook {
            Webhook::To(url) => url,
            Webhook::Refused { .. } => panic!("histories name only what can be sent to"),
        }),
        distance: append.progress_min_interval,
        ids: ids(append.fresh),
    };
    let accepted = model.append(now, event).map_err(|refused| match refused {
        Refused::Duplicate(first) => Refusal::Duplicate {
            first,
            unsent: None,
        },
        Refused::Conflict => Refusal::Conflict,
        Refused::Finished(terminal) => Refusal::Finished { terminal },
        Refused::TooMany => Refusal::TooMany,
        Refused::Full => Refusal::Full,
    })?;
    let all = model.deliveries().iter();
    let told: Vec<_> = all
        .filter(|it| accepted.deliveries.contains(&it.id))
        .collect();
    touched.extend(told.iter().map(|delivery| delivery.lane()));
    Ok(Appended {
        record: accepted.record,
        lanes: told.iter().map(|it| lane_key(model, it)).collect(),
        unsent: None,
    })
}

/// Adds to what was asked what became of the rest.
fn finish(
    model: &mut Model,
    now: Timestamp,
    leased: Vec<model::Leased>,
    written: Written,
) -> Written {
    let toll = model.take_toll();
    let leased = leased.into_iter().map(|it| {
        let lease = Lease::new(u128::from(it.lease));
        Leased::new(delivery(model, &it.delivery), lease)
    });
    Written {
        leased: leased.collect(),
        superseded: toll.superseded,
        died: toll.died,
        next_due_in: model.next_due(now).map(|at| at.since(now)),
        ..written
    }
}

/// The number of a lease that the model gave; another store's is none of them.
fn number_of(lease: Lease) -> u64 {
    u64::try_from(lease.token()).unwrap_or(0)
}

fn ids(fresh: FreshIds) -> NewIds {
    NewIds {
        epoch: fresh.epoch,
        endpoint: fresh.endpoint,
    }
}

fn wish(webhook: RegisterWebhook) -> Wish {
    Wish {
        url: webhook.url,
        filter: webhook.filter,
        secret: webhook.secret,
        secret_if_new: webhook.secret_if_new,
    }
}

/// Which dead letters are meant.
fn wanted(model: &Model, filter: DeadFilter) -> impl Fn(&Letter) -> bool + use<> {
    let at = filter.endpoint.map(|id| {
        let endpoint = model.endpoint(id);
        endpoint.map(|endpoint| endpoint.url.clone())
    });
    move |letter| {
        let delivery = &letter.delivery;
        filter.delivery.is_none_or(|id| id == delivery.id)
            && filter.job.as_ref().is_none_or(|job| *job == delivery.job)
            && at
                .as_ref()
                .is_none_or(|at| at.as_ref() == Some(&delivery.url))
            && filter
                .event
                .is_none_or(|event| event == delivery.record.id())
            && filter.reason.is_none_or(|reason| reason == letter.reason)
            && filter.since.is_none_or(|since| letter.died_at >= since)
            && filter.until.is_none_or(|until| letter.died_at < until)
    }
}
