//! Valid JSON, and its parts.

use std::borrow::Cow;

use super::scan::Scanner;
use super::{Flaw, Malformed};

/// A value of valid JSON, as it was written, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Judges whether `bytes` are one JSON value, of any depth. Costs one pass
    /// and a bit of memory for each open level.
    ///
    /// # Errors
    /// [`Malformed`] says where they stop being JSON.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
            at_byte: error.valid_up_to(),
        })?;
        let mut scanner = Scanner::new(bytes);
        match scanner.document() {
            Ok(()) => Ok(Self(text.trim_matches([' ', '\t', '\n', '\r']))),
            Err(_) => Err(Malformed {
                at_byte: scanner.at,
            }),
        }
    }

    /// What a [`Json`](super::Json) holds.
    pub(super) fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// The text as it was written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The fields of an object in their order, doubled ones included; `None` if
    /// it is no object.
    pub fn fields(self) -> Option<Fields<'a>> {
        self.0.starts_with('{').then(|| Fields(Parts::of(self.0)))
    }

    /// The items of an array; `None` if it is no array.
    pub fn items(self) -> Option<Items<'a>> {
        self.0.starts_with('[').then(|| Items(Parts::of(self.0)))
    }

    /// The text that a string stands for; `None` if it is no string, or stands
    /// for no Unicode text.
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        unescaped(inner).ok()
    }

    /// A number that is written as a whole one and fits; `None` otherwise.
    pub fn whole_number(self) -> Option<u64> {
        // The grammar is known to hold, and Rust's adds only the leading `+`.
        self.0.parse().ok()
    }

    /// A number as it was written; `None` if it is none.
    pub fn number(self) -> Option<&'a str> {
        let begins_one = |first: char| first == '-' || first.is_ascii_digit();
        self.0.starts_with(begins_one).then_some(self.0)
    }

    /// What keeps it from being passed on, if `levels_max` arrays and objects
    /// may nest: the first flaw that it has.
    pub fn flaw(self, levels_max: usize) -> Option<Flaw> {
        let mut scanner = Scanner::new(self.0.as_bytes());
        let mut levels = 0usize;
        while let Some(byte) = scanner.peek() {
            let start = scanner.at;
            match byte {
                b'"' => {
                    scanner.pass_string();
                    if self
                        .0
                        .get(start..scanner.at)
                        .is_some_and(has_lone_surrogate)
                    {
                        return Some(Flaw::LoneSurrogate);
                    }
                    continue;
                }
                b'-' | b'0'..=b'9' => {
                    scanner.pass_word();
                    if self.0.get(start..scanner.at).is_some_and(is_out_of_range) {
                        return Some(Flaw::NumberRange);
                    }
                    continue;
                }
                b'{' | b'[' => {
                    levels += 1;
                    if levels > levels_max {
                        return Some(Flaw::TooDeep);
                    }
                }
                b'}' | b']' => levels = levels.saturating_sub(1),
                _ => {}
            }
            scanner.at += 1;
        }
        None
    }

    /// Whether some object in it begins with a key that `serde_json` keeps for
    /// itself. Its `Value`, in a build with the feature `raw_value` or
    /// `arbitrary_precision`, does not read such an object as one.
    pub fn has_private_key(self) -> bool {
        let mut scanner = Scanner::new(self.0.as_bytes());
        let mut opened = false;
        while let Some(byte) = scanner.peek() {
            let start = scanner.at;
            match byte {
                b'"' => {
                    scanner.pass_string();
                    let key = self.0.get(start..scanner.at).map(Text);
                    if opened && key.is_some_and(is_private) {
                        return true;
                    }
                    opened = false;
                }
                b' ' | b'\t' | b'\n' | b'\r' => scanner.at += 1,
                byte => {
                    opened = byte == b'{';
                    scanner.at += 1;
                }
            }
        }
        false
    }

    /// The text without white space between its tokens; nothing else changes.
    pub fn compact(self) -> String {
        let mut scanner = Scanner::new(self.0.as_bytes());
        let mut compact = String::with_capacity(self.0.len());
        while let Some(byte) = scanner.peek() {
            let start = scanner.at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    scanner.space();
                    continue;
                }
                b'"' => scanner.pass_string(),
                b'{' | b'}' | b'[' | b']' | b',' | b':' => scanner.at += 1,
                _ => scanner.pass_word(),
            }
            compact.push_str(self.0.get(start..scanner.at).unwrap_or_default());
        }
        compact
    }
}

