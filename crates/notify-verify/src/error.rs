//! Why a message is refused, and how a receiver answers.

use std::borrow::Cow;
use std::fmt;

use notify_core::event::EventInvalid;
use notify_core::json::Malformed;
use notify_core::signing::{Forged, WEBHOOK_ID};

/// Why a message is refused: which check failed, at which header.
///
/// Its text never holds a secret, a signature or a part of the message, so it
/// may be answered and logged as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// This header is there more than once.
    HeaderDoubled(&'static str),
    /// This header's value is not visible ASCII.
    HeaderNotText(&'static str),
    /// Nothing proves that the message is the sender's, or that it is fresh.
    Forged(Forged),
    /// `webhook-id` names another event than the signed body.
    IdMismatch,
    /// The signature holds, but the body is not what it should be.
    PayloadMalformed(PayloadMalformed),
    /// More bytes of body than [`Verifier::body_bytes_max`](crate::Verifier::body_bytes_max).
    BodyTooLarge {
        /// The limit, in bytes.
        bytes_max: usize,
    },
    /// The connection ended before the body did.
    BodyIncomplete,
}

impl VerifyError {
    /// The status to answer with: 401 if nothing proves the sender, 400 if the
    /// message can't be read, 413 if it is too large.
    ///
    /// The sender tries again after any of them: what was refused only because
    /// the receiver's secret or clock was wrong comes again.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Forged(_) | Self::IdMismatch => 401,
            Self::HeaderDoubled(_)
            | Self::HeaderNotText(_)
            | Self::PayloadMalformed(_)
            | Self::BodyIncomplete => 400,
            Self::BodyTooLarge { .. } => 413,
        }
    }

    /// Whether nothing proves that the sender sent this (status 401).
    pub const fn is_forged(&self) -> bool {
        self.status() == 401
    }

    /// Whether the message can't be read (status 400).
    pub const fn is_malformed(&self) -> bool {
        self.status() == 400
    }

    /// A stable code for metrics and tests, such as `too_old` or
    /// `missing_header:webhook-id`. The project's `vectors/verify.json` is
    /// written in these codes.
    pub fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::HeaderDoubled(name) => return Cow::Owned(format!("header_doubled:{name}")),
            Self::HeaderNotText(name) => return Cow::Owned(format!("header_not_text:{name}")),
            Self::Forged(Forged::MissingHeader(name)) => {
                return Cow::Owned(format!("missing_header:{name}"));
            }
            Self::Forged(Forged::NoSecret) => "no_secret",
            Self::Forged(Forged::TimestampMalformed) => "timestamp_malformed",
            Self::Forged(Forged::TooOld) => "too_old",
            Self::Forged(Forged::TooNew) => "too_new",
            Self::Forged(Forged::SignatureMalformed(_)) => "signature_malformed",
            Self::Forged(Forged::NoMatch(_)) => "no_match",
            Self::Forged(_) => "forged",
            Self::IdMismatch => "id_mismatch",
            Self::PayloadMalformed(_) => "payload_malformed",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyIncomplete => "body_incomplete",
        })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderDoubled(name) => write!(f, "{name}: the header is there more than once"),
            Self::HeaderNotText(name) => {
                write!(f, "{name}: the header's value is not visible ASCII")
            }
            Self::Forged(why) => why.fmt(f),
            Self::IdMismatch => write!(f, "{WEBHOOK_ID}: names another event than the body"),
            Self::PayloadMalformed(_) => {
                f.write_str("body: the signature holds, but this is not the expected JSON")
            }
            Self::BodyTooLarge { bytes_max } => write!(f, "body: larger than {bytes_max} bytes"),
            Self::BodyIncomplete => f.write_str("body: ended before all of it was there"),
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PayloadMalformed(why) => Some(why),
            // `Forged` has said everything already: the text above is its own.
            _ => None,
        }
    }
}

impl From<Forged> for VerifyError {
    fn from(why: Forged) -> Self {
        Self::Forged(why)
    }
}

/// Where and why a body is not the expected JSON.
///
/// Its text may quote a value of the body.
#[derive(Debug)]
pub struct PayloadMalformed(Why);

#[derive(Debug)]
enum Why {
    NotJson(Malformed),
    Field(&'static str, &'static str),
    Event(EventInvalid),
    Own(serde_json::Error),
}

impl PayloadMalformed {
    pub(crate) fn field(field: &'static str, rule: &'static str) -> Self {
        Self(Why::Field(field, rule))
    }
}

impl From<Malformed> for PayloadMalformed {
    fn from(why: Malformed) -> Self {
        Self(Why::NotJson(why))
    }
}

impl From<EventInvalid> for PayloadMalformed {
    fn from(why: EventInvalid) -> Self {
        Self(Why::Event(why))
    }
}

impl From<serde_json::Error> for PayloadMalformed {
    fn from(why: serde_json::Error) -> Self {
        Self(Why::Own(why))
    }
}

impl fmt::Display for PayloadMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::NotJson(why) => why.fmt(f),
            Why::Field(field, rule) => write!(f, "{field}: {rule}"),
            Why::Event(why) => write!(f, "event: {why}"),
            Why::Own(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for PayloadMalformed {}

impl From<PayloadMalformed> for VerifyError {
    fn from(why: PayloadMalformed) -> Self {
        Self::PayloadMalformed(why)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use notify_core::signing::Scheme;

    use super::*;

    #[track_caller]
    fn check_answer(error: VerifyError, status: u16, code: &str, text: &str) {
        assert_eq!(error.status(), status);
        assert_eq!(error.code(), code);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.is_forged(), status == 401);
        assert_eq!(error.is_malformed(), status == 400);
    }

    #[test]
    fn every_refusal_has_a_status_a_code_and_a_text() {
        check_answer(
            VerifyError::HeaderDoubled("webhook-id"),
            400,
            "header_doubled:webhook-id",
            "webhook-id: the header is there more than once",
        );
        check_answer(
            VerifyError::HeaderNotText("webhook-id"),
            400,
            "header_not_text:webhook-id",
            "webhook-id: the header's value is not visible ASCII",
        );
        check_answer(
            Forged::MissingHeader("webhook-id").into(),
            401,
            "missing_header:webhook-id",
            "webhook-id: the header is missing",
        );
        check_answer(
            Forged::TooOld.into(),
            401,
            "too_old",
            "webhook-timestamp: too far in the past",
        );
        check_answer(
            Forged::NoMatch(Scheme::Timestamped).into(),
            401,
            "no_match",
            "x-webhook-signature: no signature matches a secret",
        );
        check_answer(
            VerifyError::IdMismatch,
            401,
            "id_mismatch",
            "webhook-id: names another event than the body",
        );
        check_answer(
            VerifyError::BodyTooLarge { bytes_max: 10 },
            413,
            "body_too_large",
            "body: larger than 10 bytes",
        );
        check_answer(
            VerifyError::BodyIncomplete,
            400,
            "body_incomplete",
            "body: ended before all of it was there",
        );
    }

    #[test]
    fn what_is_answered_quotes_nothing_of_the_body() {
        let inner = serde_json::from_str::<u8>("\"canary\"").unwrap_err();
        let error = VerifyError::from(PayloadMalformed::from(inner));
        assert!(!error.to_string().contains("canary"));
        assert_eq!(error.status(), 400);
        let source = error.source().unwrap().to_string();
        assert!(source.contains("line 1 column 8"), "{source}");
    }
}
