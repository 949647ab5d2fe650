//! Jobs in memory: appending, settling, registering, forgetting.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use notify_core::delivery::{Delivery, DeliveryState, DeliveryView, LaneKey, Outcome, Settle};
use notify_core::endpoint::{Endpoint, Subscriber, fan_out};
use notify_core::event::{EventRecord, Fingerprint};
use notify_core::job::{EventKind, JobHead, Refused};
use notify_core::log::JobLog;
use notify_core::store::{
    Append, AppendError, Appended, FreshIds, JobView, RegisterError, RegisterWebhook, Registered,
    Registration, Retention, StaleLease, StoreError, TokenHash, Trimmed, Written,
};
use notify_core::{
    DeliveryId, EndpointId, EndpointUrl, EventId, IdempotencyKey, JobId, Keyring, Timestamp,
};

use super::{DELIVERY_BYTES, EndpointEntry, Row, State};

/// The most settled deliveries of one job that can be looked at; the oldest
/// leave first.
const SETTLED_PER_JOB_MAX: usize = 1_024;

/// What a job occupies, roughly, beyond its log.
const JOB_BYTES: usize = 512;

/// What an idempotency key occupies, roughly.
const KEY_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) head: JobHead,
    pub(super) log: JobLog,
    pub(super) token: Option<TokenHash>,
    /// Oldest first, each with the number that orders lists.
    pub(super) deliveries: VecDeque<(u64, DeliveryId)>,
    webhook: Option<Subscriber>,
    idempotency: HashMap<IdempotencyKey, (Fingerprint, EventId)>,
    created_at: Timestamp,
    updated_at: Timestamp,
    arrival: u64,
    pending: usize,
    /// When its last progress was sent to an endpoint.
    pub(super) progress_sent: HashMap<EndpointId, Timestamp>,
    /// Idempotency keys, in bytes.
    key_bytes: usize,
    ended_at: Option<Timestamp>,
}

impl State {
    pub(super) fn append(
        &mut self,
        now: Timestamp,
        append: Append,
        touched: &mut BTreeSet<LaneKey>,
    ) -> Result<Appended, AppendError> {
        let job = self.jobs.get(&append.job);
        if let Some((key, fingerprint)) = &append.idempotency
            && let Some((known, first)) = job.and_then(|job| job.idempotency.get(key))
        {
            let same = known == fingerprint;
            return Err(if same {
                AppendError::Duplicate { first: *first }
            } else {
                AppendError::Conflict
            });
        }
        let head = job.map_or(JobHead::new(append.fresh.epoch), |job| job.head);
        let accepted = head
            .accept(append.draft.status)
            .map_err(|refused| match refused {
                Refused::Finished { terminal } => AppendError::Finished { terminal },
                _ => AppendError::TooMany,
            })?;
        let standing = job.and_then(|job| job.webhook);
        if self.is_full(&append) {
            return Err(AppendError::Full);
        }

        let record = EventRecord::new(accepted.id, accepted.kind, &append.draft);
        let named = append
            .webhook
            .map(|url| self.endpoint_for(&url, append.fresh, None));
        let endpoints: Vec<_> = fan_out(standing, named, append.draft.status).collect();
        let job = self.job_entry(now, &append.job, append.fresh);
        job.head = accepted.head;
        job.updated_at = now;
        let bytes_before = job.log.memory_bytes();
        job.log.push(record.clone());
        let bytes_after = job.log.memory_bytes();
        let mut key_bytes = 0;
        if let Some((key, fingerprint)) = append.idempotency {
            key_bytes = KEY_BYTES;
            job.key_bytes += key_bytes;
            job.idempotency.insert(key, (fingerprint, accepted.id));
        }
        self.job_bytes = self.job_bytes + bytes_after - bytes_before + key_bytes;

        let mut lanes = Vec::new();
        for (endpoint, id) in endpoints.into_iter().zip(append.fresh.deliveries) {
            let lane = LaneKey {
                job: append.job.clone(),
                endpoint,
                redelivery: None,
            };
            let spacing = append.progress_min_interval;
            self.add_delivery(id, &lane, 0, &record, now, spacing);
            lanes.push(lane);
        }
        if accepted.kind == EventKind::Terminal {
            self.begin_retention(now, &append.job);
        }
        touched.extend(lanes.iter().cloned());
        Ok(Appended { record, lanes })
    }

