//! The verifier as an axum extractor.

use std::error::Error;

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::VerifyError;
use crate::notification::Notification;
use crate::verifier::Verifier;

/// A verified webhook, as an extractor: the handler runs only if all holds.
///
/// The [`Verifier`] comes from the router's state: it is the state itself, or
/// the state's type has `FromRef` for it. The body is read up to
/// [`Verifier::body_bytes_max`], whatever axum's own default limit says. A
/// message that is refused is answered with [`VerifyError::status`] and one line
/// of text that names the failed check; take `Result<Verified, VerifyError>` to
/// answer otherwise. How long a body may take is the server's to limit, for
/// example with a timeout layer.
///
/// ```
/// use axum::{Router, http::StatusCode, routing::post};
/// use notify_verify::{Verified, Verifier};
///
/// async fn hook(Verified(webhook): Verified) -> StatusCode {
///     println!("{} is {}", webhook.job_id, webhook.event.status);
///     StatusCode::OK
/// }
///
/// let verifier = Verifier::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])?;
/// let app: Router = Router::new().route("/hook", post(hook)).with_state(verifier);
/// # Ok::<(), notify_verify::SecretsInvalid>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Verified(pub Notification);

/// As [`Verified`], but reads the body into a type of one's own, as
/// [`Verifier::verify_as`] does.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedAs<T>(pub T);

impl<S> FromRequest<S> for Verified
where
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = VerifyError;

    async fn from_request(request: Request, state: &S) -> Result<Self, VerifyError> {
        let (verifier, headers, body) = read(request, state).await?;
        verifier.verify(&headers, &body).map(Self)
    }
}

impl<T, S> FromRequest<S> for VerifiedAs<T>
where
    T: DeserializeOwned,
    Verifier: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = VerifyError;

    async fn from_request(request: Request, state: &S) -> Result<Self, VerifyError> {
        let (verifier, headers, body) = read(request, state).await?;
        verifier.verify_as(&headers, &body).map(Self)
    }
}

/// The verifier, and what it judges: the headers, and the body if it is not too
/// large.
async fn read<S>(request: Request, state: &S) -> Result<(Verifier, HeaderMap, Bytes), VerifyError>
where
    Verifier: FromRef<S>,
{
    let verifier = Verifier::from_ref(state);
    let bytes_max = verifier.body_limit();
    let (parts, body) = request.into_parts();
    let too_large = VerifyError::BodyTooLarge { bytes_max };
    // An honest content-length is refused before a byte is read.
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(too_large);
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok((verifier, parts.headers, body.to_bytes())),
        Err(why) if exceeds_a_limit(&*why) => Err(too_large),
        Err(_) => Err(VerifyError::BodyIncomplete),
    }
}

impl IntoResponse for VerifyError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        (status, format!("{self}\n")).into_response()
    }
}

/// The limit may be ours, or that of a layer around the router.
fn exceeds_a_limit(why: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(why);
    while let Some(why) = cause {
        if why.is::<LengthLimitError>() {
            return true;
        }
        cause = why.source();
    }
    false
}
