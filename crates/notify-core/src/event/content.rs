//! What an event says, once it is checked: the same for an event that a service
//! hands over and for one that comes as JSON, of which nothing is rewritten.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{EventDraft, EventInvalid, EventLimits, Fingerprint, JobEvent, read};
use crate::job::JobStatus;
use crate::json::{Flaw, Json, Text};

/// What an event says: on its way into a log, and as a customer reads it.
///
/// Its `result` is text, as it was written. From a library caller's `Value` it is
/// what that serialises to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventContent {
    /// Where the job stands.
    pub status: JobStatus,
    /// How far the job is, 0–100.
    pub progress: Option<u8>,
    /// What the job made; never `null`.
    pub result: Option<Json>,
    /// What went wrong.
    pub error: Option<String>,
    /// Unix seconds; 0 is stamped when it becomes a draft.
    pub timestamp: u64,
}

impl EventContent {
    /// Reads an event that came from outside.
    ///
    /// An unknown or doubled field is refused by name, and so is what some
    /// receiver's parser would have to refuse. The size is that of the text as it
    /// came.
    ///
    /// # Errors
    /// [`EventInvalid`] names the field and the rule.
    pub fn from_json(json: &[u8], limits: EventLimits) -> Result<Self, EventInvalid> {
        if json.len() > limits.event_bytes_max {
            return Err(too_large(limits));
        }
        read::strict(Text::read(json)?)
    }

    /// Reads an event as a customer does: fields that this version does not know
    /// are passed over.
    ///
    /// # Errors
    /// [`EventInvalid`] names the field and the rule.
    pub fn read(event: Text<'_>) -> Result<Self, EventInvalid> {
        read::lenient(event)
    }

    /// The event as a value, in whose `result` a key is only a key, whatever
    /// features of `serde_json` a build has.
    ///
    /// # Errors
    /// [`Flaw`] if there is no such `result` ([`Text::to_value`]).
    pub fn to_event(&self) -> Result<JobEvent, Flaw> {
        Ok(JobEvent {
            status: self.status,
            progress: self.progress,
            result: self.result.as_ref().map(Json::to_value).transpose()?,
            error: self.error.clone(),
            timestamp: self.timestamp,
        })
    }

    /// What two events with the same idempotency key must have in common:
    /// status, progress, result, error, timestamp if given, and webhook URL: the
    /// canonical one, or the text where it can't be sent to.
    pub fn fingerprint(&self, webhook: Option<&str>) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.to_json());
        hash.update([0]);
        hash.update(webhook.unwrap_or_default());
        Fingerprint(hash.finalize().into())
    }

    /// Makes the event's bytes, stamped with `now_secs` if it has no timestamp of
    /// its own.
    pub fn draft(&self, now_secs: u64) -> EventDraft {
        let timestamp = match self.timestamp {
            0 => now_secs,
            given => given,
        };
        EventDraft {
            status: self.status,
            progress: self.progress,
            json: self.stamped(timestamp).into(),
        }
    }

    /// The event as compact JSON.
    pub fn to_json(&self) -> String {
        self.stamped(self.timestamp)
    }

    fn stamped(&self, timestamp: u64) -> String {
        let result = self.result.as_ref().map_or("", Json::as_str);
        let mut json = String::with_capacity(result.len() + 128);
        // Writing to a String cannot fail: it grows.
        let _ = write!(json, r#"{{"status":"{}""#, self.status);
        if let Some(progress) = self.progress {
            let _ = write!(json, r#","progress":{progress}"#);
        }
        if !result.is_empty() {
            json.push_str(r#","result":"#);
            json.push_str(result);
        }
        if let Some(error) = &self.error {
            let error = serde_json::Value::from(error.as_str());
            let _ = write!(json, r#","error":{error}"#);
        }
        let _ = write!(json, r#","timestamp":{timestamp}}}"#);
        json
    }
}

impl JobEvent {
    /// Checks the event; `result` becomes what it serialises to.
    ///
    /// # Errors
    /// [`EventInvalid`] names the field and the rule.
    pub fn content(self, limits: EventLimits) -> Result<EventContent, EventInvalid> {
        let progress = self.progress.map(u64::from);
        let content = EventContent {
            status: self.status,
            progress: progress.map(read::progress_in_range).transpose()?,
            result: read::result_of(self.result)?,
            error: self.error,
            timestamp: self.timestamp,
        };
        if content.to_json().len() > limits.event_bytes_max {
            return Err(too_large(limits));
        }
        Ok(content)
    }

    /// Checks the event and makes its bytes, stamped with `now_secs` if it has
    /// no timestamp of its own.
    ///
    /// # Errors
    /// [`EventInvalid`] names the field and the rule.
    pub fn draft(self, now_secs: u64, limits: EventLimits) -> Result<EventDraft, EventInvalid> {
        Ok(self.content(limits)?.draft(now_secs))
    }
}

fn too_large(limits: EventLimits) -> EventInvalid {
    EventInvalid::TooLarge {
        bytes_max: limits.event_bytes_max,
    }
}

#[cfg(test)]
mod tests;
