//! Job tokens: what a customer shows to read one job.

use std::fmt;
use std::ops::Deref;

use notify_core::hex;
use notify_core::store::TokenHash;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A job's token: 64 hex characters (32 random bytes).
///
/// Derefs to `str`; its `Debug` shows nothing of it. Only its SHA-256 is kept, so
/// this is the only time it can be seen.
#[derive(Clone)]
pub struct JobToken(Zeroizing<String>);

impl JobToken {
    pub(crate) fn from_random(random: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(64));
        hex::push(&mut text, random);
        Self(text)
    }

    pub(crate) fn hash(&self) -> TokenHash {
        hash(&self.0)
    }
}

impl Deref for JobToken {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JobToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobToken(…)")
    }
}

/// Whether `token` is the one with this hash; in constant time.
pub(crate) fn matches(token: &str, expected: &TokenHash) -> bool {
    hash(token).ct_eq(expected).into()
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_64_hex_characters_and_is_never_shown() {
        let token = JobToken::from_random(&[0xa5; 32]);
        assert_eq!(&*token, "a5".repeat(32));
        assert!(!format!("{token:?}").contains("a5"));
        assert!(matches(&token, &token.hash()));
        assert!(!matches(&token[..63], &token.hash()));
        assert!(!matches("", &token.hash()));
    }
}
