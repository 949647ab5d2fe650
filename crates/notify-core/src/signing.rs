//! Signing, in one place for sender and customer.
//!
//! Two schemes, both HMAC-SHA256. *Standard Webhooks* signs
//! `{id}.{timestamp}.{body}` and is written `v1,<base64>`, one entry per active
//! secret, newest first. The *timestamped* scheme signs `{timestamp}.{body}`,
//! the content Stripe signs, and is written `sha256=<lower-case hex>`, with the
//! oldest active secret. So while a secret is being changed, a customer who
//! still holds the old one verifies by both headers and one who holds the new
//! one by `webhook-signature`.
//!
//! Sources: the Standard Webhooks specification 1.0; Stripe's documentation of
//! webhook signatures.

mod secret;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::hex;
use crate::time::Timestamp;

pub use secret::{Keyring, RotationInProgress, Secret, SecretInvalid};

/// The header with the event id.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header with the attempt's time, in Unix seconds.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header of the Standard Webhooks scheme.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
/// The header of the timestamped scheme.
pub const X_WEBHOOK_SIGNATURE: &str = "x-webhook-signature";
/// The same value as [`WEBHOOK_TIMESTAMP`], for the timestamped scheme.
pub const X_WEBHOOK_TIMESTAMP: &str = "x-webhook-timestamp";

/// How far a signature's timestamp may be from now, in both directions: five
/// minutes, as in the Standard Webhooks libraries.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_secs(300);

/// The most entries of a `webhook-signature` that are looked at.
pub const SIGNATURES_MAX: usize = 32;

type HmacSha256 = Hmac<Sha256>;

/// One message's signatures in both schemes, ready for their headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signatures {
    /// For [`WEBHOOK_SIGNATURE`].
    pub standard: String,
    /// For [`X_WEBHOOK_SIGNATURE`].
    pub timestamped: String,
}

/// Signs one attempt: `timestamp_secs` is the attempt's own time.
pub fn sign(keyring: &Keyring, id: &str, timestamp_secs: u64, body: &[u8]) -> Signatures {
    let at = Timestamp::from_secs(timestamp_secs);
    sign_at(keyring, id, at, &timestamp_secs.to_string(), body)
}

/// [`sign`] with the secrets that are active at `at`, which is also there as text.
pub(crate) fn sign_at(
    keyring: &Keyring,
    id: &str,
    at: Timestamp,
    timestamp: &str,
    body: &[u8],
) -> Signatures {
    let active = keyring.active(at);
    let entries = active.clone().count();
    let mut standard = String::with_capacity(entries * (TAG_BASE64_BYTES + " v1,".len()) - 1);
    let mut oldest = keyring.newest();
    for secret in active {
        oldest = secret;
        if !standard.is_empty() {
            standard.push(' ');
        }
        standard.push_str("v1,");
        let tag = standard_mac(secret, id, timestamp, body)
            .finalize()
            .into_bytes();
        BASE64.encode_string(tag, &mut standard);
    }
    let tag = timestamped_mac(oldest, timestamp, body)
        .finalize()
        .into_bytes();
    let mut timestamped = String::with_capacity(HEX_PREFIX.len() + 2 * TAG_BYTES);
    timestamped.push_str(HEX_PREFIX);
    hex::push(&mut timestamped, &tag);
    Signatures {
        standard,
        timestamped,
    }
}

/// What a receiver got, as text of headers and bytes of body.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The value of [`WEBHOOK_ID`].
    pub id: Option<&'a str>,
    /// The value of [`WEBHOOK_TIMESTAMP`] or, without one, of
    /// [`X_WEBHOOK_TIMESTAMP`].
    pub timestamp: Option<&'a str>,
    /// The value of [`WEBHOOK_SIGNATURE`].
    pub standard: Option<&'a str>,
    /// The value of [`X_WEBHOOK_SIGNATURE`].
    pub timestamped: Option<&'a str>,
    /// The body, byte for byte as it came.
    pub body: &'a [u8],
}

/// One of the two ways a message can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// Standard Webhooks.
    Standard,
    /// `sha256=` over `{timestamp}.{body}`.
    Timestamped,
}

/// Which schemes a receiver takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepts {
    /// Standard Webhooks where its header is there, else the timestamped scheme.
    #[default]
    Either,
    /// Standard Webhooks alone; a message with only the other is refused.
    StandardOnly,
}

/// Checks a message as a receiver: the headers are there, the timestamp is
/// within `tolerance` of `now` (both ends included), and a signature matches
/// one of `secrets`. Returns the scheme that proved it.
///
/// A message that carries the Standard Webhooks header is judged by it alone:
/// its failure is never mended by the other scheme. Compares in constant time
/// and allocates nothing.
///
/// # Errors
/// [`Forged`] says which check failed.
pub fn check(
    secrets: &[Secret],
    received: &Received<'_>,
    accepts: Accepts,
    now: Timestamp,
    tolerance: Duration,
) -> Result<Scheme, Forged> {
    if secrets.is_empty() {
        return Err(Forged::NoSecret);
    }
    let timestamp = received
        .timestamp
        .ok_or(Forged::MissingHeader(WEBHOOK_TIMESTAMP))?;
    check_age(timestamp, now, tolerance)?;
    match (received.standard, received.timestamped) {
        (Some(signatures), _) => {
            let id = received.id.filter(|id| !id.is_empty());
            let id = id.ok_or(Forged::MissingHeader(WEBHOOK_ID))?;
            check_standard(secrets, id, timestamp, received.body, signatures)?;
            Ok(Scheme::Standard)
        }
        (None, Some(signature)) if accepts == Accepts::Either => {
            check_timestamped(secrets, timestamp, received.body, signature)?;
            Ok(Scheme::Timestamped)
        }
        _ => Err(Forged::MissingHeader(WEBHOOK_SIGNATURE)),
    }
}

