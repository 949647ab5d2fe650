//! Carrying out what the ledger has decided.

use notify_core::clock::ClockStep;
use notify_core::delivery::{Attempt, DeliveryState, Undelivered};
use notify_core::ledger::{
    Bounds, Changed, Changes, Decided, DeliveryChange, End, EndpointRow, Grant, JobRow,
};
use notify_core::retention::Holder;
use notify_core::store::Written;
use notify_core::{EndpointId, JobId, Timestamp};

use super::tables::{Delivery, Job, Known, Letter, Tables};

impl Tables {
    pub(super) fn apply(&mut self, now: Timestamp, decided: Decided) -> Written {
        let Decided {
            mut changes,
            mut written,
        } = decided;
        self.pending.apply(now, &changes);
        let touched: Vec<EndpointId> = changes.endpoints.iter().map(id_of).collect();
        let grants = std::mem::take(&mut changes.grants);
        self.change(now, changes);
        self.released.extend(touched);
        self.forget_released();
        let leased = grants.into_iter().filter_map(|grant: Grant| {
            let delivery = self.deliveries.get(&grant.row.id)?;
            let record = delivery.record.clone()?;
            Some(grant.leased(record))
        });
        written.leased = leased.collect();
        written.next_due_in = self.pending.next_due_in(now);
        written
    }

    fn change(&mut self, now: Timestamp, changes: Changes) {
        self.forget_deleted(changes.jobs_gone, changes.endpoints_gone);
        for endpoint in changes.endpoints {
            self.put_endpoint(now, endpoint);
        }
        for job in changes.jobs {
            self.put_job(now, job);
        }
        for (number, sequences) in changes.progress {
            if let Some(job) = self.job_numbered(number) {
                job.progress = sequences;
            }
        }
        for event in changes.events {
            let bytes = event.record.memory_bytes();
            if let Some(job) = self.job_numbered(event.job) {
                job.events.insert(event.record.sequence(), event.record);
                self.bytes += bytes;
            }
        }
        for (number, sequence) in changes.outdated {
            let job = self.job_numbered(number);
            if let Some(record) = job.and_then(|job| job.events.remove(&sequence)) {
                self.bytes = self.bytes.saturating_sub(record.memory_bytes());
            }
        }
        for key in changes.keys {
            if let Some(job) = self.job_numbered(key.job) {
                let row = notify_core::ledger::KeyRow {
                    fingerprint: key.fingerprint,
                    sequence: key.sequence,
                };
                job.keys.insert(key.key, row);
                self.bytes += Bounds::DELIVERY_BYTES;
            }
        }
        for number in changes.letters_gone {
            self.take_letter(number);
        }
        for delivery in changes.deliveries {
            self.put_delivery(now, delivery);
        }
        for letter in changes.letters {
            let kept = Letter {
                of: letter.of,
                reason: letter.reason,
                died_at: now,
                history: Vec::new(),
            };
            self.keep_letter(letter.number, kept);
        }
        for number in changes.unlisted {
            self.forget_oldest_settled(number);
        }
    }

    /// Brings what is kept to the time of a clock that was set.
    pub(super) fn clock_set(&mut self, step: ClockStep) {
        self.pending.clock_set(step);
        for known in self.endpoints.values_mut() {
            if let Some(carried) = known.row.endpoint.with_times(|at| step.stamp(at)) {
                self.pending.set_sick(carried.id, carried.sick_since);
                known.row.endpoint = carried.into();
            }
        }
    }

    fn put_endpoint(&mut self, now: Timestamp, Changed { before, row }: Changed<EndpointRow>) {
        let id = row.endpoint.id;
        if before.is_none() {
            self.urls.insert(row.endpoint.url.clone(), id);
            self.endpoint_ids.insert(row.number, id);
            self.endpoints.insert(
                id,
                Known {
                    row,
                    named: 0,
                    named_at: now,
                },
            );
        } else if let Some(known) = self.endpoints.get_mut(&id) {
            known.row = row;
        }
    }

    fn put_job(&mut self, now: Timestamp, Changed { before, row }: Changed<JobRow>) {
        let number = row.number;
        let old = before.as_ref();
        let old_end = old.and_then(|before| before.ended_at);
        if old_end != row.ended_at {
            if let Some(at) = old_end {
                self.ended.remove(&(at, number));
            }
            if let Some(at) = row.ended_at {
                self.ended.insert((at, number));
            }
        }
        let old_webhook = old.and_then(|before| before.webhook);
        let webhooks = (old_webhook, row.webhook);
        match (before, self.jobs.get_mut(&row.id)) {
            (Some(_), Some(job)) => job.row = row,
            _ => self.add_job(row),
        }
        if let (old, Some(new)) = webhooks
            && old.is_none_or(|old| old.endpoint != new.endpoint)
        {
            self.name_endpoint(now, new.endpoint);
            if let Some(old) = old {
                self.release_endpoint(old.endpoint);
            }
        }
    }

