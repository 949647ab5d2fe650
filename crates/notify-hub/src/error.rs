//! Why a call was refused, named by the field and the rule.

use std::time::Duration;

use notify_core::EventId;
use notify_core::commit::CommitError;
use notify_core::endpoint::UrlInvalid;
use notify_core::event::EventInvalid;
use notify_core::id::{IdempotencyKeyInvalid, JobIdInvalid};
use notify_core::signing::SecretInvalid;
use notify_core::store::{FilterEmpty, Refusal, StoreError};
use notify_core::transport::{AddressRefused, VetError};

use crate::config::ConfigInvalid;

/// Why a [`JobNotifier`](crate::JobNotifier) refused a call. A refused call has
/// changed nothing, except where the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The text is no job id.
    #[error(transparent)]
    JobId(#[from] JobIdInvalid),
    /// The event breaks a rule.
    #[error(transparent)]
    Event(#[from] EventInvalid),
    /// The idempotency key breaks its rule.
    #[error(transparent)]
    IdempotencyKey(#[from] IdempotencyKeyInvalid),
    /// The webhook's URL breaks a rule.
    #[error("webhook url: {0}")]
    WebhookUrl(#[from] UrlInvalid),
    /// The webhook's address is not allowed.
    #[error("webhook url: {0}")]
    AddressRefused(#[from] AddressRefused),
    /// There is no secret to sign this webhook with.
    #[error("webhook: there is no secret to sign it with")]
    SigningSecretMissing,
    /// The text is no signing secret.
    #[error("secret: {0}")]
    SigningSecretInvalid(#[from] SecretInvalid),
    /// The job has ended with this event; nothing follows it.
    #[error("the job has ended with event {terminal}")]
    JobFinished {
        /// The job's terminal event.
        terminal: EventId,
    },
    /// The job is registered already.
    #[error("the job is registered already")]
    JobExists,
    /// The job has as many lifecycle events as a job may have.
    #[error("a job has at most 1000 lifecycle events")]
    TooManyEvents,
    /// The idempotency key was used with other content.
    #[error("the idempotency key was used with other content")]
    IdempotencyConflict,
    /// The endpoint is known with another secret.
    #[error("the endpoint is known with another secret")]
    EndpointSecretConflict,
    /// The endpoint has two active secrets; one of them has to expire first.
    #[error("the endpoint has two active secrets already")]
    RotationInProgress,
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    EndpointUnknown,
    /// There is no such job.
    #[error("there is no such job")]
    JobUnknown,
    /// The job has not ended, and is deleted only if that is forced.
    #[error("the job has not ended")]
    JobRunning,
    /// The filter names nothing, which is never taken for everything.
    #[error(transparent)]
    FilterEmpty(#[from] FilterEmpty),
    /// What was asked can't be done without this row, which is damaged.
    #[error("damaged: {0}")]
    RowDamaged(String),
    /// A bug of the notifier's.
    #[error("an internal error")]
    Internal,
    /// There is too much under way; try again after `retry_after`.
    #[error("overloaded; try again in {} s", retry_after.as_secs().max(1))]
    Overloaded {
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// A setting is wrong; every call says so.
    #[error(transparent)]
    ConfigInvalid(#[from] ConfigInvalid),
    /// The notifier does not take calls now.
    #[error("not ready: {0}")]
    NotReady(&'static str),
    /// The store has no space left.
    #[error("the store has no space left")]
    StoreFull,
    /// The store has failed and does nothing more.
    #[error("the store has failed")]
    StoreFailed,
    /// Whether the event was written is not known.
    #[error("whether it was written is not known")]
    OutcomeUnknown,
}

/// Why a notifier does nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store has failed, for this reason.
    #[error("the store has failed: {0}")]
    Store(String),
    /// A part of the notifier has ended though nobody asked it to.
    #[error("the {part} has ended: {why}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it came to.
        why: String,
    },
}

impl NotifyError {
    /// The error's name on the wire. The list is closed; a text never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::JobId(_) => "job_id_invalid",
            Self::Event(EventInvalid::Malformed) => "malformed_json",
            Self::Event(EventInvalid::TooLarge { .. }) => "payload_too_large",
            Self::Event(_) => "event_invalid",
            Self::IdempotencyKey(_) => "idempotency_key_invalid",
            Self::WebhookUrl(_) => "webhook_url_invalid",
            Self::AddressRefused(_) => "address_refused",
            Self::SigningSecretMissing => "signing_secret_missing",
            Self::SigningSecretInvalid(_) => "signing_secret_invalid",
            Self::JobFinished { .. } => "job_finished",
            Self::JobExists => "job_exists",
            Self::TooManyEvents => "too_many_events",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::EndpointSecretConflict => "endpoint_secret_conflict",
            Self::RotationInProgress => "rotation_in_progress",
            Self::EndpointUnknown => "endpoint_unknown",
            Self::JobUnknown => "job_unknown",
            Self::JobRunning => "job_running",
            Self::FilterEmpty(_) => "filter_empty",
            Self::RowDamaged(_) => "row_damaged",
            Self::Internal => "internal",
            Self::Overloaded { .. } => "overloaded",
            Self::ConfigInvalid(_) => "config_invalid",
            Self::NotReady(_) => "not_ready",
            Self::StoreFull => "store_full",
            Self::StoreFailed => "store_failed",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The field at fault, where it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::JobId(_) => Some("job_id"),
            Self::Event(invalid) => invalid.field(),
            Self::IdempotencyKey(_) => Some("idempotency_key"),
            Self::WebhookUrl(_) | Self::AddressRefused(_) => Some("webhook.url"),
            Self::SigningSecretMissing | Self::SigningSecretInvalid(_) => Some("webhook.secret"),
            Self::ConfigInvalid(invalid) => Some(invalid.field),
            Self::FilterEmpty(_) => Some("filter"),
            _ => None,
        }
    }

    /// How long a store that can't be asked now, or an admission, asks to wait.
    pub(crate) const fn overloaded() -> Self {
        Self::Overloaded {
            retry_after: Duration::from_secs(1),
        }
    }
}

impl From<VetError> for NotifyError {
    fn from(error: VetError) -> Self {
        match error {
            VetError::Invalid(invalid) => invalid.into(),
            VetError::Refused { refused, .. } => refused.into(),
        }
    }
}

impl From<StoreError> for NotifyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::StoreFull,
            StoreError::NotNow => Self::overloaded(),
            StoreError::Damaged(row) => Self::RowDamaged(row),
            StoreError::OutcomeUnknown => Self::OutcomeUnknown,
            _ => Self::StoreFailed,
        }
    }
}

impl From<CommitError> for NotifyError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            CommitError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for NotifyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Finished { terminal } => Self::JobFinished { terminal },
            Refusal::TooMany => Self::TooManyEvents,
            Refusal::Conflict => Self::IdempotencyConflict,
            Refusal::JobExists => Self::JobExists,
            Refusal::SecretConflict => Self::EndpointSecretConflict,
            Refusal::NoEndpoint => Self::EndpointUnknown,
            Refusal::NoJob => Self::JobUnknown,
            Refusal::JobRunning => Self::JobRunning,
            Refusal::RotationInProgress => Self::RotationInProgress,
            Refusal::Full => Self::overloaded(),
            Refusal::NoSpace => Self::StoreFull,
            Refusal::Damaged(row) => Self::RowDamaged(row),
            Refusal::OutcomeUnknown => Self::OutcomeUnknown,
            _ => Self::Internal,
        }
    }
}
