//! An idempotency key, which a caller chooses.

use std::fmt;
use std::sync::Arc;

/// An idempotency key: 1–128 bytes of visible ASCII, kept as long as its job.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks `text` against the rule above.
    ///
    /// # Errors
    /// [`IdempotencyKeyInvalid`] if it breaks the rule.
    pub fn parse(text: &str) -> Result<Self, IdempotencyKeyInvalid> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len());
        let visible = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        (fits && visible)
            .then(|| Self(text.into()))
            .ok_or(IdempotencyKeyInvalid)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The text is no [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKeyInvalid;

impl fmt::Display for IdempotencyKeyInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("idempotency_key: 1 to 128 bytes of visible ASCII")
    }
}

impl std::error::Error for IdempotencyKeyInvalid {}
