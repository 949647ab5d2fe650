//! Deletion: a job or an endpoint is forgotten with all that it has, at once.

use notify_core::{EndpointUrl, JobId, Timestamp};

use super::Model;

/// Why nothing is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDeleted {
    /// Nothing is kept of it.
    Unknown,
    /// The job has not ended.
    Running,
}

impl Model {
    /// Forgets a job, its deliveries, settled or not, and its dead letters; also what
    /// is left of jobs that had its id before. One that has not ended goes only by
    /// `force`.
    ///
    /// # Errors
    /// [`NotDeleted`]; then nothing has changed.
    pub fn delete_job(&mut self, id: &JobId, force: bool) -> Result<(), NotDeleted> {
        let job = self.jobs.iter().find(|job| job.id == *id);
        if job.is_some_and(|job| !job.has_ended()) && !force {
            return Err(NotDeleted::Running);
        }
        let is_known = job.is_some()
            || self.deliveries.iter().any(|it| it.job == *id)
            || self.letters.iter().any(|it| it.delivery.job == *id);
        if !is_known {
            return Err(NotDeleted::Unknown);
        }
        self.jobs.retain(|job| job.id != *id);
        self.deliveries.retain(|delivery| delivery.job != *id);
        self.letters.retain(|letter| letter.delivery.job != *id);
        Ok(())
    }

    /// Forgets the endpoint at this URL, every delivery to it and its dead letters.
    /// Whoever told it tells nobody. A job that waited for nothing else is quiet now.
    ///
    /// # Errors
    /// [`NotDeleted::Unknown`]; then nothing has changed.
    pub fn delete_endpoint(&mut self, now: Timestamp, url: &EndpointUrl) -> Result<(), NotDeleted> {
        if self.endpoint_at(url).is_none() {
            return Err(NotDeleted::Unknown);
        }
        self.endpoints.retain(|endpoint| endpoint.url != *url);
        self.seen_named.retain(|(seen, _)| seen != url);
        self.letters.retain(|letter| letter.delivery.url != *url);
        let (gone, left): (Vec<_>, Vec<_>) =
            self.deliveries.drain(..).partition(|it| it.url == *url);
        self.deliveries = left;
        for delivery in gone.iter().filter(|delivery| delivery.is_pending()) {
            if let Some(job) = self.job_mut(delivery.record.id().epoch()) {
                job.quiet_since = now;
            }
        }
        for job in &mut self.jobs {
            job.webhook.take_if(|(told, _)| told == url);
            job.progress_sent.retain(|(sent, _)| sent != url);
        }
        Ok(())
    }
}
