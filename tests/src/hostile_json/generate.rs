//! Values that are made to hurt: a few by name, the rest by seed.

use notify_conformance::Draw;

/// `serde_json` reads a map whose first key is one of these as something else,
/// where the features of that name are on.
pub const PRIVATE_TOKENS: [&str; 2] = [
    "$serde_json::private::RawValue",
    "$serde_json::private::Number",
];

/// Below the depth at which `serde_json` stops reading by itself.
const DEPTH_KEPT: usize = 120;

/// No value is given less room.
const LEAF_BYTES_MIN: usize = 64;

/// From here on, an eighth is room for a key and a value.
const MIXED_BYTES_MIN: usize = 16 * LEAF_BYTES_MIN;

/// The values that ended a process once, and their kin, by name; none is longer
/// than `bytes_max`.
pub fn known(bytes_max: usize) -> Vec<(String, String)> {
    let mut known = Vec::new();
    let mut add = |name: &str, text: String| {
        if text.len() <= bytes_max {
            known.push((name.to_owned(), text));
        }
    };
    for token in PRIVATE_TOKENS {
        for (layers, depth) in [(44, DEPTH_KEPT), (150, DEPTH_KEPT), (200, 1)] {
            let name = format!("{layers} layers of {token}, {depth} deep");
            add(&name, layered(token, layers, depth, bytes_max));
        }
        add(&format!("{token} alone"), format!(r#"{{"{token}":"1"}}"#));
        add(
            &format!("{token} of nonsense"),
            format!(r#"{{"{token}":"]"}}"#),
        );
        add(
            &format!("{token} of no text"),
            format!(r#"{{"{token}":{{}}}}"#),
        );
    }
    let half = bytes_max / 2;
    add("open arrays", "[".repeat(bytes_max));
    add("closed arrays", "[".repeat(half) + &"]".repeat(half));
    add("open objects", r#"{"":"#.repeat(bytes_max / 4));
    add("many ones", listed("1", bytes_max));
    add("many empty arrays", listed("[]", bytes_max));
    add("many empty objects", listed("{}", bytes_max));
    add("many empty texts", listed("\"\"", bytes_max));
    add(
        "many arrays of arrays",
        listed("[[[[[[[[0]]]]]]]]", bytes_max),
    );
    add("many keys", keyed(bytes_max));
    add("a long number", "9".repeat(bytes_max));
    add(
        "a long fraction",
        format!("0.{}", "1".repeat(bytes_max - 2)),
    );
    add(
        "a long exponent",
        format!("1e{}", "9".repeat(bytes_max - 2)),
    );
    add(
        "control characters",
        format!("\"{}\"", "\\u0000".repeat((bytes_max - 2) / 6)),
    );
    add(
        "lone surrogates",
        format!("\"{}\"", "\\ud800".repeat((bytes_max - 2) / 6)),
    );
    add("backslashes", format!("\"{}\"", "\\".repeat(bytes_max - 2)));
    known
}

/// The value of a seed, of at most `bytes_max`; not always JSON.
pub fn seeded(seed: u64, bytes_max: usize) -> String {
    let mut draw = Draw::new(seed);
    // As many small ones as large ones.
    let shift = draw.below(12);
    value(&mut draw, (bytes_max >> shift).max(LEAF_BYTES_MIN), 3)
}

/// One value; those within it are of fewer `levels`.
fn value(draw: &mut Draw, bytes_max: usize, levels: u64) -> String {
    if levels > 0 && bytes_max >= MIXED_BYTES_MIN && draw.chance(40) {
        return mixed(draw, bytes_max, levels);
    }
    let of = |part: u64| usize::try_from(part).unwrap_or_default();
    match draw.below(6) {
        0 => deep(draw, bytes_max),
        1 => listed(draw.pick(&ATOMS), bytes_max),
        2 => keyed(bytes_max),
        3 => {
            let depth = of(draw.below(DEPTH_KEPT as u64));
            let layers = of(draw.below(200));
            layered(draw.pick(&PRIVATE_TOKENS), layers, depth, bytes_max)
        }
        4 => number(draw, bytes_max),
        _ => text(draw, bytes_max),
    }
}

/// A list or an object of a few values.
fn mixed(draw: &mut Draw, bytes_max: usize, levels: u64) -> String {
    let count = 1 + draw.below(6);
    let share = bytes_max / 8;
    let mut parts = Vec::new();
    for _ in 0..count {
        let value = value(draw, share - LEAF_BYTES_MIN, levels - 1);
        parts.push(value);
    }
    if draw.chance(50) {
        return format!("[{}]", parts.join(","));
    }
    let fields = parts.iter().map(|part| format!("\"{}\":{part}", key(draw)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A key: often a private token, as it is or escaped, and not always the first.
fn key(draw: &mut Draw) -> String {
    let token = draw.pick(&PRIVATE_TOKENS);
    match draw.below(5) {
        0 => token.to_owned(),
        1 => token.replace('$', "\\u0024"),
        2 => "status".to_owned(),
        3 => "\\ud83d\\ude00\\u0000".to_owned(),
        _ => draw.below(3).to_string(),
    }
}

/// Brackets, closed or not.
fn deep(draw: &mut Draw, bytes_max: usize) -> String {
    let (open, close) = draw.pick(&[("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")]);
    let depth = bytes_max.saturating_sub(8) / (open.len() + close.len());
    // Most parsers stop at some depth between 32 and 1,024.
    let depth = draw.pick(&[
        depth,
        depth.min(63),
        depth.min(64),
        depth.min(127),
        depth.min(1_024),
    ]);
    let end = if draw.chance(75) {
        close.repeat(depth)
    } else {
        String::new()
    };
    format!("{}{}{end}", open.repeat(depth), draw.pick(&ATOMS))
}

const ATOMS: [&str; 8] = [
    "0",
    "{}",
    "[]",
    "\"\"",
    "null",
    "1e9",
    "[[0]]",
    r#"{"a":0}"#,
];

/// As many of one value in a list as there is room for.
fn listed(value: &str, bytes_max: usize) -> String {
    let count = bytes_max.saturating_sub(2) / (value.len() + 1);
    let mut list = format!("{value},").repeat(count);
    list.pop();
    format!("[{list}]")
}

/// As many keys in an object as there is room for.
fn keyed(bytes_max: usize) -> String {
    let mut object = String::from("{");
    for number in 0.. {
        let field = format!("\"{number:x}\":0,");
        if object.len() + field.len() > bytes_max {
            break;
        }
        object += &field;
    }
    if object.len() > 1 {
        object.pop();
    }
    object + "}"
}

/// JSON within the text of a private token, again and again, each `depth` deep:
/// who reads such text as JSON begins to count depth anew each time.
fn layered(token: &str, layers: usize, depth: usize, bytes_max: usize) -> String {
    let depth = depth.min(bytes_max / 4);
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let mut nested = format!("{open}{close}");
    if nested.is_empty() {
        nested.push('0');
    }
    for _ in 0..layers {
        let escaped = nested.replace('\\', "\\u005c").replace('"', "\\u0022");
        let next = format!(r#"{open}{{"{token}":"{escaped}"}}{close}"#);
        if next.len() > bytes_max {
            break;
        }
        nested = next;
    }
    nested
}

fn number(draw: &mut Draw, bytes_max: usize) -> String {
    let digits = |room: usize| "123456789".repeat(room / 9);
    match draw.below(7) {
        0 => digits(bytes_max),
        1 => format!("-0.{}e-1", digits(bytes_max - 16)),
        2 => format!("1e{}", digits(bytes_max - 16)),
        3 => "1e400".to_owned(),
        4 => "-9223372036854775809".to_owned(),
        5 => format!("0{}", digits(64)),
        _ => listed(&format!("{}.5e3", digits(45)), bytes_max),
    }
}

fn text(draw: &mut Draw, bytes_max: usize) -> String {
    let part = draw.pick(&[
        "\\u0000",
        "\\ud800",
        "\\udc00",
        "\\\\",
        "\\\"",
        "\\u001b",
        "\\x",
        "\u{1}",
        "\u{2028}",
        "\u{1f600}",
    ]);
    let count = (bytes_max - 16) / part.len();
    let end = draw.pick(&["\"", "\\", ""]);
    format!("\"{}{end}", part.repeat(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_value_and_keeps_to_its_size() {
        for seed in 0..300 {
            let made = seeded(seed, 100_000);
            assert!(made.len() <= 100_000, "{seed}: {}", made.len());
            assert_eq!(made, seeded(seed, 100_000));
        }
    }

    #[test]
    fn a_layered_value_is_json_within_json() {
        let mut nested = layered(PRIVATE_TOKENS[0], 3, 2, 10_000);
        for _ in 0..3 {
            let read: serde_json::Value = serde_json::from_str(&nested.replace('$', "")).unwrap();
            let inner = &read[0][0]["serde_json::private::RawValue"];
            nested = inner.as_str().unwrap().to_owned();
        }
        assert_eq!(nested, "[[]]");
    }

    #[test]
    fn every_known_value_is_there() {
        assert_eq!(known(1_000_000).len(), 27);
    }
}
