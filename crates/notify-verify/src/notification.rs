//! What a webhook says.

use notify_core::{EventId, JobEvent, JobId};
use serde::{Deserialize, Serialize};

/// One event of one job, as the webhook's body states it.
///
/// Fields that this version does not know are passed over, so that a newer
/// sender does not break an older receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notification {
    /// The event's id, the same on every attempt and through every door. Handle
    /// each id once: see [`ReplayGuard`](crate::ReplayGuard).
    pub id: EventId,
    /// `job.` and the status, such as `job.completed`, or
    /// [`Notification::KIND_TEST`]. In JSON it is called `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The job.
    pub job_id: JobId,
    /// The event's position in the job's log: 1, 2, 3, … A receiver that skips
    /// progress may see gaps, and a redelivery may come late; the higher number
    /// is the newer event.
    pub sequence: u64,
    /// The fact itself.
    pub event: JobEvent,
}

impl Notification {
    /// The [`Notification::kind`] of a message that an operator sends to try an
    /// endpoint. It is signed like any other and belongs to no job.
    pub const KIND_TEST: &str = "notify.test";

    /// Whether an operator is only trying the endpoint: answer 200, do nothing.
    pub fn is_test(&self) -> bool {
        self.kind == Self::KIND_TEST
    }
}

#[cfg(test)]
mod tests {
    use notify_core::JobStatus;

    use super::*;

    fn read(json: &str) -> Result<Notification, serde_json::Error> {
        serde_json::from_str(json)
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
        let json = r#"{"id":"k3f9a2m7q1xz-2","type":"job.processing","job_id":"a","sequence":2,"event":{"status":"processing","progress":42,"timestamp":7}}"#;
        assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
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
