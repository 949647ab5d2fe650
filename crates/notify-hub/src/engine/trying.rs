//! Trying an endpoint: one message that is kept nowhere.

use std::time::Duration;

use notify_core::delivery::Attempt;
use notify_core::endpoint::Endpoint;
use notify_core::{TransportError, webhook};

use super::Engine;
use crate::error::NotifyError;

/// What came back when an endpoint was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestAnswer {
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, if no answer came.
    pub error: Option<String>,
    /// The beginning of an answer that was not 2xx: at most 1 KiB of text, control
    /// characters escaped.
    pub snippet: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// How many endpoints are tried at once, at most.
pub(super) const TRIED_AT_ONCE_MAX: usize = 16;

impl Engine {
    /// See [`JobNotifier::test_endpoint`](crate::JobNotifier::test_endpoint).
    pub(crate) async fn test(&self, endpoint: &Endpoint) -> Result<TestAnswer, NotifyError> {
        self.start()?;
        let _place = self
            .tries
            .try_acquire()
            .map_err(|_| NotifyError::overloaded())?;
        let shared = &self.shared;
        let own = endpoint.keyring.as_ref();
        let keyring = own.or(shared.settings.keyring.as_ref());
        let keyring = keyring.ok_or(NotifyError::SigningSecretMissing)?;
        let epoch = self.fresh_ids()?.epoch;
        let (at, began) = (shared.clock.wall_now(), shared.at());
        let timeout = shared.settings.timeout;
        let request = webhook::test_request(endpoint, keyring, epoch, at, timeout);
        let outcome = shared.transport.send_boxed(request).await;
        let duration = shared.at().saturating_sub(began);
        Ok(match outcome {
            Ok(answer) => {
                let is_success = (200..300).contains(&answer.status);
                TestAnswer {
                    status: Some(answer.status),
                    error: None,
                    snippet: (!is_success)
                        .then(|| Attempt::snippet_of(&answer.body))
                        .flatten(),
                    duration,
                }
            }
            Err(TransportError::Refused(refused)) => return Err(refused.into()),
            Err(error) => TestAnswer {
                status: None,
                error: Some(error.to_string()),
                snippet: None,
                duration,
            },
        })
    }
}
