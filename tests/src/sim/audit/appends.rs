//! What may be accepted, as what, and whom it is told.

use std::collections::BTreeSet;

use notify_core::delivery::{DeadReason, LaneKey};
use notify_core::job::EventKind;
use notify_core::store::{Answer, Append, Appended, Archive, Refusal, Webhook};
use notify_core::{DeliveryId, EndpointId, EventId, JobStatus};

use super::{Audit, EventModel, Invariant, JobModel, Lane, Row, State};
use crate::sim::store::{SimStore, at_once};

/// Whom an event is for, by the protocol.
#[derive(Debug, Default)]
struct Audience {
    /// Those that it can be sent to, each with its place in delivery ids.
    told: Vec<(char, String)>,
    /// Those that it can't, as well.
    unsent: Vec<(char, String, DeadReason)>,
}

impl Audit {
    /// The caller was told that its event has this id.
    pub(in crate::sim) fn acknowledged(&mut self, append: &Append, id: EventId) {
        let kept = self
            .jobs
            .get(&append.job)
            .filter(|job| job.epoch == id.epoch());
        // A job that was forgotten meanwhile can't be asked any more.
        let Some(kept) = kept else { return };
        let told = kept.event(id.sequence()).map(|event| &event.json);
        let same =
            told.is_some_and(|json| append.idempotency.is_some() || *json == append.draft.json);
        self.check(same, Invariant::I2, || {
            format!(
                "{} was acknowledged as {id}, which is not there",
                append.job
            )
        });
    }

    /// The store has judged an append: it must have judged as the audit does.
    pub(super) fn append(
        &mut self,
        now: u64,
        append: &Append,
        answer: &Result<Answer, Refusal>,
        store: &SimStore,
    ) {
        let job = self.jobs.get(&append.job);
        let known = append.idempotency.as_ref().and_then(|(key, content)| {
            let (first_content, first) = job?.keys.get(key)?;
            Some((first_content == content, *first))
        });
        let terminal = job
            .filter(|job| job.is_finished())
            .map(|job| EventId::new(job.epoch, job.head()));
        let audience = self.audience(append);
        let told = audience.told.len();
        // What an event of the same batch supersedes may be counted or not.
        let (pending, most) = (self.pending(), self.rules.pending_max);
        let full = told > 0 && pending + told > most;
        let surely_full = full && pending - self.overruled(now) + told > most;
        let name = &append.job;
        match (known, answer) {
            (Some((true, first)), Err(Refusal::Duplicate { first: told, .. })) => {
                self.check(first == *told, Invariant::I9, || {
                    format!("{name}: a key stands for {first} and for {told}")
                });
                return;
            }
            (Some((false, _)), Err(Refusal::Conflict)) => return,
            (Some(_), _) => {
                let what = || format!("{name}: a known key was answered with {answer:?}");
                self.check(false, Invariant::I9, what);
                return;
            }
            (None, Err(Refusal::Duplicate { .. } | Refusal::Conflict)) => {
                let what = || format!("{name}: an unknown key was answered with {answer:?}");
                self.check(false, Invariant::I9, what);
                return;
            }
            (None, _) => {}
        }
        match answer {
            Err(Refusal::Finished { terminal: told }) => {
                self.check(terminal == Some(*told), Invariant::I4, || {
                    format!("{name} ended with {terminal:?}, and {told} was said")
                });
            }
            Err(Refusal::Full) => {
                self.check(full && terminal.is_none(), Invariant::I13, || {
                    format!("{name} was refused for want of room")
                });
            }
            Ok(Answer::Appended(appended)) => {
                self.check(terminal.is_none(), Invariant::I4, || {
                    format!("{name} has ended with {terminal:?}; {:?}", appended.record)
                });
                self.check(!surely_full, Invariant::I13, || {
                    format!("{name}: more than {most} pending")
                });
                if !self.is_broken() {
                    self.accept(now, append, appended, audience, store);
                }
            }
            other => {
                let invariant = match audience.unsent.is_empty() {
                    true => Invariant::I2,
                    false => Invariant::Costless,
                };
                self.check(false, invariant, || {
                    format!("{name} was refused: {other:?}")
                });
            }
        }
    }

