//! Where a reader wants to begin: the cursor that a request presents.

use axum::http::HeaderMap;
use notify_hub::StartFrom;

/// The most of a presented cursor that is kept and echoed, in characters. An
/// event id is far shorter, so what is cut off was none.
const CURSOR_CHARS_MAX: usize = 128;

/// Where the request asks to begin: after the event named by the header
/// `Last-Event-ID`, else by `?last_event_id=`, else where `?from=` says.
///
/// Never fails. An empty cursor is none, as an `EventSource` without one sends
/// nothing. A cursor that can't be an event id, even one that is no text, is
/// passed on for the subscription to call a gap; and what `from` could mean
/// besides `latest` is the beginning, from which nothing is missed.
pub(crate) fn start_from(headers: &HeaderMap, query: Option<&str>) -> StartFrom {
    let query = Query::parse(query.unwrap_or_default());
    match header(headers).or(query.last_event_id) {
        Some(cursor) => StartFrom::After(cursor),
        None if query.from_latest => StartFrom::Latest,
        None => StartFrom::Beginning,
    }
}

fn header(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("last-event-id").iter();
    let value = values.find(|value| !value.is_empty())?;
    Some(clip(&String::from_utf8_lossy(value.as_bytes())))
}

#[derive(Default)]
struct Query {
    last_event_id: Option<String>,
    from_latest: bool,
}

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "last_event_id" if !value.is_empty() => query.last_event_id = Some(clip(&value)),
                "from" => query.from_latest = value == "latest",
                _ => {}
            }
        }
        query
    }
}

fn clip(text: &str) -> String {
    text.chars().take(CURSOR_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "k3f9a2m7q1xz-12";
    const OTHER: &str = "k3f9a2m7q1xz-7";

    fn parse(header: Option<&[u8]>, query: &str) -> StartFrom {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("last-event-id", HeaderValue::from_bytes(header).unwrap());
        }
        start_from(&headers, Some(query))
    }

    fn after(cursor: &str) -> StartFrom {
        StartFrom::After(cursor.into())
    }

    #[test]
    fn without_a_cursor_it_begins_at_the_beginning_or_with_the_latest() {
        assert_eq!(
            start_from(&HeaderMap::new(), None),
            StartFrom::Beginning,
            "no query at all"
        );
        assert_eq!(parse(None, ""), StartFrom::Beginning);
        assert_eq!(parse(None, "from=latest"), StartFrom::Latest);
        assert_eq!(parse(None, "from=yesterday"), StartFrom::Beginning);
        assert_eq!(parse(None, "x=1&from=latest&y"), StartFrom::Latest);
    }

    #[test]
    fn the_header_beats_the_query_and_both_beat_from() {
        let query = format!("last_event_id={OTHER}&from=latest");
        assert_eq!(parse(Some(ID.as_bytes()), &query), after(ID));
        assert_eq!(parse(None, &query), after(OTHER));
    }

    #[test]
    fn an_empty_cursor_is_none() {
        assert_eq!(parse(Some(b""), ""), StartFrom::Beginning);
        assert_eq!(parse(Some(b""), "from=latest"), StartFrom::Latest);
        assert_eq!(parse(None, "last_event_id="), StartFrom::Beginning);
        let query = format!("last_event_id={ID}");
        assert_eq!(parse(Some(b""), &query), after(ID));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_cursor_still() {
        assert_eq!(parse(Some(b"a\xffb"), ""), after("a\u{fffd}b"));
        assert_eq!(parse(None, "last_event_id=a%FFb"), after("a\u{fffd}b"));
        // An EventSource sends UTF-8.
        assert_eq!(parse(Some("é".as_bytes()), ""), after("é"));
    }

    #[test]
    fn a_query_is_percent_decoded() {
        let query = "last_event_id=k3f9a2m7q1xz%2D12";
        assert_eq!(parse(None, query), after(ID));
    }

    #[test]
    fn an_overlong_cursor_is_clipped_and_stays_no_id() {
        let long = format!("{ID}{}", "0".repeat(1_000));
        let StartFrom::After(cursor) = parse(Some(long.as_bytes()), "") else {
            panic!("the cursor was lost");
        };
        assert_eq!(cursor.len(), 128);
        assert!(cursor.parse::<notify_hub::EventId>().is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_taken(query: String) {
            let _ = start_from(&HeaderMap::new(), Some(&query));
        }
    }
}
