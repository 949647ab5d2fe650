//! What the parts of the story tell each other.

use crate::client::Block;
use crate::receiver::Webhook;

/// What somebody in the story sees.
pub(super) enum Sight {
    /// The service is about to say something.
    Saying(String),
    /// What the service said was accepted.
    Accepted { id: String, is_progress: bool },
    /// The service has said everything.
    Said,
    /// The customer's stream showed this.
    Streamed(Block),
    /// The customer's stream ended.
    StreamEnded,
    /// The customer's receiver got this.
    Received(Webhook),
}
