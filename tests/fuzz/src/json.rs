//! JSON, as far as it is kept as text.

use notify_core::json::{Flaw, Text};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "json",
    check,
    seeds,
};

/// What is JSON is agreed upon with another reader; its parts are JSON; without
/// its white space it says the same; and a tree of it is what the other reader
/// makes, where no key has a meaning for that one.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let theirs = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    let theirs = theirs && std::str::from_utf8(bytes).is_ok();
    let read = Text::read(bytes);
    assert_eq!(read.is_ok(), theirs);
    let Ok(text) = read else { return };
    check_parts(text);
    let compact = text.compact();
    let again = Text::read(compact.as_bytes()).expect("it is JSON still");
    assert_eq!(again.compact(), compact);
    assert_eq!(again.flaw(64), text.flaw(64));
    assert_eq!(again.has_private_key(), text.has_private_key());
    let value = text.to_value().ok();
    assert_eq!(value, again.to_value().ok());
    // In a customer's build they give some keys a meaning, and of what nests deep
    // they read a level less.
    if !text.has_private_key() && text.flaw(120) != Some(Flaw::TooDeep) {
        let theirs: Option<Value> = serde_json::from_slice(bytes).ok();
        assert_eq!(
            value.is_some(),
            theirs.is_some() && text.flaw(120).is_none()
        );
        assert!(value.is_none() || value == theirs);
    }
}

fn check_parts(text: Text<'_>) {
    let items = text.items().into_iter().flatten();
    let values = text.fields().into_iter().flatten().map(|(_, value)| value);
    for part in items.chain(values).take(64) {
        assert_eq!(Text::read(part.as_str().as_bytes()), Ok(part));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    crate::seeds([
        r#" { "a" : [ 1 , -0.5e+10 , true , false , null ] , "b\u0041" : "\ud83d\ude00" } "#,
        r#"{"$serde_json::private::RawValue":"{\"$serde_json::private::RawValue\":\"1\"}"}"#,
        r#"{"$serde_json::private::Number":"1e400"}"#,
        r#"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#,
        r#"["\ud800","\udc00\ud800",123456789012345678901234567890,1e308,1e309]"#,
    ])
}