fn check_age(text: &str, now: Timestamp, tolerance: Duration) -> Result<(), Forged> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit());
    let timestamp: u64 = text
        .parse()
        .ok()
        .filter(|_| canonical)
        .ok_or(Forged::TimestampMalformed)?;
    if now.as_secs().saturating_sub(timestamp) > tolerance.as_secs() {
        return Err(Forged::TooOld);
    }
    if timestamp.saturating_sub(now.as_secs()) > tolerance.as_secs() {
        return Err(Forged::TooNew);
    }
    Ok(())
}

fn check_standard(
    secrets: &[Secret],
    id: &str,
    timestamp: &str,
    body: &[u8],
    signatures: &str,
) -> Result<(), Forged> {
    let entries = || {
        let entries = signatures.split(' ').take(SIGNATURES_MAX);
        entries.filter_map(|entry| entry.strip_prefix("v1,"))
    };
    let mut matched = Choice::from(0);
    for secret in secrets {
        let tag = standard_mac(secret, id, timestamp, body)
            .finalize()
            .into_bytes();
        // A tag has one spelling in base64, so ours is written rather than each
        // of theirs read.
        let ours = words(&encode_base64(tag.as_ref()));
        for theirs in entries() {
            if let Ok(theirs) = theirs.as_bytes().try_into() {
                matched |= ours.ct_eq(&words(theirs));
            }
        }
    }
    if matched.into() {
        return Ok(());
    }
    let any = entries().any(|entry| decode_base64(entry).is_some());
    Err(match any {
        true => Forged::NoMatch(Scheme::Standard),
        false => Forged::SignatureMalformed(Scheme::Standard),
    })
}

fn check_timestamped(
    secrets: &[Secret],
    timestamp: &str,
    body: &[u8],
    signature: &str,
) -> Result<(), Forged> {
    let theirs = signature
        .strip_prefix(HEX_PREFIX)
        .and_then(hex::decode::<TAG_BYTES>)
        .ok_or(Forged::SignatureMalformed(Scheme::Timestamped))?;
    let mut matched = Choice::from(0);
    for secret in secrets {
        let ours = timestamped_mac(secret, timestamp, body)
            .finalize()
            .into_bytes();
        matched |= ours.as_slice().ct_eq(&theirs);
    }
    bool::from(matched)
        .then_some(())
        .ok_or(Forged::NoMatch(Scheme::Timestamped))
}

fn standard_mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> HmacSha256 {
    let mut mac = secret.standard_key().clone();
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

fn timestamped_mac(secret: &Secret, timestamp: &str, body: &[u8]) -> HmacSha256 {
    let mut mac = secret.timestamped_key().clone();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// What a signature of the timestamped scheme begins with.
const HEX_PREFIX: &str = "sha256=";

const TAG_BYTES: usize = 32;

const TAG_BASE64_BYTES: usize = 44;

fn encode_base64(tag: &[u8]) -> [u8; TAG_BASE64_BYTES] {
    let mut text = [0; TAG_BASE64_BYTES];
    // A tag always fits; one that didn't would match nothing.
    let _ = BASE64.encode_slice(tag, &mut text);
    text
}

/// The same bytes in larger pieces, each of which is compared in one step.
fn words(text: &[u8; TAG_BASE64_BYTES]) -> [u32; TAG_BASE64_BYTES / 4] {
    let (chunks, _) = text.as_chunks::<4>();
    let mut words = [0; TAG_BASE64_BYTES / 4];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_ne_bytes(*chunk);
    }
    words
}

fn decode_base64(text: &str) -> Option<[u8; TAG_BYTES]> {
    let mut tag = [0; TAG_BYTES + 1];
    let length = BASE64.decode_slice(text, &mut tag).ok()?;
    tag.get(..length)?.try_into().ok()
}

/// Why a message is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forged {
    /// The receiver has no secret to check with.
    NoSecret,
    /// This header is not there.
    MissingHeader(&'static str),
    /// The timestamp is not Unix time in whole seconds.
    TimestampMalformed,
    /// The timestamp is further in the past than the tolerance.
    TooOld,
    /// The timestamp is further in the future than the tolerance.
    TooNew,
    /// The signature's header holds no signature of its scheme.
    SignatureMalformed(Scheme),
    /// No signature matches any secret.
    NoMatch(Scheme),
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str("there is no secret to check with"),
            Self::MissingHeader(name) => write!(f, "{name}: the header is missing"),
            Self::TimestampMalformed => {
                write!(f, "{WEBHOOK_TIMESTAMP}: must be Unix time in whole seconds")
            }
            Self::TooOld => write!(f, "{WEBHOOK_TIMESTAMP}: too far in the past"),
            Self::TooNew => write!(f, "{WEBHOOK_TIMESTAMP}: too far in the future"),
            Self::SignatureMalformed(scheme) => {
                write!(f, "{}: holds no signature of its scheme", scheme.header())
            }
            Self::NoMatch(scheme) => {
                write!(f, "{}: no signature matches a secret", scheme.header())
            }
        }
    }
}

impl std::error::Error for Forged {}

impl Scheme {
    /// The header that carries it.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Standard => WEBHOOK_SIGNATURE,
            Self::Timestamped => X_WEBHOOK_SIGNATURE,
        }
    }
}

#[cfg(test)]
mod tests;
