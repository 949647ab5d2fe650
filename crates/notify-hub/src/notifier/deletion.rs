//! Jobs and endpoints: forgotten with all that they have.

use notify_core::store::{Answer, Deletion, Doomed, Operation};
use notify_core::{EndpointId, JobId};

use super::JobNotifier;
use crate::error::NotifyError;

impl JobNotifier {
    /// Forgets a job with all that it has: its log, its token, its deliveries, and the
    /// dead letters of every job that ever had its id. Its subscriptions end, and
    /// nothing more of it is sent; an attempt that is under way may still reach its
    /// receiver, and is noted nowhere. An event that comes afterwards begins another
    /// job. A job that has not ended goes only if that is forced with `force`.
    ///
    /// A job with very much pending, or many dead letters, goes in bounded steps. Until
    /// the last one, which this waits for, it is there, and what comes to it goes with
    /// it.
    ///
    /// # Errors
    /// [`NotifyError::JobRunning`] without `force`; [`NotifyError::JobUnknown`] if
    /// nothing is kept under this id; others if it is none, or the store fails. After
    /// [`NotifyError::OutcomeUnknown`] a part of it may be gone, and the same call does
    /// the rest.
    ///
    /// # Cancel safety
    /// Once it is admitted it is carried out to its end, whoever waits for it.
    pub async fn delete_job(&self, job: &str, force: bool) -> Result<(), NotifyError> {
        let id = JobId::parse(job)?;
        self.delete(Doomed::Job { id, force }).await
    }

    /// Forgets an endpoint with all that it has: its secrets, what is pending for it,
    /// and its dead letters. Jobs that tell it tell nobody afterwards, and their lists
    /// show no deliveries to it any more. From the first step on nothing more is sent to
    /// it; an attempt that is under way may still reach it, and is noted nowhere. An
    /// event or a registration that names its URL afterwards makes another endpoint.
    ///
    /// Goes in bounded steps; this waits for the last one, until which it is there,
    /// disabled, and what comes to it goes with it.
    ///
    /// # Errors
    /// [`NotifyError::EndpointUnknown`] if nothing is kept of it; others if the store
    /// fails. After [`NotifyError::OutcomeUnknown`] it may be disabled and a part of it
    /// gone, and the same call does the rest.
    ///
    /// # Cancel safety
    /// As of [`delete_job`](Self::delete_job).
    pub async fn delete_endpoint(&self, endpoint: EndpointId) -> Result<(), NotifyError> {
        self.delete(Doomed::Endpoint(endpoint)).await
    }

    async fn delete(&self, what: Doomed) -> Result<(), NotifyError> {
        let operation = Operation::Delete(Deletion::of(what));
        match self.engine()?.submit(operation, 0).await?? {
            Answer::Deleted { .. } => Ok(()),
            _ => Err(NotifyError::Internal),
        }
    }
}