/// The fields of an object, by name.
///
/// In a name, half of a surrogate pair is shown as U+FFFD.
#[derive(Clone, Debug)]
pub struct Fields<'a>(Parts<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = (Cow<'a, str>, Text<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.next()?.0;
        let inner = name.strip_prefix('"')?.strip_suffix('"')?;
        let name = unescaped(inner).unwrap_or_else(Cow::Owned);
        Some((name, self.0.next()?))
    }
}

/// The items of an array.
#[derive(Clone, Debug)]
pub struct Items<'a>(Parts<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        self.0.next()
    }
}

/// The values right inside an array, or an object's names and values in turn.
#[derive(Clone, Debug)]
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parts<'a> {
    /// The parts of an array or object.
    fn of(text: &'a str) -> Self {
        Self { text, at: 1 }
    }

    fn next(&mut self) -> Option<Text<'a>> {
        let mut scanner = Scanner::new(self.text.as_bytes());
        scanner.at = self.at;
        while matches!(
            scanner.peek(),
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r')
        ) {
            scanner.at += 1;
        }
        if matches!(scanner.peek(), None | Some(b'}' | b']')) {
            return None;
        }
        let start = scanner.at;
        scanner.pass_value();
        self.at = scanner.at;
        self.text.get(start..scanner.at).map(Text)
    }
}

/// What the inside of a valid string stands for; `Err` with U+FFFD for each half
/// of a surrogate pair.
fn unescaped(inner: &str) -> Result<Cow<'_, str>, String> {
    let Some(first) = inner.find('\\') else {
        return Ok(Cow::Borrowed(inner));
    };
    let (plain, mut rest) = inner.split_at_checked(first).unwrap_or((inner, ""));
    let mut text = String::with_capacity(inner.len());
    text.push_str(plain);
    let mut whole = true;
    while let Some(escape) = rest.strip_prefix('\\') {
        let mut chars = escape.chars();
        let stands_for = match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (unit, after) = code_unit(chars.as_str());
                chars = after.chars();
                let low = after.strip_prefix("\\u").map(code_unit);
                match (char::from_u32(unit), low) {
                    (Some(c), _) => c,
                    (None, Some((low, after))) if is_pair(unit, low) => {
                        chars = after.chars();
                        joined(unit, low)
                    }
                    _ => {
                        whole = false;
                        char::REPLACEMENT_CHARACTER
                    }
                }
            }
            Some(itself) => itself,
            None => break,
        };
        text.push(stands_for);
        rest = chars.as_str();
        let next = rest.find('\\').unwrap_or(rest.len());
        let (plain, after) = rest.split_at_checked(next).unwrap_or((rest, ""));
        text.push_str(plain);
        rest = after;
    }
    if whole {
        Ok(Cow::Owned(text))
    } else {
        Err(text)
    }
}

/// Four hexadecimal digits, and what comes after them.
fn code_unit(text: &str) -> (u32, &str) {
    let (digits, after) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or_default(), after)
}

fn is_pair(high: u32, low: u32) -> bool {
    (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low)
}

fn joined(high: u32, low: u32) -> char {
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).unwrap_or_default()
}

fn is_private(key: Text<'_>) -> bool {
    key.string()
        .is_some_and(|key| key.starts_with("$serde_json::private::"))
}

fn has_lone_surrogate(string: &str) -> bool {
    // Only an escape can name one: the input is UTF-8.
    let inner = string.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.is_some_and(|inner| inner.contains("\\u") && unescaped(inner).is_err())
}

/// Whether a number rounds to no finite double.
fn is_out_of_range(number: &str) -> bool {
    // 308 digits are within it.
    let may_be = number.len() > 308 || number.contains(['e', 'E']);
    may_be && number.parse::<f64>().is_ok_and(f64::is_infinite)
}
