//! The settings of the streams.

use std::time::Duration;

use crate::credentials::ApiKeyHash;

/// Settings of [`router_with`](crate::router_with). Every field has a default.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The operator's API key, which may read any job's stream. Default: none; only
    /// job tokens are taken.
    pub api_key: Option<ApiKeyHash>,
    /// After how much silence a comment is sent, ±20 %. What is not from a second
    /// to an hour counts as the nearer of the two. Default 15 s, as the HTML
    /// standard (9.2.7) advises.
    pub heartbeat_interval: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            api_key: None,
            heartbeat_interval: Duration::from_secs(15),
        }
    }
}
