//! JSON that is kept.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

use super::{Flaw, Malformed, Text};

/// A JSON value as data: key order, every digit and every string are as they were
/// written; only white space between tokens is gone.
///
/// It occupies its text and no more, however it is nested.
///
/// ```
/// use notify_core::json::Json;
///
/// let video: Json = r#"{ "seconds": 1.50 }"#.parse()?;
/// assert_eq!(video.as_str(), r#"{"seconds":1.50}"#);
/// assert_eq!(video.to_value()?["seconds"], 1.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Box<str>);

impl Json {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its text, to look into.
    pub fn text(&self) -> Text<'_> {
        Text::known(&self.0)
    }

    /// A tree of it; see [`Text::to_value`]. This takes many times the memory of
    /// the text.
    ///
    /// # Errors
    /// [`Flaw`] if there is no such tree.
    pub fn to_value(&self) -> Result<Value, Flaw> {
        self.text().to_value()
    }

    /// Reads it into a type of one's own.
    ///
    /// # Errors
    /// If it is no such thing; or if an object in it begins with a key that
    /// `serde_json` keeps for itself, which might be read as anything
    /// ([`Text::has_private_key`]).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        if self.text().has_private_key() {
            return Err(serde_json::Error::custom("a private key of serde_json"));
        }
        serde_json::from_str(&self.0)
    }
}

impl From<Text<'_>> for Json {
    fn from(text: Text<'_>) -> Self {
        Self(text.compact().into())
    }
}

impl std::str::FromStr for Json {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Text::read(text.as_bytes()).map(Self::from)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
