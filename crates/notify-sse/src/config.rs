//! The settings of the streams.

use std::fmt;
use std::time::Duration;

/// Settings of [`router_with`](crate::router_with). Every field has a default.
#[derive(Clone)]
pub struct StreamConfig {
    /// The SHA-256 of the operator's API key, which may read any job's stream.
    /// Default: none; only job tokens are taken.
    pub operator_key_sha256: Option<[u8; 32]>,
    /// After how much silence a comment is sent, ±20 %. What is not from a second
    /// to an hour counts as the nearer of the two. Default 15 s, as the HTML
    /// standard (9.2.7) advises.
    pub heartbeat_interval: Duration,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            operator_key_sha256: None,
            heartbeat_interval: Duration::from_secs(15),
        }
    }
}

impl fmt::Debug for StreamConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A weak key could be guessed from its hash.
        let operator_key = self.operator_key_sha256.map(|_| "(set)");
        f.debug_struct("StreamConfig")
            .field("operator_key_sha256", &operator_key)
            .field("heartbeat_interval", &self.heartbeat_interval)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_key_is_not_shown_even_as_a_hash() {
        let config = StreamConfig {
            operator_key_sha256: Some([171; 32]),
            ..StreamConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("(set)") && !shown.contains("171"), "{shown}");
    }
}
