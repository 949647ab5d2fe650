//! Secrets as types: they can be read from text and used, but not printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::KeyInit;
use zeroize::Zeroizing;

use super::HmacSha256;
use crate::time::Timestamp;

/// A signing secret. Its `Debug` shows nothing of it; its memory is wiped.
///
/// Text that begins with `whsec_` is Standard Webhooks base64 (padded) of 24–64
/// bytes: the decoded bytes are the key of that scheme, the text verbatim is the
/// key of the timestamped one. Any other text of 1–256 bytes is both keys. What
/// a secret is pasted with by mistake (white space, quotes, a `v1,`) is refused:
/// taken as part of it, it would make every receiver's check fail.
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    standard: HmacSha256,
    timestamped: HmacSha256,
}

impl Secret {
    /// The longest secret, in bytes of text.
    pub const BYTES_MAX: usize = 256;

    /// Reads a secret by the rule above.
    ///
    /// # Errors
    /// [`SecretInvalid`] says which part of the rule is broken.
    pub fn parse(text: &str) -> Result<Self, SecretInvalid> {
        let secret = Self::restore(text);
        // What was pasted along is what is wrong, whatever it breaks besides.
        match pasted_along(text) {
            Some(why) if !matches!(secret, Err(SecretInvalid::TooLong)) => Err(why),
            _ => secret,
        }
    }

    /// Reads a secret that was taken earlier and kept since, perhaps at a time
    /// when less was refused: it still signs what its receivers check with it.
    ///
    /// # Errors
    /// [`SecretInvalid`] if it never was a secret.
    pub fn restore(text: &str) -> Result<Self, SecretInvalid> {
        if text.is_empty() {
            return Err(SecretInvalid::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(SecretInvalid::TooLong);
        }
        let standard = match text.strip_prefix(PREFIX) {
            None => keyed(text.as_bytes()),
            Some(encoded) => {
                let decoded = BASE64.decode(encoded).map(Zeroizing::new);
                let key = decoded.map_err(|_| SecretInvalid::NotBase64)?;
                if !(24..=64).contains(&key.len()) {
                    return Err(SecretInvalid::KeyLength);
                }
                keyed(&key)
            }
        };
        let timestamped = keyed(text.as_bytes());
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            standard,
            timestamped,
        })
    }

    /// A new secret from 32 random bytes: `whsec_` and their base64.
    pub fn from_random(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        let text = Zeroizing::new(format!("{PREFIX}{}", BASE64.encode(*random)));
        let timestamped = keyed(text.as_bytes());
        Self {
            standard: keyed(&*random),
            timestamped,
            text,
        }
    }

    /// The secret's text, for the one place that hands it out or keeps it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    pub(super) fn standard_key(&self) -> &HmacSha256 {
        &self.standard
    }

    pub(super) fn timestamped_key(&self) -> &HmacSha256 {
        &self.timestamped
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
    }
}

impl Eq for Secret {}

/// The secrets that a sender signs with: one, or two while it is being changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    newest: Secret,
    previous: Option<Previous>,
}

/// The secret before, and until when it is active; without a time, until it is
/// replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Previous {
    secret: Secret,
    until: Option<Timestamp>,
}

impl Keyring {
    /// One active secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            newest: secret,
            previous: None,
        }
    }

    /// Two active secrets, while receivers change from `previous` to `newest`: until
    /// then, if a time is given.
    pub fn rotating(newest: Secret, previous: Secret, until: Option<Timestamp>) -> Self {
        Self {
            newest,
            previous: Some(Previous {
                secret: previous,
                until,
            }),
        }
    }

    /// The newest secret becomes the previous one, which is active until `until`.
    /// Giving it the secret that is the newest already changes nothing, so that a
    /// change may be repeated.
    ///
    /// # Errors
    /// [`RotationInProgress`] if two are active at `now`: a receiver may still depend
    /// on either.
    pub fn rotated(
        &self,
        now: Timestamp,
        newest: Secret,
        until: Timestamp,
    ) -> Result<Self, RotationInProgress> {
        if newest == self.newest {
            return Ok(self.clone());
        }
        if self.active(now).count() > 1 {
            return Err(RotationInProgress);
        }
        let previous = self.newest.clone();
        Ok(Self::rotating(newest, previous, Some(until)))
    }

    /// The secrets that are active at `at`, newest first.
    pub fn active(&self, at: Timestamp) -> impl Iterator<Item = &Secret> + Clone {
        let previous = self.previous.iter();
        let previous = previous.filter(move |it| it.until.is_none_or(|until| at < until));
        std::iter::once(&self.newest).chain(previous.map(|it| &it.secret))
    }

    /// The newest secret.
    pub fn newest(&self) -> &Secret {
        &self.newest
    }

    /// The secret before, active or not, and until when it is, if a time was given.
    pub fn previous(&self) -> Option<(&Secret, Option<Timestamp>)> {
        let previous = self.previous.as_ref()?;
        Some((&previous.secret, previous.until))
    }
}

/// Two secrets are active already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationInProgress;

/// The text is no [`Secret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretInvalid {
    /// No character at all.
    Empty,
    /// More than [`Secret::BYTES_MAX`] bytes.
    TooLong,
    /// `whsec_` is not followed by padded standard base64.
    NotBase64,
    /// `whsec_` is followed by base64 of fewer than 24 or more than 64 bytes.
    KeyLength,
    /// It begins or ends with white space or a control character.
    Blank,
    /// It stands in quotes.
    Quoted,
    /// A `v1,`, which is how a signature begins, stands before `whsec_`.
    Version,
}

impl fmt::Display for SecretInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "at most 256 bytes",
            Self::NotBase64 => "after whsec_ comes padded standard base64",
            Self::KeyLength => "after whsec_ comes base64 of 24 to 64 bytes",
            Self::Blank => "no white space or control character at either end",
            Self::Quoted => "without the quotes around it",
            Self::Version => "without the v1, before whsec_",
        })
    }
}

impl std::error::Error for SecretInvalid {}

const PREFIX: &str = "whsec_";

/// What is copied along with a secret from a settings file or a page.
fn pasted_along(text: &str) -> Option<SecretInvalid> {
    const QUOTES: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];
    let ends = [text.chars().next()?, text.chars().next_back()?];
    if ends
        .iter()
        .any(|end| end.is_whitespace() || end.is_control())
    {
        return Some(SecretInvalid::Blank);
    }
    if ends.iter().all(|end| QUOTES.contains(end)) {
        return Some(SecretInvalid::Quoted);
    }
    let rest = text.strip_prefix("v1,")?;
    rest.starts_with(PREFIX).then_some(SecretInvalid::Version)
}

fn keyed(key: &[u8]) -> HmacSha256 {
    // HMAC takes a key of any length (RFC 2104), so the error has no case.
    HmacSha256::new_from_slice(key).unwrap_or_else(|_| HmacSha256::new(&Default::default()))
}
