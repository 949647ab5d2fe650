//! How endpoints are, for whoever looks at them.

use notify_core::EndpointId;
use notify_core::schedule::EndpointHealth;

use super::JobNotifier;
use crate::error::NotifyError;

impl JobNotifier {
    /// How an endpoint is, as far as this process has sent it anything: one that is
    /// unknown is as well as one to which nothing was sent.
    ///
    /// # Errors
    /// [`NotifyError::ConfigInvalid`] after a wrong setting.
    pub fn endpoint_health(&self, endpoint: EndpointId) -> Result<EndpointHealth, NotifyError> {
        Ok(self.engine()?.endpoint_health(endpoint))
    }
}