    fn is_full(&self, append: &Append) -> bool {
        let bytes = append.draft.json.len() + JOB_BYTES + 2 * DELIVERY_BYTES;
        self.pending + 2 > self.limits.pending_deliveries_max
            || self.job_bytes + bytes > self.limits.job_bytes_max
    }

    /// Adds a pending delivery, due at once, at the end of its lane.
    pub(super) fn add_delivery(
        &mut self,
        id: DeliveryId,
        lane: &LaneKey,
        generation: u32,
        record: &EventRecord,
        now: Timestamp,
        spacing: Duration,
    ) {
        let Some(entry) = self.endpoints.get_mut(&lane.endpoint) else {
            return;
        };
        entry.references += 1;
        let url = entry.endpoint.url.clone();
        let arrival = self.next_number();
        let view = DeliveryView {
            id,
            job_id: lane.job.clone(),
            event_id: record.id(),
            endpoint_id: lane.endpoint,
            url: url.clone(),
            state: DeliveryState::Pending,
            generation,
            attempts: Vec::new(),
        };
        let delivery = Delivery {
            id,
            lane: lane.clone(),
            generation,
            record: record.clone(),
            url,
            accepted_at: now,
            due_at: now,
            attempts_made: 0,
        };
        let row = Row {
            view,
            pending: Some(delivery),
            first_failed_at: None,
            spacing,
            lease: None,
        };
        self.deliveries.insert(id, row);
        self.job_bytes += DELIVERY_BYTES;
        self.pending += 1;
        self.lanes.push(lane, id);
        let Some(job) = self.job_of(record.id(), &lane.job) else {
            return;
        };
        job.pending += 1;
        // A redelivery keeps its place in the list, unless that was cut off.
        if generation == 0 || job.deliveries.iter().all(|(_, known)| *known != id) {
            job.deliveries.push_back((arrival, id));
        }
        if let Some(ended_at) = job.ended_at.take() {
            self.ended.remove(&(ended_at, lane.job.clone()));
        }
        self.forget_oldest_settled(&lane.job);
    }

    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        settle: Settle,
        written: &mut Written,
        touched: &mut BTreeSet<LaneKey>,
    ) -> Result<(), StaleLease> {
        let row = self
            .deliveries
            .get_mut(&settle.delivery)
            .ok_or(StaleLease)?;
        if row.lease != Some(settle.lease) {
            return Err(StaleLease);
        }
        let delivery = row.pending.as_mut().ok_or(StaleLease)?;
        let lane = delivery.lane.clone();
        touched.insert(lane.clone());
        row.lease = None;
        if let Some(attempt) = settle.attempt {
            if delivery.record.kind() == EventKind::Progress
                && lane.redelivery.is_none()
                && let Some(job) = self.jobs.get_mut(&lane.job)
            {
                let sent_at = now.minus(attempt.duration);
                job.progress_sent.insert(lane.endpoint, sent_at);
            }
            if attempt.failure().is_some() {
                row.first_failed_at.get_or_insert(now);
                delivery.attempts_made = attempt.number;
            }
            row.view.attempts.push(attempt);
        }
        match settle.outcome {
            // The lane rule finds the newer event and supersedes this one, which
            // hands its due time on.
            Outcome::Released | Outcome::Superseded => {}
            Outcome::Retry { due_at } | Outcome::Postponed { due_at } => delivery.due_at = due_at,
            Outcome::Dead { reason } => self.bury(now, settle.delivery, reason, written),
            Outcome::Delivered => {
                row.view.state = DeliveryState::Delivered;
                self.leave_lane(now, settle.delivery);
            }
        }
        Ok(())
    }

    pub(super) fn register(
        &mut self,
        now: Timestamp,
        registration: Registration,
    ) -> Result<Registered, RegisterError> {
        let known = self.jobs.get(&registration.job);
        if !registration.replace_token && known.is_some_and(|job| job.token.is_some()) {
            return Err(RegisterError::JobExists);
        }
        if known.is_none() && self.job_bytes + JOB_BYTES > self.limits.job_bytes_max {
            return Err(RegisterError::Store(StoreError::Full));
        }
        let mut used_new_secret = false;
        let subscriber = match registration.webhook {
            None => None,
            Some(webhook) => {
                let (endpoint, used) = self.subscribe_endpoint(&webhook, registration.fresh)?;
                used_new_secret = used;
                Some(Subscriber {
                    endpoint,
                    filter: webhook.filter,
                })
            }
        };
        let job = self.job_entry(now, &registration.job, registration.fresh);
        job.token = Some(registration.token);
        job.updated_at = now;
        let epoch = job.head.epoch;
        let replaced = subscriber.and_then(|subscriber| job.webhook.replace(subscriber));
        if let Some(subscriber) = subscriber
            && let Some(entry) = self.endpoints.get_mut(&subscriber.endpoint)
        {
            entry.references += 1;
        }
        if let Some(subscriber) = replaced {
            self.release_endpoint(subscriber.endpoint);
        }
        Ok(Registered {
            epoch,
            used_new_secret,
        })
    }

    /// The endpoint that a registration names, and whether the new secret was
    /// put to use.
    fn subscribe_endpoint(
        &mut self,
        webhook: &RegisterWebhook,
        fresh: FreshIds,
    ) -> Result<(EndpointId, bool), RegisterError> {
        let known = self.endpoints_by_url.get(&webhook.url);
        let own = known
            .and_then(|id| self.endpoints.get(id))
            .map(|entry| &entry.endpoint.keyring);
        match (own, &webhook.secret) {
            (Some(Some(keyring)), Some(secret)) if keyring.newest() != secret => {
                return Err(RegisterError::SecretConflict);
            }
            // Known and signed for with the operator's secret: its own must not
            // replace that behind its back.
            (Some(None), Some(_)) => return Err(RegisterError::SecretConflict),
            _ => {}
        }
        let needs_secret = !matches!(own, Some(Some(_)));
        let new = webhook.secret.as_ref().or(webhook.secret_if_new.as_ref());
        let used_new_secret =
            needs_secret && webhook.secret.is_none() && webhook.secret_if_new.is_some();
        let keyring = new.filter(|_| needs_secret).cloned().map(Keyring::new);
        Ok((
            self.endpoint_for(&webhook.url, fresh, keyring),
            used_new_secret,
        ))
    }

    /// The endpoint at `url`, made if it is new.
    pub(super) fn endpoint_for(
        &mut self,
        url: &EndpointUrl,
        fresh: FreshIds,
        keyring: Option<Keyring>,
    ) -> EndpointId {
        let id = *self
            .endpoints_by_url
            .entry(url.clone())
            .or_insert(fresh.endpoint);
        let arrival = self.next_number();
        let entry = self.endpoints.entry(id).or_insert_with(|| EndpointEntry {
            endpoint: Endpoint {
                id,
                url: url.clone(),
                keyring: None,
                enabled: true,
            },
            arrival,
            references: 0,
        });
        if let Some(keyring) = keyring {
            entry.endpoint.keyring = Some(keyring);
        }
        id
    }

    /// One less names it: an endpoint about which nothing is to be remembered is
    /// forgotten with the last.
    pub(super) fn release_endpoint(&mut self, id: EndpointId) {
        let Some(entry) = self.endpoints.get_mut(&id) else {
            return;
        };
        entry.references = entry.references.saturating_sub(1);
        let plain = entry.endpoint.keyring.is_none() && entry.endpoint.enabled;
        if entry.references == 0 && plain {
            self.endpoints_by_url.remove(&entry.endpoint.url);
            self.endpoints.remove(&id);
        }
    }

    fn job_entry(&mut self, now: Timestamp, id: &JobId, fresh: FreshIds) -> &mut Job {
        let arrival = self.next_number();
        let progress_events_max = self.limits.progress_events_max;
        let (arrivals, bytes) = (&mut self.arrivals, &mut self.job_bytes);
        self.jobs.entry(id.clone()).or_insert_with(|| {
            arrivals.insert(arrival, id.clone());
            let log = JobLog::new(fresh.epoch, progress_events_max);
            *bytes += JOB_BYTES + log.memory_bytes();
            Job {
                head: JobHead::new(fresh.epoch),
                log,
                token: None,
                deliveries: VecDeque::new(),
                webhook: None,
                idempotency: HashMap::new(),
                created_at: now,
                updated_at: now,
                arrival,
                pending: 0,
                progress_sent: HashMap::new(),
                key_bytes: 0,
                ended_at: None,
            }
        })
    }

    pub(super) fn job_view(&self, id: &JobId) -> Option<JobView> {
        let job = self.jobs.get(id)?;
        let webhook = job.webhook.and_then(|subscriber| {
            let entry = self.endpoints.get(&subscriber.endpoint)?;
            Some((entry.endpoint.url.clone(), subscriber.filter))
        });
        Some(JobView {
            id: id.clone(),
            head: job.head,
            last: job.log.last().cloned(),
            created_at: job.created_at,
            updated_at: job.updated_at,
            registered: job.token.is_some(),
            webhook,
        })
    }

    /// The job that `event` belongs to. A redelivery may outlive it, and find that
    /// another one has begun under the same id.
    fn job_of(&mut self, event: EventId, id: &JobId) -> Option<&mut Job> {
        let job = self.jobs.get_mut(id)?;
        (job.head.epoch == event.epoch()).then_some(job)
    }

    /// The delivery of `event` has settled. Says whether its job is still known.
    pub(super) fn job_settled(&mut self, now: Timestamp, event: EventId, id: &JobId) -> bool {
        let Some(job) = self.job_of(event, id) else {
            return false;
        };
        job.pending = job.pending.saturating_sub(1);
        self.begin_retention(now, id);
        true
    }

    /// If the job has ended and nothing is pending, its retention begins now.
    fn begin_retention(&mut self, now: Timestamp, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if job.head.is_finished() && job.pending == 0 {
            if let Some(before) = job.ended_at.replace(now) {
                self.ended.remove(&(before, id.clone()));
            }
            self.ended.insert((now, id.clone()));
        }
    }

    /// Keeps the settled deliveries of one job bounded.
    fn forget_oldest_settled(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if job.deliveries.len() <= SETTLED_PER_JOB_MAX {
            return;
        }
        let deliveries = &self.deliveries;
        let settled = job
            .deliveries
            .iter()
            .position(|(_, id)| deliveries.get(id).is_none_or(|row| !row.is_pending()));
        if let Some((_, id)) = settled.and_then(|position| job.deliveries.remove(position)) {
            self.forget_delivery(id);
        }
    }

    /// Forgets a settled delivery.
    pub(super) fn forget_delivery(&mut self, id: DeliveryId) {
        if let Some(row) = self.deliveries.remove(&id) {
            self.job_bytes = self.job_bytes.saturating_sub(DELIVERY_BYTES);
            self.release_endpoint(row.view.endpoint_id);
        }
    }

    pub(super) fn trim(
        &mut self,
        now: Timestamp,
        retention: Retention,
        rows_max: usize,
    ) -> Trimmed {
        let mut trimmed = Trimmed::default();
        let mut rows = 0;
        while let Some((ended_at, id)) = self.ended.first().cloned()
            && now.since(ended_at) >= retention.jobs
        {
            if rows >= rows_max {
                trimmed.more = true;
                break;
            }
            self.ended.pop_first();
            rows += self.forget_job(&id);
            trimmed.forgotten += 1;
        }
        // Not in order: the clock may have been wrong when one was given up.
        let dead = self.dead.iter();
        let over = dead
            .filter(|(_, dead)| now.since(dead.letter.died_at) >= retention.dead_letters)
            .map(|(&key, _)| key);
        let over: Vec<u64> = over.take(rows_max.saturating_add(1)).collect();
        trimmed.more |= over.len() > rows_max;
        for key in over.into_iter().take(rows_max) {
            self.take_dead(key);
            trimmed.forgotten += 1;
        }
        trimmed
    }

    /// Forgets a job with all that it has; how many rows that were.
    fn forget_job(&mut self, id: &JobId) -> usize {
        let Some(job) = self.jobs.remove(id) else {
            return 0;
        };
        let mut rows = 1 + job.log.records().count() + job.idempotency.len();
        self.arrivals.remove(&job.arrival);
        for (_, delivery) in job.deliveries {
            let settled = self.deliveries.get(&delivery);
            rows += settled.map_or(0, |row| 1 + row.view.attempts.len());
            self.forget_delivery(delivery);
        }
        if let Some(subscriber) = job.webhook {
            self.release_endpoint(subscriber.endpoint);
        }
        let bytes = JOB_BYTES + job.key_bytes + job.log.memory_bytes();
        self.job_bytes = self.job_bytes.saturating_sub(bytes);
        rows
    }
}
