//! One fact about a job: what a caller says ([`JobEvent`]), what was checked
//! ([`EventContent`], and with its bytes [`EventDraft`]) and what is kept
//! ([`EventRecord`], bytes made once).

mod content;
mod read;
mod record;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::JobStatus;
use crate::json::{Malformed, deserialize_value};

pub use content::EventContent;
pub use record::EventRecord;

/// One fact about a job, as its service states it and its customer reads it.
///
/// ```
/// use notify_core::{JobEvent, JobStatus};
///
/// let event = JobEvent { status: JobStatus::Processing, progress: Some(42), ..JobEvent::default() };
/// assert_eq!(event, JobEvent::processing(42));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobEvent {
    /// Where the job stands.
    pub status: JobStatus,
    /// How far the job is, 0–100; may go down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// What the job made, as any JSON; `null` is the same as absent. In an event
    /// that was read, a number that is too long for a `Value` is rounded; the
    /// digits are in its text ([`EventRecord::json`]).
    #[serde(
        default,
        skip_serializing_if = "is_absent",
        deserialize_with = "deserialize_value"
    )]
    pub result: Option<Value>,
    /// What went wrong, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Unix seconds; 0 is stamped when the event is accepted.
    #[serde(default)]
    pub timestamp: u64,
}

impl JobEvent {
    /// The job is accepted and waits.
    pub fn queued() -> Self {
        Self::default()
    }

    /// The job is under way, `progress` percent of it done.
    pub fn processing(progress: u8) -> Self {
        Self {
            status: JobStatus::Processing,
            progress: Some(progress),
            ..Self::default()
        }
    }

    /// The job ended well, with this result.
    pub fn completed(result: Value) -> Self {
        Self {
            status: JobStatus::Completed,
            result: Some(result),
            ..Self::default()
        }
    }

    /// The job ended badly, for this reason.
    pub fn failed(error: impl Into<String>) -> Self {
        Self {
            status: JobStatus::Failed,
            error: Some(error.into()),
            ..Self::default()
        }
    }

    /// The job was ended by request.
    pub fn cancelled() -> Self {
        Self {
            status: JobStatus::Cancelled,
            ..Self::default()
        }
    }
}

fn is_absent(value: &Option<Value>) -> bool {
    value.as_ref().is_none_or(Value::is_null)
}

/// A checked event with its bytes, not yet in any log.
#[derive(Clone, Debug, PartialEq)]
pub struct EventDraft {
    /// Where the job will stand.
    pub status: JobStatus,
    /// How far the job will be.
    pub progress: Option<u8>,
    /// The event's JSON, compact, made once.
    pub json: Bytes,
}

/// SHA-256 over the content that an idempotency key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// How large an event may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLimits {
    /// The largest event JSON, in bytes; at most [`EventLimits::BYTES_CEILING`].
    pub event_bytes_max: usize,
}

impl EventLimits {
    /// What [`EventLimits::event_bytes_max`] may be set to: 1 MiB.
    pub const BYTES_CEILING: usize = 1024 * 1024;
    /// How deep arrays and objects may nest, the event's own braces included.
    pub const NESTING_MAX: usize = 64;
}

impl Default for EventLimits {
    /// 256 KiB.
    fn default() -> Self {
        Self {
            event_bytes_max: 256 * 1024,
        }
    }
}

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventInvalid {
    /// The bytes are no JSON.
    Malformed,
    /// The JSON is no object.
    NotAnObject,
    /// A field breaks its rule.
    Field {
        /// The field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A field that events do not have.
    UnknownField {
        /// The field's name as it came, at most 64 characters of it.
        field: String,
    },
    /// A field that is there more than once.
    DoubledField {
        /// The field.
        field: String,
    },
    /// More bytes of JSON than the limit.
    TooLarge {
        /// The limit, in bytes.
        bytes_max: usize,
    },
}

impl EventInvalid {
    /// The field at fault, where it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Field { field, .. } => Some(field),
            Self::UnknownField { field } | Self::DoubledField { field } => Some(field),
            Self::NotAnObject => Some("body"),
            Self::Malformed | Self::TooLarge { .. } => None,
        }
    }
}

impl fmt::Display for EventInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the event is not JSON"),
            Self::NotAnObject => f.write_str("the event must be a JSON object"),
            Self::Field { field, rule } => write!(f, "{field}: {rule}"),
            Self::UnknownField { field } => write!(f, "{field:?}: an event has no such field"),
            Self::DoubledField { field } => write!(f, "{field:?}: must be there only once"),
            Self::TooLarge { bytes_max } => write!(f, "the event is larger than {bytes_max} bytes"),
        }
    }
}

impl std::error::Error for EventInvalid {}

impl From<Malformed> for EventInvalid {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}
