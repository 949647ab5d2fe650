//! Retention: what is forgotten, and when.

use std::time::Duration;

use notify_core::Timestamp;

use super::{Job, Model};

/// What a step of forgetting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Jobs and dead letters that are forgotten.
    pub forgotten: u64,
    /// Whether there is more to forget.
    pub more: bool,
}

impl Model {
    /// Forgets jobs that have been over for `jobs_kept`, those that ended first
    /// going first, until `rows_max` rows have gone, and as many dead letters that
    /// were given up `letters_kept` ago. A running job is never forgotten, nor one
    /// with something pending.
    pub fn trim(
        &mut self,
        now: Timestamp,
        jobs_kept: Duration,
        letters_kept: Duration,
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
        let mut dropped = 0;
        for letter in self.letters.drain(..) {
            let is_over = now.since(letter.died_at) >= letters_kept;
            if is_over && dropped < rows_max {
                dropped += 1;
                trimmed.forgotten += 1;
            } else {
                trimmed.more |= is_over;
                left.push(letter);
            }
        }
        self.letters = left;
        trimmed
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
