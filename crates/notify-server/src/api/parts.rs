//! What the API is made of.

use std::sync::Arc;

use notify_core::Archive;
use notify_core::EventLimits;
use notify_hub::{JobNotifier, NotifyError};
use notify_sse::ApiKeyHash;

use super::body::Bodies;

/// What the API is made of.
pub(crate) struct Parts {
    pub(crate) notifier: Arc<JobNotifier>,
    pub(crate) key: ApiKeyHash,
    /// Where customers reach the server, without a slash at its end.
    pub(crate) base_url: String,
    pub(crate) event_limits: EventLimits,
    /// The room for the bodies of requests.
    pub(crate) bodies: Bodies,
}

impl Parts {
    /// What is kept, for reading.
    pub(super) fn archive(&self) -> Result<&Arc<dyn Archive>, NotifyError> {
        self.notifier.archive()
    }
}

/// What every call needs.
pub(super) type Api = Arc<Parts>;
