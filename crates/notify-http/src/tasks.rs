//! Tasks that belong to a transport and end with it.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::{AbortHandle, JoinSet};

/// A handle on them; cloning shares it. One of these tasks may hold it too, so they
/// end by [`Tasks::abort_all`] and not with the last handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Needs a runtime around it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is only dropped; a panic in it has ended its connection.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }

    pub(crate) fn abort_all(&self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

/// HTTP/2 splits its connections into tasks.
impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(async {
            task.await;
        });
    }
}
