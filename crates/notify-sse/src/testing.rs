//! What this crate's tests share: a hub that tells nobody.

use std::sync::Arc;

use notify_core::transport::RecordingTransport;
use notify_hub::{JobNotifier, NotifierConfig};

pub(crate) fn hub() -> Arc<JobNotifier> {
    hub_with(NotifierConfig::default())
}

pub(crate) fn hub_with(config: NotifierConfig) -> Arc<JobNotifier> {
    let hub = JobNotifier::builder(config).transport(RecordingTransport::new());
    Arc::new(hub.build().unwrap())
}
