//! The gate before the committer: so many operations and bytes may wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Settings;
use crate::error::NotifyError;

/// Bounds what waits for its commit.
pub(super) struct Admission {
    operations: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    wait_max: Duration,
}

/// A place among the waiting; given back when dropped.
pub(super) struct Admitted {
    _operation: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            operations: Arc::new(Semaphore::new(settings.waiting_operations_max)),
            bytes: Arc::new(Semaphore::new(settings.waiting_bytes_max)),
            wait_max: settings.admission_wait,
        }
    }

    /// Waits for a place, but not for long.
    pub(super) async fn enter(&self, bytes: usize) -> Result<Admitted, NotifyError> {
        let bytes = u32::try_from(bytes).map_err(|_| NotifyError::overloaded())?;
        let places = async {
            let operation = Arc::clone(&self.operations).acquire_owned().await.ok()?;
            let bytes = Arc::clone(&self.bytes)
                .acquire_many_owned(bytes)
                .await
                .ok()?;
            Some(Admitted {
                _operation: operation,
                _bytes: bytes,
            })
        };
        let admitted = tokio::time::timeout(self.wait_max, places).await;
        admitted.ok().flatten().ok_or(NotifyError::overloaded())
    }
}
