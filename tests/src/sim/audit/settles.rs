//! What becomes of deliveries: leases given, leases ended, rows overruled.

use std::time::Duration;

use notify_core::DeliveryId;
use notify_core::delivery::{DeadReason, Delivery, Lease, Outcome, Settle};
use notify_core::job::EventKind;
use notify_core::store::{Answer, Batch, Operation, StaleLease};

use super::{Audit, Invariant, Moment, State, millis};
use crate::sim::store::{Done, SimStore};

/// For how long a failing delivery may hold up its job's terminal one.
const OVERTAKEN_AFTER: u64 = 60_000;

impl Audit {
    /// The store has carried out a write or a claim: each of its answers is judged in
    /// the order in which the write was made.
    pub(in crate::sim) fn written(
        &mut self,
        at: Moment,
        batch: &Batch,
        done: &Done,
        store: &SimStore,
    ) {
        self.batches += 1;
        let (superseded, dead) = (self.figures.superseded, self.figures.dead);
        let mut touched = Vec::new();
        for (settle, outcome) in batch.settles.iter().zip(&done.settles) {
            if let Some(row) = self.rows.get(&settle.delivery) {
                touched.push(row.lane.job.clone());
            }
            self.settle(at, settle, *outcome);
        }
        self.note_health(at.millis, batch, done);
        for (operation, answer) in batch.operations.iter().zip(&done.answers) {
            match operation {
                Operation::Append(append) => {
                    touched.push(append.job.clone());
                    self.append(at.millis, append, answer, store);
                }
                Operation::Register(registration) => {
                    self.register(at.millis, registration, answer);
                }
                Operation::ChangeEndpoint { endpoint, change } => {
                    self.change_endpoint(at.millis, *endpoint, change, answer);
                }
                Operation::Redeliver(sweep) | Operation::DropDeadLetters(sweep) => {
                    let drops = matches!(operation, Operation::DropDeadLetters(_));
                    if let Ok(Answer::Swept(swept)) = answer {
                        self.stepped(at.millis, sweep, drops, swept, store);
                    }
                }
                Operation::Delete(_) => {}
            }
        }
        let leased = done.leased.iter();
        touched.extend(leased.map(|(delivery, _)| delivery.lane.job.clone()));
        touched.sort();
        touched.dedup();
        // A claim says only how many were overruled, so it is looked for.
        let overruled = done.superseded > 0 || !done.died.is_empty();
        if batch.settles.is_empty() && batch.operations.is_empty() && overruled {
            touched = self.jobs.keys().cloned().collect();
        }
        for job in touched {
            self.audit_job(at.millis, &job, store);
        }
        let superseded = self.figures.superseded - superseded;
        let dead = self.figures.dead - dead;
        self.check(superseded == done.superseded, Invariant::I1, || {
            format!(
                "{superseded} were superseded, {} were said",
                done.superseded
            )
        });
        let died = done.died.len() as u64;
        self.check(dead == died, Invariant::I1, || {
            format!("{dead} have died, {died} were said")
        });
        for (delivery, lease) in &done.leased {
            self.leased(at, delivery, *lease);
        }
        self.audit_counters(store);
    }

