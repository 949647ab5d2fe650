//! Who calls: the operator with the API key, or a customer with a job's token.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;

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
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What [`Self::to_hex`] wrote.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Whether `shown` is the key; takes the same time whatever it is.
    fn is_of(&self, shown: &str) -> bool {
        Self::of(shown).0.ct_eq(&self.0).into()
    }
}

/// Proof that the call comes from the operator.
pub(super) struct Operator;

impl FromRequestParts<Api> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let shown = bearer(&parts.headers).ok_or(ApiError::Unauthorized)?;
        match api.key.is_of(shown) {
            true => Ok(Self),
            false => Err(ApiError::Forbidden),
        }
    }
}

/// Somebody who shows something: the operator, or perhaps a job's customer.
pub(super) enum Caller {
    Operator,
    /// What is shown may be a job's token; only the job can tell.
    Shows(String),
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let shown = bearer(&parts.headers).ok_or(ApiError::Unauthorized)?;
        match api.key.is_of(shown) {
            true => Ok(Self::Operator),
            false => Ok(Self::Shows(shown.to_owned())),
        }
    }
}

/// What `Authorization: Bearer …` shows. `None` for everything that shows
/// nothing, a doubled header and another scheme among them.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, shown) = header.to_str().ok()?.split_once(' ')?;
    let shown = shown.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !shown.is_empty()).then_some(shown)
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

    #[test]
    fn only_a_single_bearer_header_shows_something() {
        let shown = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(shown(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(shown(&["bearer  abc "]).as_deref(), Some("abc"));
        for nothing in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Basic YTpi"],
            &["abc"],
        ] {
            assert_eq!(shown(nothing), None, "{nothing:?}");
        }
        assert_eq!(shown(&["Bearer abc", "Bearer abc"]), None);
    }
}
