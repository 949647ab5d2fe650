//! What a webhook says.

use std::borrow::Cow;

use notify_core::json::Text;
use notify_core::{EventContent, EventId, JobId};

use crate::error::PayloadMalformed;

/// One event of one job, as the webhook's body states it.
///
/// Fields that this version does not know are passed over, so that a newer
/// sender does not break an older receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The event's id, the same on every attempt and through every door. Handle
    /// each id once: see [`ReplayGuard`](crate::ReplayGuard).
    pub id: EventId,
    /// `job.` and the status, such as `job.completed`, or
    /// [`Notification::KIND_TEST`]. In JSON it is called `type`.
    pub kind: String,
    /// The job.
    pub job_id: JobId,
    /// The event's position in the job's log: 1, 2, 3, … A receiver that skips
    /// progress may see gaps, and a redelivery may come late; the higher number
    /// is the newer event.
    pub sequence: u64,
    /// The fact itself.
    pub event: EventContent,
}

impl Notification {
    /// The [`Notification::kind`] of a message that an operator sends to try an
    /// endpoint. It is signed like any other and belongs to no job.
    pub const KIND_TEST: &str = "notify.test";

    /// Reads a webhook's body without verifying it.
    ///
    /// `event.result` stays text: no key of it is given a meaning, whatever
    /// features of `serde_json` a build has, and it takes no more memory than its
    /// bytes. [`Json::to_value`](crate::Json::to_value) and
    /// [`Json::read`](crate::Json::read) look into it.
    ///
    /// # Errors
    /// [`PayloadMalformed`] says what is wrong, and where.
    pub fn from_json(body: &[u8]) -> Result<Self, PayloadMalformed> {
        Self::read(whole(body)?)
    }

    pub(crate) fn read(body: Text<'_>) -> Result<Self, PayloadMalformed> {
        let [id, kind, job_id, sequence, event] =
            once_each(body, ["id", "type", "job_id", "sequence", "event"])?;
        Ok(Self {
            id: text("id", id)?
                .parse()
                .map_err(|_| PayloadMalformed::field("id", "must be an event id"))?,
            kind: text("type", kind)?.into_owned(),
            job_id: JobId::parse(&text("job_id", job_id)?)
                .map_err(|_| PayloadMalformed::field("job_id", "must be a job id"))?,
            sequence: sequence.whole_number().ok_or(PayloadMalformed::field(
                "sequence",
                "must be a whole number",
            ))?,
            event: EventContent::read(event)?,
        })
    }

    /// The notification as JSON: the body that came, but for white space and for
    /// fields that this version does not know.
    pub fn to_json(&self) -> String {
        let Self {
            id,
            job_id,
            sequence,
            ..
        } = self;
        // Unlike the others, the type may be any text.
        let kind = serde_json::Value::from(self.kind.as_str());
        let event = self.event.to_json();
        format!(
            r#"{{"id":"{id}","type":{kind},"job_id":"{job_id}","sequence":{sequence},"event":{event}}}"#
        )
    }

    /// Whether an operator is only trying the endpoint: answer 200, do nothing.
    pub fn is_test(&self) -> bool {
        self.kind == Self::KIND_TEST
    }
}

/// How deep a body may nest: deeper than any event, as deep as parsers read.
const LEVELS_MAX: usize = 128;

/// A body of which no reader must refuse a part.
pub(crate) fn whole(body: &[u8]) -> Result<Text<'_>, PayloadMalformed> {
    let text = Text::read(body)?;
    match text.flaw(LEVELS_MAX) {
        Some(flaw) => Err(PayloadMalformed::field("body", flaw.rule())),
        None => Ok(text),
    }
}

fn text<'a>(field: &'static str, value: Text<'a>) -> Result<Cow<'a, str>, PayloadMalformed> {
    let wrong = PayloadMalformed::field(field, "must be text");
    value.string().ok_or(wrong)
}

