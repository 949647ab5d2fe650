//! The secrets and rules of one receiver.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify_core::json::Text;
use notify_core::signing::{self, Accepts, Received, Scheme, SecretInvalid, TOLERANCE_DEFAULT};
use notify_core::{EventLimits, Secret, Timestamp};
use serde::de::DeserializeOwned;

use crate::error::{PayloadMalformed, VerifyError};
use crate::headers::{Headers, pick};
use crate::notification::{Notification, once_each, whole};

/// The largest body that a [`Verifier`] looks at unless told otherwise, in
/// bytes: the largest event that a service can be set to send (1 MiB) and 16 KiB
/// for what is around it.
pub const BODY_BYTES_MAX_DEFAULT: usize = EventLimits::BYTES_CEILING + 16 * 1024;

/// Verifies webhooks: holds a receiver's secrets and says what it accepts.
///
/// Build it once and share it; a clone shares the secrets' one place in memory,
/// which is wiped with the last of them. Secrets are read by the sender's rule:
/// text that begins with `whsec_` is base64, any other text is the key itself.
/// Give two while a secret is being changed; a signature by either holds.
///
/// ```
/// use std::time::Duration;
///
/// use notify_verify::Verifier;
///
/// let verifier = Verifier::new(["new-secret", "old-secret"])?
///     .tolerance(Duration::from_secs(60))
///     .standard_only();
/// # Ok::<(), notify_verify::SecretsInvalid>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    secrets: Arc<Vec<Secret>>,
    accepts: Accepts,
    tolerance: Duration,
    body_bytes_max: usize,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Verifier {
    /// A verifier for these secrets, with the system's clock and
    /// [`TOLERANCE_DEFAULT`].
    ///
    /// # Errors
    /// [`SecretsInvalid`] if there is none, or says which one is malformed.
    pub fn new<I>(secrets: I) -> Result<Self, SecretsInvalid>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let read = |(index, text): (usize, I::Item)| {
            Secret::parse(text.as_ref()).map_err(|why| SecretsInvalid::Malformed { index, why })
        };
        let secrets: Result<Vec<_>, _> = secrets.into_iter().enumerate().map(read).collect();
        Self::from_secrets(secrets?)
    }

    /// As [`Verifier::new`], from secrets that are parsed already.
    ///
    /// # Errors
    /// [`SecretsInvalid::NoSecret`] if there is none.
    pub fn from_secrets(secrets: Vec<Secret>) -> Result<Self, SecretsInvalid> {
        if secrets.is_empty() {
            return Err(SecretsInvalid::NoSecret);
        }
        Ok(Self {
            secrets: Arc::new(secrets),
            accepts: Accepts::Either,
            tolerance: TOLERANCE_DEFAULT,
            body_bytes_max: BODY_BYTES_MAX_DEFAULT,
            clock: Arc::new(wall_clock),
        })
    }

    /// How far a message's timestamp may be from now, in both directions and
    /// both ends included; counted in whole seconds.
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Takes Standard Webhooks alone. Without this, a message that carries only
    /// `x-webhook-signature` is taken too.
    #[must_use]
    pub fn standard_only(mut self) -> Self {
        self.accepts = Accepts::StandardOnly;
        self
    }

    /// The largest body that is looked at, in bytes; by default
    /// [`BODY_BYTES_MAX_DEFAULT`]. A larger one is refused before any of it is
    /// hashed, and by the extractor before it is all read.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Reads the time from `clock` instead of the system's, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What time this verifier's clock says; a
    /// [`ReplayGuard`](crate::ReplayGuard) wants the same.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Verifies a message and reads its notification.
    ///
    /// `body` must be the bytes as they came. A message that carries
    /// `webhook-signature` is judged by it alone; `x-webhook-signature` counts
    /// where that one is missing. The timestamp is `webhook-timestamp`, or
    /// `x-webhook-timestamp` where that one is missing: either is signed.
    /// `webhook-id`, where it is there, must be the body's `id`, so that a
    /// receiver that remembers either one remembers what was signed.
    ///
    /// # Errors
    /// [`VerifyError`] says which check failed and how to answer.
    pub fn verify(
        &self,
        headers: &(impl Headers + ?Sized),
        body: &[u8],
    ) -> Result<Notification, VerifyError> {
        let text = self.text(headers, body)?;
        Ok(Notification::read(text)?)
    }

    /// As [`Verifier::verify`], but reads the body into a type of one's own, for
    /// example one whose `result` is typed.
    ///
    /// Such a type may hold a `serde_json::Value`, which in some builds parses
    /// what stands behind a private key of that library as JSON once more, at any
    /// depth. So a body in which an object begins with such a key
    /// (`$serde_json::private::…`) is refused here as malformed;
    /// [`Verifier::verify`] takes it as the data that it is.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Rendered {
    ///     job_id: String,
    ///     event: Event,
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Event {
    ///     result: Option<Video>,
    /// }
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Video {
    ///     video_url: String,
    /// }
    ///
    /// # use notify_verify::{Verifier, VerifyError};
    /// fn receive(verifier: &Verifier, headers: &[(String, String)], body: &[u8]) -> Result<(), VerifyError> {
    ///     let rendered: Rendered = verifier.verify_as(headers, body)?;
    ///     if let Some(video) = rendered.event.result {
    ///         println!("{}: {}", rendered.job_id, video.video_url);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`VerifyError`] says which check failed and how to answer.
    pub fn verify_as<T: DeserializeOwned>(
        &self,
        headers: &(impl Headers + ?Sized),
        body: &[u8],
    ) -> Result<T, VerifyError> {
        if self.text(headers, body)?.has_private_key() {
            let why = PayloadMalformed::field("body", "must have no private key of serde_json");
            return Err(why.into());
        }
        let read = serde_json::from_slice(body).map_err(PayloadMalformed::from);
        Ok(read?)
    }

    /// The body of a message that holds, with the id that its header says.
    fn text<'b>(
        &self,
        headers: &(impl Headers + ?Sized),
        body: &'b [u8],
    ) -> Result<Text<'b>, VerifyError> {
        let (_, id) = self.judge(headers, body)?;
        let text = whole(body)?;
        let [stamped] = once_each(text, ["id"])?;
        let wrong = || PayloadMalformed::field("id", "must be text");
        let stamped = stamped.string().ok_or_else(wrong)?;
        match id {
            Some(id) if id != stamped => Err(VerifyError::IdMismatch),
            _ => Ok(text),
        }
    }

    /// Verifies a message without reading its body, for a receiver that passes
    /// the bytes on, or for Standard Webhooks of another sender. Allocates
    /// nothing if the message holds.
    ///
    /// # Errors
    /// [`VerifyError`] says which check failed and how to answer.
    pub fn verify_bytes<'h>(
        &self,
        headers: &'h (impl Headers + ?Sized),
        body: &[u8],
    ) -> Result<Proof<'h>, VerifyError> {
        let (scheme, id) = self.judge(headers, body)?;
        Ok(Proof {
            scheme,
            webhook_id: id.filter(|_| scheme == Scheme::Standard),
        })
    }

    #[cfg(feature = "axum")]
    pub(crate) fn body_limit(&self) -> usize {
        self.body_bytes_max
    }

    /// The scheme that proved the message, and its `webhook-id` as it came.
    ///
    /// All five headers are looked up first, so that a doubled one is refused
    /// whichever scheme would be judged.
    fn judge<'h>(
        &self,
        headers: &'h (impl Headers + ?Sized),
        body: &[u8],
    ) -> Result<(Scheme, Option<&'h str>), VerifyError> {
        let [id, timestamp, x_timestamp, standard, timestamped] = pick(headers)?;
        if body.len() > self.body_bytes_max {
            return Err(VerifyError::BodyTooLarge {
                bytes_max: self.body_bytes_max,
            });
        }
        let received = Received {
            id,
            timestamp: timestamp.or(x_timestamp),
            standard,
            timestamped,
            body,
        };
        let scheme = signing::check(
            &self.secrets,
            &received,
            self.accepts,
            self.now(),
            self.tolerance,
        )?;
        Ok((scheme, id))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("secrets", &self.secrets)
            .field("accepts", &self.accepts)
            .field("tolerance", &self.tolerance)
            .field("body_bytes_max", &self.body_bytes_max)
            .finish_non_exhaustive()
    }
}

/// What [`Verifier::verify_bytes`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof<'h> {
    /// The scheme that proved the message.
    pub scheme: Scheme,
    /// The `webhook-id`, where it is signed: the timestamped scheme does not
    /// cover it, so there it is `None` even if the header is there.
    pub webhook_id: Option<&'h str>,
}

/// There is no [`Verifier`] for these secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretsInvalid {
    /// Not one secret.
    NoSecret,
    /// A secret's text is malformed.
    Malformed {
        /// Which one, from 0.
        index: usize,
        /// The rule that it breaks.
        why: SecretInvalid,
    },
}

impl fmt::Display for SecretsInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str("there must be at least one secret"),
            Self::Malformed { index, why } => write!(f, "secret {index}: {why}"),
        }
    }
}

impl std::error::Error for SecretsInvalid {}

/// A clock before 1970 reads as 1970, where every message is too new.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::EPOCH.plus(since)
}

#[cfg(test)]
mod tests;
