//! The rules for an event from outside.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::{EventInvalid, EventLimits, JobEvent};

const STATUS_RULE: &str = "one of queued, processing, completed, failed, cancelled";
const PROGRESS_RULE: &str = "a whole number from 0 to 100";
const NESTING_RULE: &str = "arrays and objects nested at most 64 deep, the event's own included";

/// Reads an event strictly, field by field, so that every refusal has a name.
pub(super) fn read(json: &[u8], limits: EventLimits) -> Result<JobEvent, EventInvalid> {
    if json.len() > limits.event_bytes_max {
        return Err(EventInvalid::TooLarge {
            bytes_max: limits.event_bytes_max,
        });
    }
    let Fields(fields) = match serde_json::from_slice(json) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => return Err(EventInvalid::NotAnObject),
        Err(_) if nests_too_deep(json) => return Err(too_deep("result")),
        Err(_) => return Err(EventInvalid::Malformed),
    };
    let mut event = JobEvent::default();
    let mut seen: Vec<&str> = Vec::with_capacity(fields.len());
    let mut status_given = false;
    for (name, value) in &fields {
        if seen.contains(&name.as_str()) {
            return Err(EventInvalid::DoubledField {
                field: shortened(name),
            });
        }
        seen.push(name);
        match name.as_str() {
            "status" => {
                event.status = value.as_str().and_then(|text| text.parse().ok()).ok_or(
                    EventInvalid::Field {
                        field: "status",
                        rule: STATUS_RULE,
                    },
                )?;
                status_given = true;
            }
            "progress" => event.progress = optional(value, progress)?,
            "result" => event.result = Some(value.clone()).filter(|value| !value.is_null()),
            "error" => event.error = optional(value, text)?,
            "timestamp" => event.timestamp = optional(value, seconds)?.unwrap_or(0),
            unknown => {
                return Err(EventInvalid::UnknownField {
                    field: shortened(unknown),
                });
            }
        }
    }
    if !status_given {
        return Err(EventInvalid::Field {
            field: "status",
            rule: "must be there",
        });
    }
    self::fields(&event)?;
    Ok(event)
}

/// The rules that an event's Rust type does not already enforce.
pub(super) fn fields(event: &JobEvent) -> Result<(), EventInvalid> {
    if event.progress.is_some_and(|progress| progress > 100) {
        return Err(EventInvalid::Field {
            field: "progress",
            rule: PROGRESS_RULE,
        });
    }
    match &event.result {
        Some(result) if !nests_within(result, EventLimits::NESTING_MAX - 1) => {
            Err(too_deep("result"))
        }
        _ => Ok(()),
    }
}

/// The fields of a JSON object in their order, doubled ones included.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    // More fields than an event has: the first six hold one
                    // that is unknown or doubled, which is what gets named.
                    if fields.len() < 6 {
                        fields.push(field);
                    }
                }
                Ok(Fields(fields))
            }

            fn visit_unit<E: Error>(self) -> Result<Fields, E> {
                Err(E::custom("not an object"))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

fn optional<T>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, EventInvalid>,
) -> Result<Option<T>, EventInvalid> {
    if value.is_null() {
        Ok(None)
    } else {
        read(value).map(Some)
    }
}

fn progress(value: &Value) -> Result<u8, EventInvalid> {
    value
        .as_u64()
        .and_then(|number| u8::try_from(number).ok())
        .ok_or(EventInvalid::Field {
            field: "progress",
            rule: PROGRESS_RULE,
        })
}

fn text(value: &Value) -> Result<String, EventInvalid> {
    let text = value.as_str().ok_or(EventInvalid::Field {
        field: "error",
        rule: "text",
    })?;
    Ok(text.to_owned())
}

fn seconds(value: &Value) -> Result<u64, EventInvalid> {
    value.as_u64().ok_or(EventInvalid::Field {
        field: "timestamp",
        rule: "Unix time in whole seconds",
    })
}