    fn audience(&self, append: &Append) -> Audience {
        let mut audience = Audience::default();
        let model = self.jobs.get(&append.job);
        let standing = model.and_then(|model| model.subscriber.as_ref());
        let standing = standing.filter(|(_, filter)| filter.wants(append.draft.status));
        let named = match &append.webhook {
            Some(Webhook::To(url)) => Some(url),
            Some(Webhook::Refused { url, reason }) => {
                audience.unsent.push(('1', url.clone(), *reason));
                None
            }
            None => None,
        };
        let standing = standing.map(|(url, _)| url);
        // One receiver gets one delivery.
        let standing = standing.filter(|url| Some(*url) != named);
        for (target, url) in [('1', named), ('0', standing)] {
            let Some(url) = url else { continue };
            let text = url.as_str().to_owned();
            if append.has_global_secret || self.has_secret(url) {
                audience.told.push((target, text));
            } else {
                let reason = DeadReason::SecretMissing;
                audience.unsent.push((target, text, reason));
            }
        }
        audience
    }

    /// How many pending deliveries are as good as superseded or overtaken.
    fn overruled(&self, now: u64) -> usize {
        let rows = self.rows.iter().filter(|(id, row)| {
            let is_progress = row.kind == EventKind::Progress;
            let superseded = is_progress && !self.newer_kinds(**id).is_empty();
            let by = self.overtaken_at(**id);
            let overtaken = by.is_some_and(|by| row.due_at.max(now) > by);
            row.is_pending() && row.lease.is_none() && (superseded || overtaken)
        });
        rows.count()
    }

    fn accept(
        &mut self,
        now: u64,
        append: &Append,
        appended: &Appended,
        audience: Audience,
        store: &SimStore,
    ) {
        let record = &appended.record;
        let name = &append.job;
        let model = self.jobs.entry(name.clone());
        let model = model.or_insert_with(|| JobModel::new(append.fresh.epoch, now));
        let next = EventId::new(model.epoch, model.head() + 1);
        let before = model.events.last().map(|event| event.status);
        let kind = kind_after(before, append.draft.status);
        if let Some((key, content)) = &append.idempotency {
            model.keys.insert(key.clone(), (*content, next));
        }
        model.touched_at = now;
        model.events.push(EventModel {
            kind,
            status: append.draft.status,
            json: append.draft.json.clone(),
        });
        self.figures.events += 1;
        self.check(record.id() == next, Invariant::I3, || {
            format!(
                "{name}: after {before:?} comes {next}, not {:?}",
                record.id()
            )
        });
        self.check(record.kind() == kind, Invariant::I4, || {
            format!("{name}: {next} is {kind:?}, not {:?}", record.kind())
        });
        let first_unsent = audience.unsent.first().map(|(_, _, reason)| *reason);
        self.check(appended.unsent == first_unsent, Invariant::Costless, || {
            format!("{name}: {first_unsent:?}, not {:?}", appended.unsent)
        });
        self.tell(now, appended, kind, audience.told, store);
        for (target, url, reason) in audience.unsent {
            if kind != EventKind::Progress {
                // It has not come to an endpoint of which the audit knew.
                let lane = LaneKey {
                    job: name.clone(),
                    endpoint: EndpointId::from_random(0),
                    redelivery: None,
                };
                self.figures.unsent += 1;
                self.add(now, delivery_id(next, target), lane, next, kind, url);
                self.close(now, delivery_id(next, target), State::Dead(reason));
            }
        }
    }

