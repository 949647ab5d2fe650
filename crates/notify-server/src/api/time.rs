//! Times in answers and in filters: RFC 3339, in UTC.

use notify_core::Timestamp;

/// RFC 3339 in UTC with milliseconds, such as `2026-01-31T12:00:00.000Z`.
pub(super) fn rfc3339(at: Timestamp) -> String {
    // `humantime` refuses years beyond 9999, and adding to the epoch could go
    // beyond what the system's clock can say.
    const YEAR_9999: u64 = 253_402_300_799_999;
    let millis = at.as_millis().min(YEAR_9999);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Reads RFC 3339 in UTC, with or without fractions of a second.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH.plus(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc_with_milliseconds() {
        let at = |millis| rfc3339(Timestamp::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_712_534_400_042), "2024-04-08T00:00:00.042Z");
        assert_eq!(at(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_written_is_read() {
        let at = Timestamp::from_millis(1_712_534_400_042);
        assert_eq!(parse(&rfc3339(at)), Some(at));
        let whole = parse("2024-04-08T00:00:00Z");
        assert_eq!(whole, Some(Timestamp::from_secs(1_712_534_400)));
        for bad in [
            "",
            "yesterday",
            "1712534400",
            "2024-04-08",
            "2024-04-08T00:00:00+02:00",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
