//! Who may read a stream: the credentials that a request shows.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The token or key of `Authorization: Bearer …`.
///
/// `None` for everything that shows none: no such header, more than one, another
/// scheme, nothing after it, bytes that are no text. These are all answered with
/// 401, whose challenge says what to send instead. What is shown but opens
/// nothing is for the caller to refuse.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let shown = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    shown.then_some(token)
}

/// Whether `shown` is the operator's key, of which only the hash is known; in
/// constant time.
pub(crate) fn is_operator(shown: &str, key_sha256: Option<&[u8; 32]>) -> bool {
    let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
    key_sha256.is_some_and(|key| shown.ct_eq(key).into())
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
    fn the_operators_key_is_known_by_its_hash() {
        let key: [u8; 32] = Sha256::digest(b"operator-key-0123").into();
        assert!(is_operator("operator-key-0123", Some(&key)));
        assert!(!is_operator("operator-key-012", Some(&key)));
        assert!(!is_operator("", Some(&key)));
        assert!(!is_operator("operator-key-0123", None));
    }
}
