//! The rules for each field, and the two ways to read them: strictly what comes
//! in, leniently what was accepted.

use serde_json::Value;

use super::{EventContent, EventInvalid, EventLimits};
use crate::job::JobStatus;
use crate::json::{Flaw, Json, Text};

const STATUS_RULE: &str = "one of queued, processing, completed, failed, cancelled";
const PROGRESS_RULE: &str = "a whole number from 0 to 100";
const NESTING_RULE: &str = "arrays and objects nested at most 64 deep, the event's own included";

/// How deep `result` may nest: the event's own braces are a level too.
const RESULT_LEVELS_MAX: usize = EventLimits::NESTING_MAX - 1;

/// Reads an event that came from outside, of which nothing is passed over.
pub(super) fn strict(event: Text<'_>) -> Result<EventContent, EventInvalid> {
    let fields = fields(event, |unknown| {
        Err(EventInvalid::UnknownField {
            field: shortened(unknown),
        })
    })?;
    if let Some(flaw) = fields.result.and_then(|it| it.flaw(RESULT_LEVELS_MAX)) {
        return Err(flawed(flaw));
    }
    Ok(fields.into())
}

/// Reads what was accepted, perhaps by a later version.
pub(super) fn lenient(event: Text<'_>) -> Result<EventContent, EventInvalid> {
    fields(event, |_unknown| Ok(())).map(EventContent::from)
}

/// A library caller's `result`: what it serialises to.
pub(super) fn result_of(value: Option<Value>) -> Result<Option<Json>, EventInvalid> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    // First, since serialising goes as deep as the value does.
    if !nests_within(&value, RESULT_LEVELS_MAX) {
        return Err(flawed(Flaw::TooDeep));
    }
    let json = value.to_string();
    let text = Text::read(json.as_bytes())?;
    match text.flaw(RESULT_LEVELS_MAX) {
        Some(flaw) => Err(flawed(flaw)),
        None => Ok(Some(text.into())),
    }
}

pub(super) fn progress_in_range(progress: u64) -> Result<u8, EventInvalid> {
    match u8::try_from(progress) {
        Ok(progress @ 0..=100) => Ok(progress),
        _ => Err(broken("progress", PROGRESS_RULE)),
    }
}

/// An event's fields; one that is `null` is absent.
#[derive(Default)]
struct Fields<'a> {
    status: JobStatus,
    progress: Option<u8>,
    result: Option<Text<'a>>,
    error: Option<String>,
    timestamp: u64,
}

impl From<Fields<'_>> for EventContent {
    fn from(fields: Fields<'_>) -> Self {
        Self {
            status: fields.status,
            progress: fields.progress,
            result: fields.result.map(Json::from),
            error: fields.error,
            timestamp: fields.timestamp,
        }
    }
}

/// Reads the fields in their order, so that the first one at fault is named.
fn fields<'a>(
    event: Text<'a>,
    unknown: impl Fn(&str) -> Result<(), EventInvalid>,
) -> Result<Fields<'a>, EventInvalid> {
    let mut fields = Fields::default();
    let mut seen = [false; NAMES.len()];
    for (name, value) in event.fields().ok_or(EventInvalid::NotAnObject)? {
        let known = NAMES.iter().position(|known| *known == name);
        let Some(seen) = known.and_then(|at| seen.get_mut(at)) else {
            unknown(&name)?;
            continue;
        };
        if std::mem::replace(seen, true) {
            let field = name.into_owned();
            return Err(EventInvalid::DoubledField { field });
        }
        match &*name {
            STATUS => fields.status = status(value)?,
            PROGRESS => fields.progress = optional(value, progress)?,
            RESULT => fields.result = optional(value, Ok)?,
            ERROR => fields.error = optional(value, error)?,
            _ => fields.timestamp = optional(value, timestamp)?.unwrap_or(0),
        }
    }
    match seen {
        [true, ..] => Ok(fields),
        _ => Err(broken(STATUS, "must be there")),
    }
}

const STATUS: &str = "status";
const PROGRESS: &str = "progress";
const RESULT: &str = "result";
const ERROR: &str = "error";
const TIMESTAMP: &str = "timestamp";
const NAMES: [&str; 5] = [STATUS, PROGRESS, RESULT, ERROR, TIMESTAMP];

fn optional<'a, T>(
    value: Text<'a>,
    read: impl Fn(Text<'a>) -> Result<T, EventInvalid>,
) -> Result<Option<T>, EventInvalid> {
    match value.is_null() {
        true => Ok(None),
        false => read(value).map(Some),
    }
}

fn status(value: Text<'_>) -> Result<JobStatus, EventInvalid> {
    let status = value.string().and_then(|text| text.parse().ok());
    status.ok_or(broken(STATUS, STATUS_RULE))
}

fn progress(value: Text<'_>) -> Result<u8, EventInvalid> {
    let whole = value
        .whole_number()
        .ok_or(broken(PROGRESS, PROGRESS_RULE))?;
    progress_in_range(whole)
}

fn error(value: Text<'_>) -> Result<String, EventInvalid> {
    match (value.string(), value.flaw(1)) {
        (Some(text), _) => Ok(text.into_owned()),
        (None, Some(flaw @ Flaw::LoneSurrogate)) => Err(broken(ERROR, flaw.rule())),
        (None, _) => Err(broken(ERROR, "text")),
    }
}

fn timestamp(value: Text<'_>) -> Result<u64, EventInvalid> {
    let rule = "Unix time in whole seconds";
    value.whole_number().ok_or(broken(TIMESTAMP, rule))
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

fn flawed(flaw: Flaw) -> EventInvalid {
    match flaw {
        Flaw::TooDeep => broken(RESULT, NESTING_RULE),
        flaw => broken(RESULT, flaw.rule()),
    }
}

fn broken(field: &'static str, rule: &'static str) -> EventInvalid {
    EventInvalid::Field { field, rule }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