/// Whether `value` nests at most `levels` arrays and objects.
fn nests_within(value: &Value, levels: usize) -> bool {
    let below = levels.checked_sub(1);
    match value {
        Value::Array(items) => {
            below.is_some_and(|below| items.iter().all(|item| nests_within(item, below)))
        }
        Value::Object(fields) => {
            below.is_some_and(|below| fields.values().all(|value| nests_within(value, below)))
        }
        _ => true,
    }
}

/// Tells "too deep" from "no JSON" once the parser has given up: counts open
/// brackets outside strings.
fn nests_too_deep(json: &[u8]) -> bool {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > EventLimits::NESTING_MAX {
            return true;
        }
    }
    false
}

fn too_deep(field: &'static str) -> EventInvalid {
    EventInvalid::Field {
        field,
        rule: NESTING_RULE,
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_refused(json: &str, field: &str) {
        let refused = JobEvent::from_json(json.as_bytes(), EventLimits::default()).unwrap_err();
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
            let refused = JobEvent::from_json(text.as_bytes(), EventLimits::default());
            assert_eq!(refused, Err(EventInvalid::NotAnObject), "{text}");
        }
        for text in ["", "{", "{]", "{\"status\":\"queued\"} x", "\u{feff}{}"] {
            let refused = JobEvent::from_json(text.as_bytes(), EventLimits::default());
            assert_eq!(refused, Err(EventInvalid::Malformed), "{text}");
        }
    }

    #[test]
    fn null_is_absent() {
        let json =
            br#"{"status":"failed","progress":null,"result":null,"error":null,"timestamp":null}"#;
        let event = JobEvent::from_json(json, EventLimits::default()).unwrap();
        assert_eq!(
            event,
            JobEvent {
                status: crate::JobStatus::Failed,
                ..JobEvent::default()
            }
        );
        let draft = event.draft(9, EventLimits::default()).unwrap();
        assert_eq!(&draft.json[..], br#"{"status":"failed","timestamp":9}"#);
        let null = JobEvent::completed(Value::Null)
            .draft(9, EventLimits::default())
            .unwrap();
        assert_eq!(&null.json[..], br#"{"status":"completed","timestamp":9}"#);
    }

    #[test]
    fn sixty_three_levels_of_result_fit() {
        let mut result = json!(1);
        for _ in 0..63 {
            result = json!([result]);
        }
        assert!(
            JobEvent::completed(result.clone())
                .draft(1, EventLimits::default())
                .is_ok()
        );
        let deeper = JobEvent::completed(json!([result]));
        assert_eq!(
            deeper.draft(1, EventLimits::default()).unwrap_err().field(),
            Some("result")
        );
    }

    #[test]
    fn size_is_judged_on_the_bytes_that_are_kept() {
        let limits = EventLimits {
            event_bytes_max: 60,
        };
        assert!(JobEvent::failed("x").draft(1, limits).is_ok());
        let refused = JobEvent::failed("x".repeat(60)).draft(1, limits);
        assert_eq!(refused, Err(EventInvalid::TooLarge { bytes_max: 60 }));
    }

    #[test]
    fn the_fingerprint_covers_content_and_webhook() {
        let event = JobEvent::processing(4);
        let url = crate::EndpointUrl::parse("https://a.example/").unwrap();
        assert_eq!(event.fingerprint(None), event.clone().fingerprint(None));
        assert_ne!(event.fingerprint(None), event.fingerprint(Some(&url)));
        assert_ne!(
            event.fingerprint(None),
            JobEvent::processing(5).fingerprint(None)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[\\{\\}\\[\\]\",:a-z0-9\\\\ ]{0,80}") {
            let _ = JobEvent::from_json(&bytes, EventLimits::default());
            let _ = JobEvent::from_json(text.as_bytes(), EventLimits::default());
        }

        #[test]
        fn what_was_accepted_reads_back(progress in proptest::option::of(0u8..=100), error: Option<String>, timestamp in 1u64..) {
            let event = JobEvent { progress, error, timestamp, ..JobEvent::default() };
            let draft = event.clone().draft(3, EventLimits::default()).unwrap();
            prop_assert_eq!(JobEvent::from_json(&draft.json, EventLimits::default()), Ok(event));
        }
    }
}
