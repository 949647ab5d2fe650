//! The API key, as the server keeps it.

use notify_core::hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of the API key: all of it that the server keeps.
#[derive(Clone, Copy)]
pub(crate) struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    pub(crate) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// In lower-case hex, as it is kept in a file.
    pub(crate) fn to_hex(self) -> String {
        let mut text = String::with_capacity(64);
        hex::push(&mut text, &self.0);
        text
    }

    /// What [`Self::to_hex`] wrote.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// Whether `shown` is the key; takes the same time whatever it is.
    pub(super) fn is_of(&self, shown: &str) -> bool {
        Self::of(shown).0.ct_eq(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash() {
        let hash = ApiKeyHash::of("0123456789abcdef");
        assert!(hash.is_of("0123456789abcdef"));
        assert!(!hash.is_of("0123456789abcde"));
        assert!(!hash.is_of(""));
    }
}
