//! Settings as written: trees that are laid over each other and then read.
//!
//! A tree deserializes into whatever type has the setting's rule. Text from the
//! environment and from flags has no type of its own and takes the one that the
//! setting has: `12345` is a number for `max_retries` and text for
//! `signing_secret`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::invalid::SettingsInvalid;

/// One setting, or a table of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Table(BTreeMap<String, Tree>),
    List(Vec<Tree>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Text without a type.
    Untyped(String),
}

impl Default for Tree {
    fn default() -> Self {
        Self::Table(BTreeMap::new())
    }
}

impl Tree {
    /// Reads a settings file.
    pub(super) fn from_toml(text: &str) -> Result<Self, RuleBroken> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            // The error's own `Display` shows the line, which may hold a secret.
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            RuleBroken::new("", format!("line {line}: {}", error.message()))
        })?;
        Ok(toml::Value::Table(table).into())
    }

    /// Sets the setting at `path` to text without a type. What stands in the way
    /// (a value where a table should be) stays and is refused when it is read.
    pub(super) fn set(&mut self, path: &[String], text: String) {
        let Self::Table(table) = self else { return };
        match path {
            [] => {}
            [key] => drop(table.insert(key.clone(), Self::Untyped(text))),
            [key, rest @ ..] => table.entry(key.clone()).or_default().set(rest, text),
        }
    }

    /// Puts `value` at `key` of this table.
    pub(super) fn insert(&mut self, key: &str, value: Self) {
        if let Self::Table(table) = self {
            table.insert(key.to_owned(), value);
        }
    }

    /// Whether this table has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        matches!(self, Self::Table(table) if table.contains_key(key))
    }

    /// Moves these keys into a table of their own.
    pub(super) fn split_off(&mut self, keys: &[&str]) -> Self {
        let Self::Table(table) = self else {
            return Self::default();
        };
        let taken = keys.iter().filter_map(|key| table.remove_entry(*key));
        Self::Table(taken.collect())
    }
}

impl From<toml::Value> for Tree {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Integer(number) => Self::Integer(number),
            toml::Value::Float(number) => Self::Float(number),
            toml::Value::Boolean(truth) => Self::Boolean(truth),
            toml::Value::Datetime(time) => Self::Text(time.to_string()),
            toml::Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            toml::Value::Table(table) => {
                let entries = table.into_iter();
                Self::Table(entries.map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl<'de> Deserializer<'de> for Tree {
    type Error = RuleBroken;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        match self {
            Self::Table(table) => visitor.visit_map(MapDeserializer::new(table.into_iter())),
            Self::List(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            Self::Text(text) | Self::Untyped(text) => visitor.visit_string(text),
            Self::Integer(number) => visitor.visit_i64(number),
            Self::Float(number) => visitor.visit_f64(number),
            Self::Boolean(truth) => visitor.visit_bool(truth),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        self.typed().deserialize_any(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        self.typed().deserialize_any(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        self.typed().deserialize_any(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        self.typed().deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, RuleBroken> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, RuleBroken> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl Tree {
    /// For a setting that is no text: text without a type is read as TOML, which
    /// also reads a JSON array of texts or numbers.
    fn typed(self) -> Self {
        match self {
            Self::Untyped(text) => match text.trim().parse::<toml::Value>() {
                Ok(value) => value.into(),
                Err(_) => Self::Text(text),
            },
            typed => typed,
        }
    }
}

impl IntoDeserializer<'_, RuleBroken> for Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A setting that breaks its rule. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleBroken {
    /// The setting, with dots.
    pub(super) key: String,
    rule: String,
}

impl RuleBroken {
    pub(super) fn new(key: &str, rule: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            rule: rule.into(),
        }
    }

    /// The same, found while reading what is at `path`.
    pub(super) fn at(self, path: &str) -> Self {
        Self {
            key: path.to_owned(),
            ..self
        }
    }

    pub(super) fn into_error(self, origin: &str) -> SettingsInvalid {
        SettingsInvalid {
            key: self.key,
            rule: self.rule,
            origin: origin.to_owned(),
        }
    }
}

impl de::Error for RuleBroken {
    fn custom<T: fmt::Display>(rule: T) -> Self {
        Self::new("", rule.to_string())
    }

    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", must_be(expected))
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("", must_be(expected))
    }

    fn unknown_field(_field: &str, _known: &'static [&'static str]) -> Self {
        Self::new("", "there is no such setting")
    }
}

/// In words of the one who writes settings, not of Rust.
fn must_be(expected: &dyn Expected) -> String {
    let rule = match expected.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        table if table.starts_with("struct ") => "a table of settings".to_owned(),
        other => other.to_owned(),
    };
    format!("must be {rule}")
}

impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}

impl std::error::Error for RuleBroken {}
