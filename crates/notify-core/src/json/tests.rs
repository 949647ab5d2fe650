//! The reader against `serde_json`, built without its private features, and
//! against what those features make of a key.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Number, Value, json};

use super::*;

/// Pieces that JSON is made of, and some that it is not.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"\\u0041\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "\\",
        "0",
        "-",
        "1",
        "01",
        "1.5",
        "1e9",
        "1e400",
        "-0",
        ".",
        "e",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\t",
        "\u{b}",
        "\"é\"",
        "{}",
        "[]",
        "[1,2]",
        "{\"a\":1}",
        "\"$serde_json::private::RawValue\":",
        "\"$serde_json::private::Number\":",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let name = prop_oneof![".{0,6}", Just("$serde_json::private::RawValue".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn read(text: &str) -> Text<'_> {
    Text::read(text.as_bytes()).unwrap()
}

proptest! {
    #[test]
    fn what_is_json_is_agreed_upon(text in any_text(), bytes: Vec<u8>) {
        for bytes in [text.as_bytes(), &bytes] {
            let theirs = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
            // They pass over bytes that are no UTF-8 when nobody looks at them.
            let theirs = theirs && std::str::from_utf8(bytes).is_ok();
            prop_assert_eq!(Text::read(bytes).is_ok(), theirs);
        }
    }

    #[test]
    fn every_part_of_json_is_json(text in any_text()) {
        fn check(text: Text<'_>) {
            assert_eq!(Text::read(text.as_str().as_bytes()), Ok(text));
            text.items().into_iter().flatten().for_each(check);
            text.fields().into_iter().flatten().for_each(|(_, value)| check(value));
        }
        if let Ok(text) = Text::read(text.as_bytes()) {
            check(text);
        }
    }

    #[test]
    fn a_value_is_read_as_it_was_written(value in any_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let read = Text::read(text.as_bytes()).unwrap();
            prop_assert_eq!(read.flaw(128), None);
            prop_assert_eq!(read.to_value().unwrap(), value.clone());
            prop_assert_eq!(read.compact(), value.to_string());
        }
    }

    #[test]
    fn a_string_stands_for_what_serde_json_reads(text in any_text(), escapes in "(\\\\u[dD][89abcdef][0-9a-f]{2}|\\\\n|x|\\\\u0061){0,6}") {
        for text in [text, format!("\"{escapes}\"")] {
            let Ok(read) = Text::read(text.as_bytes()) else { continue };
            if text.trim_start().starts_with('"') {
                let theirs = serde_json::from_str::<String>(&text).ok();
                prop_assert_eq!(read.string().map(String::from), theirs);
                prop_assert_eq!(read.string().is_none(), read.flaw(1) == Some(Flaw::LoneSurrogate));
            }
        }
    }
}

#[test]
fn what_is_malformed_says_where() {
    for (text, at_byte) in [
        ("", 0),
        ("{\"a\":}", 5),
        ("[1,2", 4),
        ("1 2", 2),
        ("\u{feff}1", 0),
    ] {
        assert_eq!(
            Text::read(text.as_bytes()),
            Err(Malformed { at_byte }),
            "{text}"
        );
    }
    assert_eq!(Text::read(b"\"\xff\""), Err(Malformed { at_byte: 1 }));
}

#[test]
fn depth_and_width_cost_no_stack() {
    for depth in [64, 65, 1_000, 500_000] {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        let read = read(&text);
        assert_eq!(read.flaw(64), (depth > 64).then_some(Flaw::TooDeep));
        assert_eq!(read.compact(), text);
        assert_eq!(read.items().unwrap().count(), 1);
        assert_eq!(read.to_value().is_ok(), depth <= 128);
        let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        assert!(Text::read(objects.as_bytes()).is_ok());
        let crossed = "[".repeat(depth) + &"}".repeat(depth);
        assert!(Text::read(crossed.as_bytes()).is_err());
    }
}

#[test]
fn flaws_are_found_wherever_they_are() {
    for (text, flaw) in [
        ("1e400", Some(Flaw::NumberRange)),
        ("[{\"a\":-1e309}]", Some(Flaw::NumberRange)),
        ("1e-400", None),
        ("123456789012345678901234567890", None),
        ("\"\\ud800\"", Some(Flaw::LoneSurrogate)),
        ("\"\\udc00\\ud800\"", Some(Flaw::LoneSurrogate)),
        ("{\"\\uD83D\":1}", Some(Flaw::LoneSurrogate)),
        ("\"\\ud83d\\ude00\"", None),
        ("\"\\\\ud800\"", None),
        ("\"1e400\"", None),
    ] {
        assert_eq!(read(text).flaw(64), flaw, "{text}");
    }
    let digits = "9".repeat(309);
    assert_eq!(read(&digits).flaw(64), Some(Flaw::NumberRange));
    assert_eq!(read(digits.get(1..).unwrap()).flaw(64), None);
}

#[test]
fn a_private_key_is_only_a_key() {
    for key in [
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
    ] {
        let expected = json!({ key: "1" });
        assert_eq!(read(&expected.to_string()).to_value(), Ok(expected.clone()));
        let json = expected.to_string();
        let through_serde = deserialize_value(&mut serde_json::Deserializer::from_str(&json));
        // Where a build hands numbers over as objects, serde can't tell them apart.
        let is_number = through_serde.as_ref().is_ok_and(|it| *it == Some(json!(1)));
        let numbers_are_objects = "1e400".parse::<Number>().is_ok();
        assert!(is_number == (numbers_are_objects && key.ends_with("Number")));
        assert!(is_number || through_serde.unwrap() == Some(expected));
    }
}

#[test]
fn a_private_key_is_found_wherever_an_object_begins_with_it() {
    for text in [
        r#"{"$serde_json::private::RawValue":"1"}"#,
        r#"[1,{"a":{ "$serde_json\u003a:private::Number" :1}}]"#,
    ] {
        assert!(read(text).has_private_key(), "{text}");
    }
    for text in [
        r#"{"a":"$serde_json::private::RawValue"}"#,
        r#"{"a":1,"$serde_json::private::RawValue":"1"}"#,
        r#"["$serde_json::private::RawValue"]"#,
        r#"{"a":"{\"$serde_json::private::RawValue\":1}"}"#,
    ] {
        assert!(!read(text).has_private_key(), "{text}");
    }
}

#[test]
fn white_space_goes_and_nothing_else() {
    let text = " { \"a b\" :\t[ 1.10 , -0 , 1E2 ,\r\n \"\\u0041 \\\" \" ] , \"a b\" : true } ";
    let compact = r#"{"a b":[1.10,-0,1E2,"\u0041 \" "],"a b":true}"#;
    assert_eq!(read(text).compact(), compact);
    assert_eq!(read(compact).compact(), compact);
}