    /// The event is for these, each of which has it now, or has too much already.
    fn tell(
        &mut self,
        now: u64,
        appended: &Appended,
        kind: EventKind,
        told: Vec<(char, String)>,
        store: &SimStore,
    ) {
        let event = appended.record.id();
        let lanes = appended.lanes.iter().filter_map(|lane| {
            let endpoint = at_once(store.memory().endpoint(lane.endpoint));
            let url = endpoint.ok()??.url.as_str().to_owned();
            Some((url, lane.clone()))
        });
        let mut lanes: Vec<(String, LaneKey)> = lanes.collect();
        let mut seen = BTreeSet::new();
        for (target, url) in told {
            let id = delivery_id(event, target);
            let position = lanes.iter().position(|(known, _)| *known == url);
            let lane = position.map(|position| lanes.remove(position).1);
            seen.extend(lane.as_ref().map(|lane| lane.endpoint));
            let endpoint = match &lane {
                Some(lane) => Some(lane.endpoint),
                None => endpoint_at(&url, store),
            };
            let most = self.rules.pending_per_endpoint_max;
            // From nine tenths of the room on, this event counted, a thousandth of it.
            let room = self.rules.pending_max;
            let least = if (self.pending() + 2) * 10 >= room * 9 {
                most.min((room / 1_000).clamp(1, 1_000))
            } else {
                most
            };
            let (waiting, overruled) = self.waiting_at(now, endpoint);
            let surely_full = waiting - overruled >= most;
            let is_told = lane.is_some();
            self.check(is_told || waiting >= least, Invariant::I2, || {
                format!("{event} has no delivery to {url}, where only {waiting} wait: {lanes:?}")
            });
            self.check(!is_told || !surely_full, Invariant::I13, || {
                format!("{event}: {waiting} wait for {url}, and at most {most} may")
            });
            if let Some(lane) = lane {
                self.add(now, id, lane, event, kind, url);
            } else if kind != EventKind::Progress
                && let Some(endpoint) = endpoint
            {
                let lane = self.lane_of(event, endpoint);
                self.figures.backlog_full += 1;
                self.add(now, id, lane, event, kind, url);
                self.close(now, id, State::Dead(DeadReason::BacklogFull));
            } else {
                continue;
            }
            let job = self.rows.get(&id).map(|row| row.lane.job.clone());
            if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
                job.listed.insert(id);
            }
        }
        let all_told = lanes.is_empty() && seen.len() == appended.lanes.len();
        self.check(all_told, Invariant::I2, || {
            format!("{event} is for others: {lanes:?}")
        });
    }

    /// The lane of a delivery that has died at once.
    fn lane_of(&self, event: EventId, endpoint: EndpointId) -> LaneKey {
        let job = self.jobs.iter().find(|(_, job)| job.epoch == event.epoch());
        let job = job.map(|(name, _)| name.clone());
        LaneKey {
            job: job.unwrap_or_else(|| notify_core::JobId::from_random(0)),
            endpoint,
            redelivery: None,
        }
    }

    /// How many deliveries to an endpoint are pending, and how many of them are as
    /// good as overruled.
    fn waiting_at(&self, now: u64, endpoint: Option<EndpointId>) -> (usize, usize) {
        let lanes = self.lanes.iter();
        let lanes = lanes.filter(|(lane, _)| Some(lane.endpoint) == endpoint);
        let waiting = lanes.map(|(_, lane)| lane.waiting.len()).sum();
        (waiting, self.overruled(now).min(waiting))
    }

    fn add(
        &mut self,
        now: u64,
        id: DeliveryId,
        lane: LaneKey,
        event: EventId,
        kind: EventKind,
        url: String,
    ) {
        let kept = self.lanes.entry(lane.clone()).or_insert_with(|| Lane {
            head_since: now,
            ..Lane::default()
        });
        if kept.waiting.is_empty() {
            kept.head_since = now;
        }
        kept.waiting.push(id);
        kept.due_latest = kept.due_latest.max(now);
        if kind != EventKind::Progress {
            kept.progress_not_before = None;
        }
        let row = Row::new(lane, event, kind, url, now);
        self.rows.insert(id, row);
    }
}

impl Row {
    pub(super) fn new(
        lane: LaneKey,
        event: EventId,
        kind: EventKind,
        url: String,
        now: u64,
    ) -> Self {
        Self {
            lane,
            event,
            url,
            kind,
            state: State::Pending,
            generation: 0,
            dropped: false,
            died_in: 0,
            body: None,
            accepted_at: now,
            // A progress may inherit an earlier due time than its own.
            due_at: match kind {
                EventKind::Progress => 0,
                _ => now,
            },
            first_failed_at: None,
            lease: None,
            sent_at: now,
            own_failures: 0,
            ours: false,
            is_probe: false,
            begun: 0,
            settled: 0,
            crashes: 0,
            in_flight: false,
            ended: None,
            answered_ok: 0,
            job_gone: false,
            passed: 0,
        }
    }
}

fn endpoint_at(url: &str, store: &SimStore) -> Option<EndpointId> {
    let url = notify_core::EndpointUrl::parse(url).ok()?;
    let endpoint = at_once(store.memory().endpoint_at(&url)).ok()??;
    Some(endpoint.id)
}

/// A delivery's id says where it stands: 12 characters of the epoch, 7 of the
/// sequence in base 36, one of whom it is for.
fn delivery_id(event: EventId, target: char) -> DeliveryId {
    let mut digits = Vec::new();
    let mut rest = event.sequence();
    for _ in 0..7 {
        let digit = u32::try_from(rest % 36).unwrap_or_default();
        digits.extend(char::from_digit(digit, 36));
        rest /= 36;
    }
    let digits: String = digits.into_iter().rev().collect();
    let text = format!("dlv_{}{digits}{target}", event.epoch());
    text.parse().unwrap_or(DeliveryId::from_random(0))
}

/// The protocol's own words: a progress is processing following processing.
fn kind_after(before: Option<JobStatus>, status: JobStatus) -> EventKind {
    if status.is_terminal() {
        EventKind::Terminal
    } else if before == Some(JobStatus::Processing) && status == JobStatus::Processing {
        EventKind::Progress
    } else {
        EventKind::Lifecycle
    }
}
