//! Jobs and their events: what is accepted, and what a log keeps of it.

use std::time::Duration;

use notify_core::event::{EventDraft, EventRecord, Fingerprint};
use notify_core::job::EventKind;
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, Epoch, EventId, IdempotencyKey, JobId, JobStatus,
    Timestamp,
};

use super::{Job, LIFECYCLE_EVENTS_MAX, Lane, Model, Refusal, Wish};

/// An event to accept.
#[derive(Clone, Debug)]
pub struct Event {
    /// The job; one that is unknown begins with it.
    pub job: JobId,
    /// What it says.
    pub draft: EventDraft,
    /// What makes a repetition of this call return the first one's event.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
    /// An endpoint for this event, besides the job's own.
    pub webhook: Option<EndpointUrl>,
    /// How far apart progress is kept.
    pub distance: Duration,
    /// Ids for what it may create.
    pub ids: NewIds,
}

/// Ids for what an operation may create.
#[derive(Clone, Copy, Debug)]
pub struct NewIds {
    /// Of a job's log.
    pub epoch: Epoch,
    /// Of an endpoint.
    pub endpoint: EndpointId,
}

/// An accepted event.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The event, in its place.
    pub record: EventRecord,
    /// Its deliveries.
    pub deliveries: Vec<DeliveryId>,
}

/// Why an event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its key stands for this event.
    Duplicate(EventId),
    /// Its key stands for other content.
    Conflict,
    /// The job has ended with this event.
    Finished(EventId),
    /// The job has had its lifecycle events.
    TooMany,
    /// Too many deliveries are pending.
    Full,
}

/// A job's registration.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The job; one that is unknown is created.
    pub job: JobId,
    /// The SHA-256 of its new token.
    pub token: [u8; 32],
    /// Whether the new token may take another one's place.
    pub replace_token: bool,
    /// Whom the job is to tell; as before if this is left out.
    pub webhook: Option<Wish>,
    /// Ids for what it may create.
    pub ids: NewIds,
}

/// A registered job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The job's log.
    pub epoch: Epoch,
    /// Whether the endpoint was given the secret for those that have none.
    pub used_new_secret: bool,
}

impl Model {
    /// Accepts an event, and makes its deliveries.
    ///
    /// # Errors
    /// [`Refused`]; then nothing has changed. Its key is looked at first, then
    /// the job, then the bounds.
    pub fn append(&mut self, now: Timestamp, event: Event) -> Result<Accepted, Refused> {
        let status = event.draft.status;
        let job = self.jobs.iter().find(|job| job.id == event.job);
        if let (Some(job), Some((key, content))) = (job, &event.key)
            && let Some((_, known, first)) = job.keys.iter().find(|(known, ..)| known == key)
        {
            return Err(if known == content {
                Refused::Duplicate(*first)
            } else {
                Refused::Conflict
            });
        }
        let kind = job.map_or(Ok(kind_after(None, status)), |job| job.next_kind(status))?;
        let own = job.and_then(|job| job.webhook.clone());
        let own = own.filter(|(_, filter)| is_end(status) || filter.wants(status));
        let mut told: Vec<EndpointUrl> = own.map(|(url, _)| url).into_iter().collect();
        let named = event.webhook.clone();
        told.extend(named.filter(|named| !told.contains(named)));
        let most = self.bounds.pending_deliveries_max;
        if !told.is_empty() && self.pending() + told.len() > most {
            return Err(Refused::Full);
        }

        let job = self.job_or_new(now, &event.job, event.ids.epoch);
        let sequence = job.events.len() as u64 + 1;
        let id = EventId::new(job.epoch, sequence);
        let record = EventRecord::new(id, kind, &event.draft);
        job.events.push(record.clone());
        job.updated_at = now;
        job.keys
            .extend(event.key.map(|(key, content)| (key, content, id)));
        if is_end(status) {
            job.quiet_since = now;
        }
        if let Some(named) = &event.webhook {
            self.endpoint_or_new(named, event.ids.endpoint);
        }
        let mut deliveries = Vec::new();
        for url in told {
            let is_named = event.webhook.as_ref() == Some(&url);
            let delivery = DeliveryId::of(id, u8::from(is_named));
            self.deliver(now, &event.job, &record, url, delivery, event.distance);
            deliveries.push(delivery);
        }
        Ok(Accepted { record, deliveries })
    }

