//! Who calls: the operator with the API key, or a customer with a job's token.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::error::ApiError;
use super::parts::Api;
use crate::connections::Seat;

/// Proof that the call comes from the operator.
pub(super) struct Operator;

impl FromRequestParts<Api> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let shown = bearer(&parts.headers).ok_or(ApiError::Unauthorized)?;
        if !api.key.is_of(shown) {
            return Err(ApiError::Forbidden);
        }
        is_now_known(parts);
        Ok(Self)
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
        if !api.key.is_of(shown) {
            return Ok(Self::Shows(shown.to_owned()));
        }
        is_now_known(parts);
        Ok(Self::Operator)
    }
}

/// The operator's connections are not for strangers to take.
fn is_now_known(parts: &Parts) {
    if let Some(seat) = parts.extensions.get::<Seat>() {
        seat.is_now_known();
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
