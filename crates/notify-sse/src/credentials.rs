//! Who calls: the credentials that a request shows.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The token or key of `Authorization: Bearer …`.
///
/// `None` for everything that shows none: no such header, more than one, another
/// scheme, nothing after it, bytes that are no text. These are all answered with
/// 401, whose challenge says what to send instead. What is shown but opens
/// nothing is for whoever asks to refuse.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let shown = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    shown.then_some(token)
}

/// The SHA-256 of the operator's API key: all of it that a server keeps.
///
/// Its `Debug` shows nothing of it, since a weak key could be guessed from its hash.
#[derive(Clone, Copy)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// The hash of this key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// What [`Self::sha256`] gave.
    pub const fn from_sha256(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash itself, to be kept.
    pub const fn sha256(self) -> [u8; 32] {
        self.0
    }

    /// Whether `shown` is the key; takes the same time whatever the key is.
    pub fn is_of(&self, shown: &str) -> bool {
        Self::of(shown).0.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(values: &[&[u8]], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(bearer(&headers), expected);
    }

    #[test]
    fn a_bearer_token_is_taken_whatever_the_schemes_case() {
        check(&[b"Bearer abc"], Some("abc"));
        check(&[b"bearer abc"], Some("abc"));
        check(&[b"BEARER   abc "], Some("abc"));
    }

    #[test]
    fn a_strange_token_is_still_shown() {
        check(&[b"Bearer a b"], Some("a b"));
        check(&[b"Bearer \"<>\""], Some("\"<>\""));
    }

    #[test]
    fn what_is_no_bearer_header_shows_nothing() {
        check(&[], None);
        check(&[b""], None);
        check(&[b"Bearer"], None);
        check(&[b"Bearer  "], None);
        check(&[b"Bearerabc"], None);
        check(&[b"Basic YTpi"], None);
        check(&[b"abc"], None);
        check(&[b"Bearer a\xffc"], None);
        check(&[b"Bearer abc", b"Bearer abc"], None);
    }

    #[test]
    fn a_key_is_known_by_its_hash_which_is_not_shown() {
        let hash = ApiKeyHash::of("operator-key-0123");
        assert!(hash.is_of("operator-key-0123"));
        assert!(!hash.is_of("operator-key-012"));
        assert!(!hash.is_of(""));
        let kept = ApiKeyHash::from_sha256(hash.sha256());
        assert!(kept.is_of("operator-key-0123"));
        assert_eq!(format!("{kept:?}"), "ApiKeyHash(…)");
    }
}
