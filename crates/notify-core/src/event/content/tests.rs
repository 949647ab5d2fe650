//! The rules for each field, through both doors.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn from_json(json: &[u8]) -> Result<EventContent, EventInvalid> {
    EventContent::from_json(json, EventLimits::default())
}

#[track_caller]
fn check_refused(json: &str, field: &str) {
    let refused = from_json(json.as_bytes()).unwrap_err();
    assert_eq!(refused.field(), Some(field), "{json}: {refused}");
}

#[test]
fn every_refusal_names_its_field() {
    check_refused(r"{}", "status");
    check_refused(r#"{"status":"done"}"#, "status");
    check_refused(r#"{"status":null}"#, "status");
    check_refused(r#"{"status":"queued","progress":101}"#, "progress");
    check_refused(r#"{"status":"queued","progress":-1}"#, "progress");
    check_refused(r#"{"status":"queued","progress":4.5}"#, "progress");
    check_refused(r#"{"status":"queued","progress":"4"}"#, "progress");
    check_refused(r#"{"status":"queued","error":4}"#, "error");
    check_refused(r#"{"status":"queued","timestamp":-4}"#, "timestamp");
    check_refused(r#"{"status":"queued","timestamp":1.5}"#, "timestamp");
    check_refused(r#"{"status":"queued","colour":1}"#, "colour");
    check_refused(r#"{"status":"queued","status":"failed"}"#, "status");
    check_refused(
        &format!(
            r#"{{"status":"queued","result":{}1{}}}"#,
            "[".repeat(64),
            "]".repeat(64)
        ),
        "result",
    );
    check_refused(
        &format!(
            r#"{{"status":"queued","result":{}1{}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        ),
        "result",
    );
}

#[test]
fn what_is_no_object_is_said_to_be_none() {
    for text in ["1", "null", "[]", "\"queued\"", "true"] {
        let refused = from_json(text.as_bytes());
        assert_eq!(refused, Err(EventInvalid::NotAnObject), "{text}");
        check_refused(text, "body");
    }
    for text in ["", "{", "{]", "{\"status\":\"queued\"} x", "\u{feff}{}"] {
        let refused = from_json(text.as_bytes());
        assert_eq!(refused, Err(EventInvalid::Malformed), "{text}");
    }
}

#[test]
fn what_some_parser_must_refuse_is_refused_by_name() {
    check_refused(r#"{"status":"queued","result":{"x":1e400}}"#, "result");
    check_refused(r#"{"status":"queued","result":["\ud800"]}"#, "result");
    check_refused(r#"{"status":"queued","result":{"\udc00":1}}"#, "result");
    check_refused(r#"{"status":"queued","error":"\udc00x"}"#, "error");
    check_refused(r#"{"st\u0061tus":"queued","status":"failed"}"#, "status");
    check_refused(
        r#"{"status":"queued","timestamp":18446744073709551616}"#,
        "timestamp",
    );
    check_refused(r#"{"status":"queued","progress":-0}"#, "progress");
    check_refused(r#"{"status":"queued","__proto__":1}"#, "__proto__");
}

#[test]
fn the_first_field_at_fault_is_named() {
    check_refused(r#"{"colour":1,"status":"done"}"#, "colour");
    check_refused(r#"{"status":"done","colour":1}"#, "status");
}

#[test]
fn null_is_absent() {
    let json =
        br#"{"status":"failed","progress":null,"result":null,"error":null,"timestamp":null}"#;
    let draft = from_json(json).unwrap().draft(9);
    assert_eq!(&draft.json[..], br#"{"status":"failed","timestamp":9}"#);
    let null = JobEvent::completed(Value::Null).draft(9, EventLimits::default());
    let kept = br#"{"status":"completed","timestamp":9}"#;
    assert_eq!(&null.unwrap().json[..], kept);
}

#[test]
fn a_result_is_kept_as_it_was_written() {
    for result in [
        "123456789012345678901234567890",
        "-9223372036854775809",
        "1.10",
        "1e2",
        "-0",
        "0.30000000000000004",
        r#"{"z":1,"a":{"y":1,"b":2},"z":2}"#,
        r#"{"$serde_json::private::RawValue":"1"}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"["\u0041\/","\ud83d\ude00"]"#,
        "\"\u{2028}\"",
    ] {
        let json = format!(r#"{{ "status" : "queued", "result" : {result} }}"#);
        let kept = format!(r#"{{"status":"queued","result":{result},"timestamp":7}}"#);
        assert_eq!(from_json(json.as_bytes()).unwrap().draft(7).json, kept);
    }
    let spaced = b"{\"status\":\"queued\",\"result\":{ \"a b\" :\n[1 , 2]}}";
    let kept = r#"{"status":"queued","result":{"a b":[1,2]},"timestamp":7}"#;
    assert_eq!(from_json(spaced).unwrap().draft(7).json, kept);
}

#[test]
fn a_value_is_kept_as_it_serialises() {
    let value = json!({"z": 1, "a": [1.5, "é"]});
    let draft = JobEvent::completed(value.clone()).draft(7, EventLimits::default());
    let kept = format!(r#"{{"status":"completed","result":{value},"timestamp":7}}"#);
    assert_eq!(draft.unwrap().json, kept);
}

#[test]
fn sixty_three_levels_of_result_fit() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let fits = JobEvent::completed(nested(63));
    let json = format!(r#"{{"status":"queued","result":{}}}"#, nested(63));
    assert!(fits.draft(1, EventLimits::default()).is_ok());
    assert!(from_json(json.as_bytes()).is_ok());
    let deeper = JobEvent::completed(nested(64)).draft(1, EventLimits::default());
    assert_eq!(deeper.unwrap_err().field(), Some("result"));
}

#[test]
fn size_is_judged_as_it_came() {
    let limits = EventLimits {
        event_bytes_max: 60,
    };
    let too_large = Err(EventInvalid::TooLarge { bytes_max: 60 });
    assert!(JobEvent::failed("x").content(limits).is_ok());
    assert_eq!(JobEvent::failed("x".repeat(60)).content(limits), too_large);
    let short = br#"{"status":"queued","result":[1e9,1e9,1e9,1e9,1e9,1e9,1e9,1]}"#;
    assert_eq!(short.len(), 60);
    assert!(EventContent::from_json(short, limits).is_ok());
    let spaced = [&short[..], b" "].concat();
    assert_eq!(EventContent::from_json(&spaced, limits), too_large);
}

#[test]
fn the_fingerprint_covers_content_and_webhook() {
    let of = |json: &str, url| from_json(json.as_bytes()).unwrap().fingerprint(url);
    let url = "https://a.example/";
    let one = r#"{"status":"queued","result":{"a":1},"error":"x"}"#;
    let same = r#" { "error":"\u0078","result":{"a" : 1},"status":"qu\u0065ued","progress":null,"timestamp":0}"#;
    assert_eq!(of(one, None), of(same, None));
    assert_ne!(of(one, None), of(one, Some(url)));
    for other in [
        r#"{"status":"failed","result":{"a":1},"error":"x"}"#,
        r#"{"status":"queued","result":{"a":2},"error":"x"}"#,
        r#"{"status":"queued","result":{"a":1.0},"error":"x"}"#,
        r#"{"status":"queued","result":{"a":1},"error":"x","timestamp":5}"#,
        r#"{"status":"queued","result":{"a":1},"error":"x","progress":1}"#,
    ] {
        assert_ne!(of(one, None), of(other, None), "{other}");
    }
}

#[test]
fn a_fingerprint_of_an_earlier_version_still_matches() {
    // It was made of what serialising the event gives.
    let event = JobEvent {
        progress: Some(4),
        timestamp: 5,
        ..JobEvent::completed(json!({"a": "b"}))
    };
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&event).unwrap());
    hash.update([0]);
    let earlier = Fingerprint(hash.finalize().into());
    let content = event.content(EventLimits::default()).unwrap();
    assert_eq!(content.fingerprint(None), earlier);
}

#[test]
fn a_newer_event_is_read_by_an_older_reader() {
    let json = br#"{"eta":[1],"status":"completed","result":{"$serde_json::private::RawValue":"1"},"timestamp":7}"#;
    let read = EventContent::read(Text::read(json).unwrap()).unwrap();
    let expected = json!({"$serde_json::private::RawValue": "1"});
    assert_eq!(read.result.as_ref().unwrap().as_str(), expected.to_string());
    let event = read.to_event().unwrap();
    assert_eq!((event.timestamp, &event.result), (7, &Some(expected)));
    assert_eq!(serde_json::from_slice::<JobEvent>(json).unwrap(), event);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[\\{\\}\\[\\]\",:a-z0-9\\\\ ]{0,80}") {
        let _ = from_json(&bytes);
        let _ = from_json(text.as_bytes());
    }

    #[test]
    fn what_was_accepted_reads_back(progress in proptest::option::of(0u8..=100), error: Option<String>, number: f64, timestamp in 1u64..) {
        let event = JobEvent { progress, error, timestamp, ..JobEvent::completed(json!([number])) };
        let content = event.clone().content(EventLimits::default()).unwrap();
        let draft = content.draft(3);
        prop_assert_eq!(from_json(&draft.json), Ok(content.clone()));
        prop_assert_eq!(EventContent::read(Text::read(&draft.json).unwrap()), Ok(content.clone()));
        prop_assert_eq!(content.to_event(), Ok(event));
    }
}