/// The values of these fields of an object, each of which must be there once.
/// Others are passed over.
pub(crate) fn once_each<'a, const N: usize>(
    body: Text<'a>,
    names: [&'static str; N],
) -> Result<[Text<'a>; N], PayloadMalformed> {
    let not_one = || PayloadMalformed::field("body", "must be a JSON object");
    let mut values = [None; N];
    for (name, value) in body.fields().ok_or_else(not_one)? {
        let known = names.iter().zip(&mut values).find(|(it, _)| **it == name);
        if let Some((name, place)) = known
            && place.replace(value).is_some()
        {
            return Err(PayloadMalformed::field(name, "must be there only once"));
        }
    }
    let mut missing = None;
    let found = std::array::from_fn(|at| {
        let value = values.get(at).copied().flatten();
        if value.is_none() && missing.is_none() {
            missing = names.get(at);
        }
        value.unwrap_or(body)
    });
    match missing {
        Some(name) => Err(PayloadMalformed::field(name, "must be there")),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use notify_core::JobStatus;
    use serde_json::json;

    use super::*;

    fn read(json: &str) -> Result<Notification, PayloadMalformed> {
        Notification::from_json(json.as_bytes())
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let read = read(
            r#"{"new":[1],"id":"k3f9a2m7q1xz-12","type":"job.completed","job_id":"job-123","sequence":12,
                "event":{"status":"completed","result":{"b":1,"a":2},"timestamp":1712534400,"eta":"?"}}"#,
        )
        .unwrap();
        assert_eq!(read.id, "k3f9a2m7q1xz-12".parse().unwrap());
        assert_eq!(read.kind, "job.completed");
        assert_eq!(read.job_id, "job-123");
        assert_eq!(read.sequence, 12);
        assert_eq!(read.event.status, JobStatus::Completed);
        assert_eq!(read.event.timestamp, 1_712_534_400);
        assert!(!read.is_test());
    }

    #[test]
    fn a_test_message_is_a_notification() {
        let read = read(
            r#"{"id":"k3f9a2m7q1xz-1","type":"notify.test","job_id":"notify.test","sequence":1,
                "event":{"status":"queued","timestamp":1712534400}}"#,
        );
        assert!(read.unwrap().is_test());
    }

    #[test]
    fn a_notification_is_written_as_it_is_read() {
        let json = r#"{"id":"k3f9a2m7q1xz-2","type":"\"","job_id":"a","sequence":2,"event":{"status":"processing","progress":42,"result":1.10,"timestamp":7}}"#;
        assert_eq!(read(json).unwrap().to_json(), json);
    }

    #[test]
    fn a_private_key_is_only_a_key() {
        for key in ["RawValue", "Number"] {
            let result = json!({ format!("$serde_json::private::{key}"): "1" });
            let body = format!(
                r#"{{"id":"k3f9a2m7q1xz-1","type":"t","job_id":"a","sequence":1,"event":{{"status":"queued","result":{result}}}}}"#
            );
            let read = read(&body).unwrap().event.result.unwrap();
            assert_eq!(read.as_str(), result.to_string());
            assert_eq!(read.to_value(), Ok(result));
            assert!(read.read::<serde_json::Value>().is_err());
        }
    }

    #[test]
    fn a_missing_or_doubled_field_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"id":"nonsense","type":"t","job_id":"a","sequence":1,"event":{"status":"queued"}}"#,
            r#"{"id":"k3f9a2m7q1xz-1","type":"t","job_id":"","sequence":1,"event":{"status":"queued"}}"#,
            r#"{"id":"k3f9a2m7q1xz-1","type":"t","job_id":"a","sequence":-1,"event":{"status":"queued"}}"#,
            r#"{"id":"k3f9a2m7q1xz-1","type":"t","job_id":"a","sequence":1,"event":{}}"#,
            r#"{"id":"k3f9a2m7q1xz-1","id":"k3f9a2m7q1xz-1","type":"t","job_id":"a","sequence":1,"event":{"status":"queued"}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