    fn add_job(&mut self, row: JobRow) {
        self.bytes += Bounds::JOB_BYTES;
        self.job_ids.insert(row.number, row.id.clone());
        let job = Job {
            events: Default::default(),
            progress: Default::default(),
            keys: Default::default(),
            deliveries: Default::default(),
            row,
        };
        self.jobs.insert(job.row.id.clone(), job);
    }

    fn put_delivery(&mut self, now: Timestamp, change: DeliveryChange) {
        let DeliveryChange {
            lane,
            before,
            row,
            record,
            attempts,
            end,
        } = change;
        if before.is_none() {
            let Some(record) = record else { return };
            self.name_endpoint(now, lane.endpoint);
            // A redelivery takes the place of what it was.
            self.forget_delivery(row.id);
            self.bytes += Bounds::DELIVERY_BYTES;
            if row.job.is_none() {
                let orphans = self.orphans.entry(lane.job.clone()).or_default();
                orphans.insert(row.id);
            } else if let Some(job) = self.jobs.get_mut(&lane.job) {
                job.deliveries.insert(row.number, row.id);
            }
            let delivery = Delivery {
                number: row.number,
                job: row.job,
                lane,
                event: record.id(),
                record: Some(record),
                state: DeliveryState::Pending,
                generation: row.generation,
                attempts: Vec::new(),
            };
            self.deliveries.insert(row.id, delivery);
        }
        let Some(delivery) = self.deliveries.get_mut(&row.id) else {
            return;
        };
        self.bytes += attempts.iter().map(attempt_bytes).sum::<usize>();
        delivery.attempts.extend(attempts);
        let Some(end) = end else { return };
        let Some(state) = end.state() else {
            return self.forget_delivery(row.id);
        };
        delivery.state = state;
        let record = delivery.record.take();
        if let (End::Dead { letter, reason }, Some(record)) = (end, record) {
            let url = self.endpoints.get(&delivery.lane.endpoint);
            let url = url.map(|known| known.row.endpoint.url.as_str().to_owned());
            let kept = Letter {
                of: Undelivered {
                    id: row.id,
                    job: delivery.lane.job.clone(),
                    record,
                    endpoint: Some(delivery.lane.endpoint),
                    url: url.unwrap_or_default(),
                    generation: row.generation,
                },
                reason,
                died_at: now,
                history: delivery.attempts.clone(),
            };
            self.keep_letter(letter, kept);
        }
        if row.job.is_none() {
            // A redelivery that outlived its job: nobody can ask for it.
            self.forget_delivery(row.id);
        }
    }

    fn keep_letter(&mut self, number: u64, letter: Letter) {
        self.letter_numbers.insert(letter.of.id, number);
        self.holders.add(&Holder::of(&letter.of), letter.bytes());
        self.letters.insert(number, letter);
        while self.letters.len() > self.limits.dead_letters_max
            && let Some((&oldest, _)) = self.letters.first_key_value()
        {
            self.take_letter(oldest);
            self.crowded_out += 1;
        }
    }

    pub(super) fn take_letter(&mut self, number: u64) -> Option<Letter> {
        let letter = self.letters.remove(&number)?;
        self.holders.remove(&Holder::of(&letter.of), letter.bytes());
        if self.letter_numbers.get(&letter.of.id) == Some(&number) {
            self.letter_numbers.remove(&letter.of.id);
        }
        Some(letter)
    }

    fn job_numbered(&mut self, number: u64) -> Option<&mut Job> {
        let id: &JobId = self.job_ids.get(&number)?;
        self.jobs.get_mut(id)
    }

    fn name_endpoint(&mut self, now: Timestamp, id: EndpointId) {
        if let Some(known) = self.endpoints.get_mut(&id) {
            self.remembered.remove(&(known.named_at, id));
            known.named += 1;
            known.named_at = now;
        }
    }
}

/// What an attempt occupies, roughly.
pub(super) fn attempt_bytes(attempt: &Attempt) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    size_of::<Attempt>() + text(&attempt.error) + text(&attempt.snippet)
}

fn id_of(endpoint: &Changed<EndpointRow>) -> EndpointId {
    endpoint.row.endpoint.id
}
