//! The `Retry-After` header.

use std::time::{Duration, UNIX_EPOCH};

use notify_core::Timestamp;
use notify_core::transport::RetryAfter;

/// Reads whole seconds or an HTTP date
/// ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
///
/// Anything else is as if the header were not there. A number too large to hold
/// is taken as the largest: its sender means "not soon".
pub(crate) fn parse(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Nothing but an overflow can be wrong with these digits.
        let secs = text.parse().unwrap_or(u64::MAX);
        return Some(RetryAfter::Delay(Duration::from_secs(secs)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
    Some(RetryAfter::At(Timestamp::from_secs(since_epoch.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_a_delay() {
        for (text, secs) in [("0", 0), ("120", 120), (" 7 ", 7), ("007", 7)] {
            let delay = RetryAfter::Delay(Duration::from_secs(secs));
            assert_eq!(parse(text), Some(delay), "{text}");
        }
    }

    #[test]
    fn a_number_without_end_means_not_soon() {
        for text in ["18446744073709551616", &"9".repeat(400)] {
            let delay = RetryAfter::Delay(Duration::from_secs(u64::MAX));
            assert_eq!(parse(text), Some(delay), "{text}");
        }
    }

    #[test]
    fn all_three_forms_of_a_date_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let at = RetryAfter::At(Timestamp::from_secs(784_111_777));
            assert_eq!(parse(text), Some(at), "{text}");
        }
    }

    #[test]
    fn garbage_is_ignored() {
        for text in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "1s",
            "soon",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1904 08:49:37 GMT",
            "١٢",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
