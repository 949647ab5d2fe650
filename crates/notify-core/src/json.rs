//! JSON from outside, read as text.
//!
//! What a stranger sends is judged and taken apart here, without a tree and
//! without recursion, so that neither depth nor width costs more than its bytes.
//!
//! A general data model is no place for data that must stay as it was written: it
//! rounds numbers, orders keys, and may give a meaning of its own to a key.
//! `serde_json::Value` does all three, depending on the features that *any* crate
//! of a build turns on: with `raw_value` or `arbitrary_precision`, an object whose
//! first key is a private name of that library is not read as an object at all,
//! but parsed again, with a fresh limit of its depth. So a [`Text`] is a span of
//! the input that is known to be valid, its parts are spans of that span, and a
//! [`Json`] is one that is kept. [`Text::to_value`] makes a `Value` in which a key
//! is only a key.
//!
//! ```
//! use notify_core::json::Text;
//!
//! let text = Text::read(br#"{ "price": 1.10 }"#)?;
//! let mut fields = text.fields().expect("it is an object");
//! let (name, value) = fields.next().expect("it has a field");
//! assert_eq!((&*name, value.as_str()), ("price", "1.10"));
//! assert_eq!(text.compact(), r#"{"price":1.10}"#);
//! # Ok::<(), notify_core::json::Malformed>(())
//! ```

mod kept;
mod scan;
mod text;
mod value;

use std::fmt;

pub use kept::Json;
pub use text::{Fields, Items, Text};
pub(crate) use value::deserialize as deserialize_value;

/// The bytes are no JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where it stops being JSON, in bytes from the beginning.
    pub at_byte: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not JSON at byte {}", self.at_byte)
    }
}

impl std::error::Error for Malformed {}

/// Why valid JSON can't be passed on: some reader of it must refuse it
/// ([RFC 8259 §8.2, §9](https://www.rfc-editor.org/rfc/rfc8259#section-8.2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// Arrays and objects nest deeper than the limit.
    TooDeep,
    /// A number is beyond the range of a double.
    NumberRange,
    /// A string has half of a surrogate pair, which no Unicode text can have.
    LoneSurrogate,
}

impl Flaw {
    /// What would be right.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::TooDeep => "arrays and objects nested less deep",
            Self::NumberRange => "numbers within the range of a double",
            Self::LoneSurrogate => "Unicode text, with no half of a surrogate pair",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl std::error::Error for Flaw {}

#[cfg(test)]
mod tests;
