//! What people read: lines on a terminal, free of what could take it over.

use std::io::Write as _;

/// Prints a line. A reader that has gone away is no error of ours.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a line where errors and remarks go.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Text from outside with its control characters escaped: `ESC` could otherwise
/// move the cursor, a newline forge a line, and a change of writing direction
/// reorder what is read.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || reorders(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// As [`escaped`], for text of several lines.
pub(crate) fn escaped_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}

/// Bytes from outside as text, escaped, and at most `chars_max` of it.
pub(crate) fn escaped_bytes(bytes: &[u8], chars_max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(chars_max).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    escaped(&head) + rest
}

/// Line and paragraph separators, and the bidirectional controls of Unicode
/// Standard Annex 9.
fn reorders(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_take_over_a_terminal_is_escaped() {
        for (text, expected) in [
            ("plain text, größer", "plain text, größer"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\tc\0", "a\\nb\\r\\tc\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn long_and_broken_text_is_cut_and_mended() {
        assert_eq!(escaped_bytes(b"abc", 3), "abc");
        assert_eq!(escaped_bytes(b"abcd", 3), "abc…");
        assert_eq!(escaped_bytes(b"\xff\x07", 9), "\u{fffd}\\u{7}");
    }
}