    fn settle(&mut self, at: Moment, settle: &Settle, outcome: Result<(), StaleLease>) {
        let now = at.millis;
        let id = settle.delivery;
        let current = self.rows.get(&id).and_then(|row| row.lease) == Some(settle.lease);
        self.check(outcome.is_ok() == current, Invariant::I7, || {
            format!("{id}: its lease was current: {current}, and {outcome:?} was said")
        });
        if outcome.is_err() || self.is_broken() {
            return;
        }
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        row.lease = None;
        row.in_flight = false;
        let ended = row.ended.take();
        let mut number_right = true;
        let own_failures = row.own_failures;
        row.own_failures = 0;
        let ours = std::mem::take(&mut row.ours);
        if let Some(attempt) = &settle.attempt {
            if row.kind == EventKind::Progress
                && let Some(lane) = self.lanes.get_mut(&row.lane)
            {
                lane.progress_at = Some((id, row.sent_at));
            }
            row.settled += 1;
            number_right = attempt.number == row.settled;
            if attempt.failure().is_some() {
                row.first_failed_at.get_or_insert(now);
            }
        }
        let (settled, answered, begun) = (row.settled, row.answered_ok > 0, row.begun);
        let most = self.attempts_max();
        self.check(number_right && settled <= most, Invariant::I6, || {
            format!(
                "{id}: attempt {settled} of at most {most}: {:?}",
                settle.attempt
            )
        });
        let charged = ours && settle.attempt.is_some() && settle.outcome != Outcome::Delivered;
        self.check(!charged, Invariant::I6, || {
            format!("{id} is charged with our own failure")
        });
        match settle.outcome {
            Outcome::Released | Outcome::Superseded => {}
            Outcome::Delivered => {
                self.check(answered, Invariant::I1, || {
                    format!("{id} counts as delivered after {begun} attempts, none answered 2xx")
                });
                self.close(now, id, State::Delivered);
            }
            Outcome::Dead { reason } => {
                let has_secret = self.rules.has_global_secret;
                let missing = reason == DeadReason::SecretMissing;
                self.check(!(missing && has_secret), Invariant::I1, || {
                    format!("{id} died for want of a secret that there is")
                });
                let used_up = reason != DeadReason::Exhausted || settled == most;
                self.check(used_up, Invariant::I1, || {
                    format!("{id} is {reason} after {settled} of {most} attempts")
                });
                let endpoint = self.rows.get(&id).map(|row| row.lane.endpoint);
                if let Some(endpoint) = endpoint.filter(|_| reason == DeadReason::Gone) {
                    self.disabled.insert(endpoint);
                    self.fall_ill(now, endpoint);
                }
                self.close(now, id, State::Dead(reason));
            }
            Outcome::Retry { after } => self.retry(now, id, settled, after, ended),
            Outcome::Postponed { after } if !ours => self.spare(now, id, after, ended),
            Outcome::Postponed { after } => self.postpone(now, id, own_failures, after),
        }
    }

    /// A probe that fails uses up no last attempt.
    fn spare(&mut self, now: u64, id: DeliveryId, after: Duration, asked: Option<Duration>) {
        let most = self.attempts_max();
        let last = self.rules.schedule.last().copied();
        let wait = last.map_or(Duration::from_secs(30), |last| {
            last.max(Duration::from_secs(1))
        });
        let asked = asked.unwrap_or_default();
        let (earliest, latest) = (wait.max(asked), (wait + wait / 5).max(asked));
        let row = self.rows.get_mut(&id);
        let is_last = row.is_some_and(|row| {
            row.begun = row.begun.saturating_sub(1);
            row.is_probe && row.settled + 1 >= most
        });
        let is_right = is_last && (earliest..=latest).contains(&after);
        self.check(is_right, Invariant::I6, || {
            format!("{id} is spared an attempt (its last, and a probe: {is_last}), for {after:?}")
        });
        self.put_off(id, now.saturating_add(millis(after)));
    }

    /// What we could not send is no attempt; it waits a second, then two, and so
    /// on to a minute.
    fn postpone(&mut self, now: u64, id: DeliveryId, before: u32, after: Duration) {
        let wait = Duration::from_secs(1 << before.min(6)).min(Duration::from_secs(60));
        // One that died while nobody was told may have waited before.
        let in_time = (wait..=Duration::from_secs(60)).contains(&after);
        self.check(in_time, Invariant::I6, || {
            format!("{id} is tried again {after:?} after its failure, not {wait:?}")
        });
        if let Some(row) = self.rows.get_mut(&id) {
            row.begun -= 1;
            row.own_failures = before + 1;
        }
        self.put_off(id, now.saturating_add(millis(after)));
    }

    fn retry(
        &mut self,
        now: u64,
        id: DeliveryId,
        settled: u32,
        after: Duration,
        asked: Option<Duration>,
    ) {
        let wait = usize::try_from(settled).ok();
        let wait = wait.and_then(|nth| self.rules.schedule.get(nth.checked_sub(1)?).copied());
        let (Some(wait), Some(asked)) = (wait, asked) else {
            self.check(false, Invariant::I6, || {
                format!("{id}: no retry is left after {settled}")
            });
            return;
        };
        let earliest = wait.max(asked);
        let latest = (wait + wait / 5).max(asked);
        self.check((earliest..=latest).contains(&after), Invariant::I6, || {
            format!("{id}: retry {settled} is due in {after:?}, not {earliest:?}..={latest:?}")
        });
        self.put_off(id, now.saturating_add(millis(after)));
    }

