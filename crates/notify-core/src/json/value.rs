//! `serde_json::Value` without its private meanings.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Flaw;
use super::text::Text;

/// How deep a [`Value`] is made: as deep as `serde_json` itself would.
const LEVELS_MAX: usize = 128;

impl Text<'_> {
    /// The value as a tree, for whoever wants to look into it. A key is only a
    /// key; of a doubled one the last holds; a number that has no exact place in
    /// `serde_json::Number` is rounded to a double.
    ///
    /// # Errors
    /// [`Flaw`], also for more than 128 levels.
    pub fn to_value(self) -> Result<Value, Flaw> {
        match self.flaw(LEVELS_MAX) {
            Some(flaw) => Err(flaw),
            None => value(self),
        }
    }
}

/// As deep as `text`, which is not too deep.
fn value(text: Text<'_>) -> Result<Value, Flaw> {
    if let Some(items) = text.items() {
        return items.map(value).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Some(fields) = text.fields() {
        let field = |(name, text): (std::borrow::Cow<'_, str>, _)| {
            value(text).map(|value| (name.into_owned(), value))
        };
        return fields
            .map(field)
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object);
    }
    if let Some(number) = text.number() {
        let number = number.parse().map_err(|_| Flaw::NumberRange)?;
        return Ok(Value::Number(number));
    }
    Ok(match text.as_str() {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::String(text.string().ok_or(Flaw::LoneSurrogate)?.into_owned()),
    })
}

/// Reads a `Value` through any deserializer; for `#[serde(deserialize_with)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    Option::<Plain>::deserialize(deserializer).map(|plain| plain.map(|Plain(value)| value))
}

/// A `Value` in which a key is only a key.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor).map(Self)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.is_empty() && name == NUMBER_KEY && numbers_are_maps() {
                let number = fields.next_value_seed(NumberText)?;
                return Ok(Value::Number(number));
            }
            let Plain(value) = fields.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// With the feature `arbitrary_precision`, `serde_json` hands over every number
/// as an object with this key. An object of the input that is spelt so is then a
/// number too; nothing of it is parsed as JSON.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Whether that feature is on in this build: only then is this a number.
fn numbers_are_maps() -> bool {
    "1e400".parse::<Number>().is_ok()
}

/// The digits of a number as text.
struct NumberText;

impl<'de> DeserializeSeed<'de> for NumberText {
    type Value = Number;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Number, D::Error> {
        let digits = String::deserialize(deserializer)?;
        digits.parse().map_err(Error::custom)
    }
}
