//! Who calls: the operator with the API key, or a customer with a job's token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use notify_sse::bearer;

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
