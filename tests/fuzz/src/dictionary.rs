//! What is told to hurt a reader of JSON, and is too long to be found by chance.

/// Parts of a text, to be put in anywhere.
pub const PARTS: &[&str] = &[
    // A map whose first key is one of these is something else to `serde_json`,
    // where features that any build may turn on are on.
    r#"{"$serde_json::private::RawValue":""#,
    r#"{"$serde_json::private::Number":""#,
    r#""$serde_json::private::RawValue""#,
    r#""$serde_json::private::Number""#,
    r#""\u0024serde_json::private::RawValue""#,
    r#""$__toml_private_datetime""#,
    // Deep, but for some parser's limit.
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    r#"{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":"#,
    "}}}}}}}}",
    // Numbers that are longer than a machine's.
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890123456789012345678901234567890",
    "0.30000000000000000000000000000000000000000000000000000004",
    "1e400",
    "1e-400",
    "-0.0",
    "1e999999999999",
    // Escapes: of what escapes, of what ends a text, and halves of a character.
    r"\u0022",
    r"\u005c",
    r#"\\\""#,
    r"\u0000",
    r"\ud800",
    r"\udc00",
    r"\ud83d\ude00",
    r#"{"":0,"":0}"#,
];

/// The same as `libFuzzer` reads it: a line a part.
pub fn file() -> String {
    let lines = PARTS.iter().map(|part| {
        let escaped = part.replace('\\', r"\\").replace('"', "\\\"");
        format!("\"{escaped}\"\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_a_line_of_printable_text() {
        assert_eq!(file().lines().count(), PARTS.len());
        for part in PARTS {
            assert!(
                part.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{part}"
            );
            // The longest that `libFuzzer` takes.
            assert!(part.len() <= 64, "{part}");
        }
        assert!(file().starts_with(r#""{\"$serde_json::private::RawValue\":\"""#));
    }
}