    /// A delivery whose attempt has ended waits until then.
    fn put_off(&mut self, id: DeliveryId, due_at: u64) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        row.due_at = due_at;
        let (lane, is_progress) = (row.lane.clone(), row.kind == EventKind::Progress);
        let newer = self.newer_kinds(id);
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.due_latest = lane.due_latest.max(due_at);
            if is_progress && newer.iter().all(|&kind| kind == EventKind::Progress) {
                lane.progress_not_before = Some(due_at);
            }
        }
    }

    /// Takes a delivery out of its lane, for good.
    pub(super) fn close(&mut self, now: u64, id: DeliveryId, state: State) {
        let Some(row) = self.rows.get_mut(&id) else {
            return;
        };
        row.state = state;
        row.lease = None;
        row.died_in = self.batches;
        let sequence = row.event.sequence();
        let (lane_key, gone) = (row.lane.clone(), row.job_gone);
        if let Some(job) = self.jobs.get_mut(&lane_key.job).filter(|_| !gone) {
            job.touched_at = now;
        }
        let lane = self.lanes.entry(lane_key).or_default();
        if lane.waiting.first() == Some(&id) {
            lane.head_since = now;
        }
        lane.waiting.retain(|&other| other != id);
        let last = lane.delivered;
        if state == State::Delivered {
            lane.delivered = sequence;
        }
        match state {
            State::Delivered => self.figures.delivered += 1,
            State::Superseded => self.figures.superseded += 1,
            State::Dead(reason) => {
                self.figures.dead += 1;
                self.figures.expired += u64::from(reason == DeadReason::Expired);
                self.figures.overtaken += u64::from(reason == DeadReason::Overtaken);
            }
            State::Pending => {}
        }
        self.check(
            state != State::Delivered || sequence > last,
            Invariant::I5,
            || format!("{id}: {sequence} was delivered after {last}"),
        );
        if gone && !matches!(state, State::Dead(_)) {
            self.rows.remove(&id);
        }
    }

    /// A delivery was handed out to be attempted.
    fn leased(&mut self, at: Moment, delivery: &Delivery, lease: Lease) {
        let id = delivery.id;
        self.may_be_worked_on(at, delivery);
        self.says_how_it_is(delivery);
        let Some(row) = self.rows.get(&id) else {
            return;
        };
        let free = row.lease.is_none();
        let enabled = !self.disabled.contains(&row.lane.endpoint);
        let same = row.generation == delivery.generation
            && row.lane == delivery.lane
            && row.event == delivery.record.id()
            && row.url == delivery.endpoint.url.as_str();
        let counted = row.settled == delivery.attempts_made;
        let overtaken = self.overtaken_at(id).is_some_and(|by| at.millis > by);
        self.check(free, Invariant::I7, || format!("{id} was leased twice"));
        self.check(enabled, Invariant::I6, || {
            format!("{id}: its endpoint is disabled")
        });
        self.check(same, Invariant::I1, || {
            format!("{id} is not what was accepted")
        });
        self.check(counted, Invariant::I6, || {
            format!(
                "{id}: {} attempts are said to be made",
                delivery.attempts_made
            )
        });
        self.check(delivery.due_at <= at.now, Invariant::I6, || {
            format!("{id}: due at {:?}, leased at {:?}", delivery.due_at, at.now)
        });
        self.check(!overtaken, Invariant::I6, || {
            format!("{id} has had its time")
        });
        if let Some(row) = self.rows.get_mut(&id) {
            row.lease = Some(lease);
            let lane = self.lanes.entry(row.lane.clone()).or_default();
            lane.due_latest = lane.due_latest.max(at.millis);
        }
    }

    /// Until when a delivery may hold up its job's terminal one, if it does. That time
    /// stands still while its endpoint is ill, and begins anew when that is well.
    pub(super) fn overtaken_at(&self, id: DeliveryId) -> Option<u64> {
        let row = self.rows.get(&id)?;
        let last = self.lanes.get(&row.lane)?.waiting.last()?;
        let last = self.rows.get(last)?;
        if row.kind == EventKind::Terminal || last.kind != EventKind::Terminal {
            return None;
        }
        if self.is_ill(row.lane.endpoint) {
            return None;
        }
        let since = row.first_failed_at?.max(last.accepted_at);
        let since = since.max(self.well_since(row.lane.endpoint));
        Some(since + OVERTAKEN_AFTER)
    }

    /// The kinds of what waits behind a delivery.
    pub(super) fn newer_kinds(&self, id: DeliveryId) -> Vec<EventKind> {
        let lane = self.rows.get(&id).and_then(|row| self.lanes.get(&row.lane));
        let waiting = lane.map_or(&[][..], |lane| &lane.waiting);
        let behind = waiting.iter().skip_while(|&&other| other != id).skip(1);
        behind
            .filter_map(|id| Some(self.rows.get(id)?.kind))
            .collect()
    }
}
