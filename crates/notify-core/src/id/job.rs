//! A job's id, which its service chooses.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Prefixed;

/// Names a job: 1–128 bytes of `[A-Za-z0-9._~:@-]`, but neither `.` nor `..`.
///
/// The alphabet needs no escaping in a URL path, a header or a log line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Arc<str>);

impl JobId {
    /// The longest job id, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks `text` against the rule above.
    ///
    /// # Errors
    /// [`JobIdInvalid`] says which part of the rule is broken.
    pub fn parse(text: &str) -> Result<Self, JobIdInvalid> {
        if text.is_empty() {
            return Err(JobIdInvalid::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(JobIdInvalid::TooLong);
        }
        if !text.bytes().all(Self::allows) {
            return Err(JobIdInvalid::Alphabet);
        }
        if text == "." || text == ".." {
            return Err(JobIdInvalid::Dots);
        }
        Ok(Self(text.into()))
    }

    /// A fresh id, `job_` and 20 of `[a-z0-9]`, for a caller that names none.
    pub fn from_random(random: u128) -> Self {
        Self(Prefixed::new(random).text("job_").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn allows(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"._~:@-".contains(&byte)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = JobIdInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl AsRef<str> for JobId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for JobId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for JobId {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for JobId {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The text is no [`JobId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobIdInvalid {
    /// No character at all.
    Empty,
    /// More than [`JobId::BYTES_MAX`] bytes.
    TooLong,
    /// A character outside `[A-Za-z0-9._~:@-]`.
    Alphabet,
    /// `.` or `..`, which mean something else in a path.
    Dots,
}

impl fmt::Display for JobIdInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "job_id: must not be empty",
            Self::TooLong => "job_id: at most 128 bytes",
            Self::Alphabet => "job_id: only A-Z a-z 0-9 . _ ~ : @ -",
            Self::Dots => "job_id: must not be . or ..",
        })
    }
}

impl std::error::Error for JobIdInvalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_keep_to_their_alphabet() {
        for good in ["a", "job-123", "A.b_c~d:e@f-9", "...", &"x".repeat(128)] {
            assert!(JobId::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", JobIdInvalid::Empty),
            (".", JobIdInvalid::Dots),
            ("..", JobIdInvalid::Dots),
            ("a b", JobIdInvalid::Alphabet),
            ("a/b", JobIdInvalid::Alphabet),
            ("é", JobIdInvalid::Alphabet),
            ("a\0", JobIdInvalid::Alphabet),
            ("a%2f", JobIdInvalid::Alphabet),
        ] {
            assert_eq!(JobId::parse(bad), Err(why), "{bad}");
        }
        assert_eq!(JobId::parse(&"x".repeat(129)), Err(JobIdInvalid::TooLong));
    }
}