    /// Gives a job a token and, if asked, someone to tell.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing has changed.
    pub fn register(
        &mut self,
        now: Timestamp,
        registration: Registration,
    ) -> Result<Registered, Refusal> {
        let known = self.jobs.iter().find(|job| job.id == registration.job);
        if known.is_some_and(|job| job.token.is_some()) && !registration.replace_token {
            return Err(Refusal::JobExists);
        }
        let mut used_new_secret = false;
        if let Some(wish) = &registration.webhook {
            used_new_secret = self.grant(wish, registration.ids.endpoint)?;
        }
        let job = self.job_or_new(now, &registration.job, registration.ids.epoch);
        job.token = Some(registration.token);
        job.updated_at = now;
        if let Some(wish) = registration.webhook {
            job.webhook = Some((wish.url, wish.filter));
        }
        Ok(Registered {
            epoch: job.epoch,
            used_new_secret,
        })
    }

    /// One job.
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == *id)
    }

    /// The events that the job's log keeps, in order: of a running job all
    /// lifecycle events and the newest progress ones, of a finished one the
    /// lifecycle events and the last progress.
    pub fn kept<'a>(&self, job: &'a Job) -> Vec<&'a EventRecord> {
        let newest = if job.has_ended() {
            1
        } else {
            self.bounds.progress_events_max
        };
        let is_progress = |event: &&EventRecord| event.kind() == EventKind::Progress;
        let progress: Vec<_> = job.events.iter().filter(is_progress).collect();
        let outdated = progress.len().saturating_sub(newest);
        let kept = |event: &&EventRecord| !progress[..outdated].contains(event);
        job.events.iter().filter(kept).collect()
    }

    fn job_or_new(&mut self, now: Timestamp, id: &JobId, epoch: Epoch) -> &mut Job {
        let at = self.jobs.iter().position(|job| job.id == *id);
        let at = at.unwrap_or_else(|| {
            let number = self.next_number();
            self.jobs.push(Job {
                id: id.clone(),
                number,
                epoch,
                events: Vec::new(),
                token: None,
                webhook: None,
                created_at: now,
                updated_at: now,
                keys: Vec::new(),
                progress_sent: Vec::new(),
                quiet_since: now,
            });
            self.jobs.len() - 1
        });
        &mut self.jobs[at]
    }
}

impl Job {
    /// Where it stands: the status of its last event.
    pub fn status(&self) -> Option<JobStatus> {
        self.events.last().map(EventRecord::status)
    }

    /// How many lifecycle events it has had, its end among them.
    pub fn lifecycle_events(&self) -> usize {
        let events = self.events.iter();
        events
            .filter(|event| event.kind() != EventKind::Progress)
            .count()
    }

    /// Whether it has had its end.
    pub fn has_ended(&self) -> bool {
        self.status().is_some_and(is_end)
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// When progress was last sent down this lane.
    pub(super) fn progress_sent_at(&self, lane: &Lane) -> Option<Timestamp> {
        let mut sent = self.progress_sent.iter();
        sent.find(|(url, _)| *url == lane.url).map(|(_, at)| *at)
    }

    /// What kind an event with this status would be.
    fn next_kind(&self, status: JobStatus) -> Result<EventKind, Refused> {
        match self.events.last() {
            Some(last) if is_end(last.status()) => Err(Refused::Finished(last.id())),
            last => {
                let kind = kind_after(last.map(EventRecord::status), status);
                let full = self.lifecycle_events() >= LIFECYCLE_EVENTS_MAX;
                if kind == EventKind::Lifecycle && full {
                    Err(Refused::TooMany)
                } else {
                    Ok(kind)
                }
            }
        }
    }
}

/// A progress event is `processing` following `processing`.
fn kind_after(last: Option<JobStatus>, status: JobStatus) -> EventKind {
    if is_end(status) {
        EventKind::Terminal
    } else if (last, status) == (Some(JobStatus::Processing), JobStatus::Processing) {
        EventKind::Progress
    } else {
        EventKind::Lifecycle
    }
}

fn is_end(status: JobStatus) -> bool {
    use JobStatus::{Cancelled, Completed, Failed};
    [Completed, Failed, Cancelled].contains(&status)
}
