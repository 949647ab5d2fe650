//! Retention: what is forgotten, and when.

use std::time::Duration;

use notify_core::Timestamp;

use super::{Job, Letter, Model};

/// How many dead letters may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LettersRoom {
    /// Of one endpoint, or of a job where there is none.
    pub per_endpoint_max: u64,
    /// Altogether, in bytes: of each its event, its URL and the texts of its attempts,
    /// 512 for itself and 128 for each attempt.
    pub bytes_max: u64,
}

/// What a step of forgetting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Jobs and dead letters that are forgotten.
    pub forgotten: u64,
    /// Of these, dead letters for which there was no room.
    pub crowded_out: u64,
    /// Whether there is more to forget.
    pub more: bool,
}

impl Model {
    /// Forgets jobs that have been over for `jobs_kept`, those that ended first
    /// going first, until `rows_max` rows have gone, and as many dead letters that
    /// were given up `letters_kept` ago. A running job is never forgotten, nor one
    /// with something pending. Where no dead letter is over, those leave for which
    /// there is no `room`.
    pub fn trim(
        &mut self,
        now: Timestamp,
        jobs_kept: Duration,
        letters_kept: Duration,
        room: LettersRoom,
        rows_max: usize,
    ) -> Trimmed {
        let mut trimmed = Trimmed::default();
        let mut rows = 0;
        while let Some(job) = self.first_over(now, jobs_kept).cloned() {
            if rows >= rows_max {
                trimmed.more = true;
                break;
            }
            rows += self.rows(&job);
            self.jobs.retain(|other| other.epoch != job.epoch);
            self.deliveries
                .retain(|delivery| delivery.record.id().epoch() != job.epoch);
            trimmed.forgotten += 1;
        }
        let mut left = Vec::new();
        let (mut dropped, mut is_any_left_over) = (0, false);
        for letter in self.letters.drain(..) {
            let is_over = now.since(letter.died_at) >= letters_kept;
            if is_over && dropped < rows_max {
                dropped += 1;
                trimmed.forgotten += 1;
            } else {
                is_any_left_over |= is_over;
                left.push(letter);
            }
        }
        self.letters = left;
        while !is_any_left_over && let Some(number) = self.without_room(room) {
            if dropped == rows_max {
                trimmed.more = true;
                break;
            }
            self.letters.retain(|letter| letter.number != number);
            dropped += 1;
            trimmed.crowded_out += 1;
            trimmed.forgotten += 1;
        }
        trimmed.more |= is_any_left_over;
        self.forget_endpoints(now, letters_kept);
        trimmed
    }

    /// Forgets endpoints that were seen to be named for the last time as long ago as
    /// dead letters are kept.
    fn forget_endpoints(&mut self, now: Timestamp, kept: Duration) {
        for endpoint in std::mem::take(&mut self.endpoints) {
            let url = &endpoint.url;
            let tells = |job: &Job| job.webhook.as_ref().is_some_and(|(told, _)| told == url);
            let is_named = self.jobs.iter().any(tells)
                || self.deliveries.iter().any(|delivery| delivery.url == *url);
            let seen = self.seen_named.iter().find(|(seen, _)| seen == url);
            let seen_at = seen.filter(|_| !is_named).map_or(now, |(_, at)| *at);
            self.seen_named.retain(|(seen, _)| seen != url);
            if is_named || now.since(seen_at) < kept {
                self.seen_named.push((url.clone(), seen_at));
                self.endpoints.push(endpoint);
            }
        }
    }

    /// The oldest dead letter of an endpoint that has too many; or else, if they are
    /// too large altogether, of the one that has most. What came to no endpoint is its
    /// job's.
    fn without_room(&self, room: LettersRoom) -> Option<u64> {
        let of = |letter: &Letter| -> Vec<&Letter> {
            let letters = self.letters.iter();
            letters.filter(|it| is_same_holder(it, letter)).collect()
        };
        let size = |letters: &[&Letter]| letters.iter().map(|letter| bytes(letter)).sum::<u64>();
        let mut letters = self.letters.iter();
        let crowded = letters.find(|letter| of(letter).len() as u64 > room.per_endpoint_max);
        let all: Vec<&Letter> = self.letters.iter().collect();
        let is_too_much = size(&all) > room.bytes_max;
        let largest = self
            .letters
            .iter()
            .rev()
            .max_by_key(|letter| size(&of(letter)));
        let holder = crowded.or(largest.filter(|_| is_too_much))?;
        of(holder).first().map(|oldest| oldest.number)
    }

    fn first_over(&self, now: Timestamp, kept: Duration) -> Option<&Job> {
        let over = self.jobs.iter().filter(|job| {
            let mut pending = self.deliveries.iter().filter(|it| it.is_pending());
            let waits = pending.any(|delivery| delivery.record.id().epoch() == job.epoch);
            job.has_ended() && !waits && now.since(job.quiet_since) >= kept
        });
        over.min_by_key(|job| job.quiet_since)
    }

    /// A job's events, keys, deliveries and attempts, and itself.
    fn rows(&self, job: &Job) -> usize {
        let deliveries = self.deliveries.iter();
        let deliveries = deliveries.filter(|delivery| delivery.record.id().epoch() == job.epoch);
        let deliveries: usize = deliveries.map(|it| 1 + it.attempts.len()).sum();
        1 + self.kept(job).len() + job.keys() + deliveries
    }
}

fn is_same_holder(one: &Letter, other: &Letter) -> bool {
    let (one, other) = (&one.delivery, &other.delivery);
    one.url == other.url
}

fn bytes(letter: &Letter) -> u64 {
    let Letter { delivery, .. } = letter;
    let attempts = delivery.attempts.iter().map(|attempt| {
        let texts = [&attempt.error, &attempt.snippet];
        128 + texts.into_iter().flatten().map(String::len).sum::<usize>()
    });
    let event = delivery.record.json().len() + delivery.url.as_str().len();
    (512 + event + attempts.sum::<usize>()) as u64
}
