//! Endpoints: enabled and disabled, given other secrets, tried.

use std::sync::Arc;
use std::time::Duration;

use notify_core::endpoint::Endpoint;
use notify_core::store::{Answer, EndpointChange, Operation};
use notify_core::{EndpointId, Secret};

use super::JobNotifier;
use crate::engine::TestAnswer;
use crate::error::NotifyError;
use crate::random;

impl JobNotifier {
    /// The longest that an old secret stays active beside its successor.
    pub const EXPIRE_OLD_AFTER_MAX: Duration = Duration::from_secs(30 * 86_400);

    /// Says whether an endpoint's deliveries are attempted. While they are not they
    /// wait, and new ones come to wait too.
    ///
    /// # Errors
    /// [`NotifyError::EndpointUnknown`], or that the store fails.
    pub async fn set_endpoint_enabled(
        &self,
        endpoint: EndpointId,
        enabled: bool,
    ) -> Result<Arc<Endpoint>, NotifyError> {
        let change = EndpointChange::Enabled(enabled);
        self.change_endpoint(endpoint, change).await
    }

    /// Gives an endpoint another secret of its own, which is made up if none is given.
    /// The one before signs too for `expire_old_after`, at most
    /// [`EXPIRE_OLD_AFTER_MAX`](Self::EXPIRE_OLD_AFTER_MAX), so that the receiver can
    /// change to the new one meanwhile. Returns the new one, which is not to be seen
    /// again.
    ///
    /// Giving it the secret again that is its newest already changes nothing.
    ///
    /// # Errors
    /// [`NotifyError::RotationInProgress`] while two are active; others if the secret
    /// or the endpoint is none, or the store fails.
    pub async fn rotate_secret(
        &self,
        endpoint: EndpointId,
        secret: Option<&str>,
        expire_old_after: Duration,
    ) -> Result<Secret, NotifyError> {
        let secret = match secret {
            Some(text) => Secret::parse(text)?,
            None => Secret::from_random(*random::secret_bytes()?),
        };
        let change = EndpointChange::Rotate {
            secret: Box::new(secret.clone()),
            expire_old_after: expire_old_after.min(Self::EXPIRE_OLD_AFTER_MAX),
        };
        self.change_endpoint(endpoint, change).await?;
        Ok(secret)
    }

    /// Sends an endpoint one message of the type `notify.test`, signed like any other,
    /// and says what came back. Nothing is kept of it, and nothing is charged to the
    /// endpoint; one that is disabled can be tried too.
    ///
    /// # Errors
    /// [`NotifyError::EndpointUnknown`], [`NotifyError::SigningSecretMissing`],
    /// [`NotifyError::AddressRefused`], or [`NotifyError::Overloaded`] while
    /// many are tried.
    ///
    /// # Cancel safety
    /// Dropping the future ends the attempt, wherever it is.
    pub async fn test_endpoint(&self, endpoint: EndpointId) -> Result<TestAnswer, NotifyError> {
        let engine = self.engine()?;
        let known = engine.archive().endpoint(endpoint).await?;
        engine
            .test(&*known.ok_or(NotifyError::EndpointUnknown)?)
            .await
    }

    async fn change_endpoint(
        &self,
        endpoint: EndpointId,
        change: EndpointChange,
    ) -> Result<Arc<Endpoint>, NotifyError> {
        let operation = Operation::ChangeEndpoint { endpoint, change };
        match self.engine()?.submit(operation, 0).await?? {
            Answer::Endpoint(endpoint) => Ok(endpoint),
            _ => Err(NotifyError::Internal),
        }
    }
}
