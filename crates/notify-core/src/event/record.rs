//! An accepted event and its bytes.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{EventContent, EventDraft, JobEvent};
use crate::id::{EventId, JobId};
use crate::job::{EventKind, JobStatus};
use crate::json::Text;

/// An event that is in a job's log.
///
/// Its bytes are made once, as the stream's block with the JSON inside it; all
/// doors share them, and a clone copies a pointer.
#[derive(Clone, PartialEq)]
pub struct EventRecord {
    id: EventId,
    kind: EventKind,
    status: JobStatus,
    block: Bytes,
    json_start: usize,
}

impl EventRecord {
    /// Gives a draft its place in the log.
    pub fn new(id: EventId, kind: EventKind, draft: &EventDraft) -> Self {
        Self::restore(id, kind, draft.status, &draft.json)
    }

    /// Rebuilds a record from what a store kept of it: `json` is
    /// [`EventRecord::json`] of then.
    pub fn restore(id: EventId, kind: EventKind, status: JobStatus, json: &[u8]) -> Self {
        let mut block = BytesMut::with_capacity(json.len() + 80);
        // Writing to a BytesMut cannot fail: it grows.
        let _ = write!(block, "{ID}{id}\nevent: {status}\ndata: ");
        let json_start = block.len();
        block.put_slice(json);
        block.put_slice(BLOCK_END);
        Self {
            id,
            kind,
            status,
            block: block.freeze(),
            json_start,
        }
    }

    /// The event's id, the same through every door.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// The position in the job's log: 1, 2, 3, …
    pub fn sequence(&self) -> u64 {
        self.id.sequence()
    }

    /// What kind of fact it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Where the job stood.
    pub fn status(&self) -> JobStatus {
        self.status
    }

    /// The event's JSON.
    pub fn json(&self) -> Bytes {
        self.block.slice(self.json_range())
    }

    /// How long its JSON is, in bytes.
    pub fn json_bytes(&self) -> u32 {
        u32::try_from(self.json_range().len()).unwrap_or(u32::MAX)
    }

    /// The event as the stream sends it: one block of `id`, `event` and `data`
    /// lines, closed by an empty line.
    pub fn block(&self) -> Bytes {
        self.block.clone()
    }

    /// The event as a value, for who wants to look into it. Its text, with every
    /// digit as it was written, is [`json`](Self::json).
    pub fn event(&self) -> JobEvent {
        // The bytes were made from checked content, so they read back.
        let json = self.block.get(self.json_range()).unwrap_or_default();
        let content = Text::read(json).ok().map(EventContent::read);
        let content = content.and_then(Result::ok);
        content
            .and_then(|content| content.to_event().ok())
            .unwrap_or_default()
    }

    /// The webhook's body: the same bytes on every attempt and redelivery.
    pub fn webhook_body(&self, job: &JobId) -> Bytes {
        let id = self.id_text();
        let sequence = id.rsplit('-').next().unwrap_or_default();
        // A job id's alphabet needs no escaping in JSON.
        let pieces = [
            r#"{"id":""#,
            id,
            r#"","type":"job."#,
            self.status.as_str(),
            r#"","job_id":""#,
            job.as_str(),
            r#"","sequence":"#,
            sequence,
            r#","event":"#,
        ];
        let mut body = BytesMut::with_capacity(self.block.len() + 2 * JobId::BYTES_MAX);
        for piece in pieces {
            body.put_slice(piece.as_bytes());
        }
        body.put_slice(self.block.get(self.json_range()).unwrap_or_default());
        body.put_u8(b'}');
        body.freeze()
    }

    /// The id as text, which its block begins with.
    pub(crate) fn id_text(&self) -> &str {
        let line = self.block.get(ID.len()..).unwrap_or_default();
        let line = line.split(|&byte| byte == b'\n').next();
        // An id is ASCII.
        std::str::from_utf8(line.unwrap_or_default()).unwrap_or_default()
    }

    /// What the record occupies in memory, roughly, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.block.len()
    }

    fn json_range(&self) -> Range<usize> {
        self.json_start..self.block.len() - BLOCK_END.len()
    }
}

impl std::fmt::Debug for EventRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventRecord")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

const ID: &str = "id: ";

const BLOCK_END: &[u8] = b"\n\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, EventLimits};

    #[test]
    fn one_record_serves_every_door() {
        let draft = JobEvent::processing(42)
            .draft(1_712_534_400, EventLimits::default())
            .unwrap();
        let id: EventId = "k3f9a2m7q1xz-12".parse().unwrap();
        let record = EventRecord::new(id, EventKind::Progress, &draft);
        let json = r#"{"status":"processing","progress":42,"timestamp":1712534400}"#;
        assert_eq!(record.json(), json);
        assert_eq!(
            record.block(),
            format!("id: k3f9a2m7q1xz-12\nevent: processing\ndata: {json}\n\n")
        );
        assert_eq!(
            record.webhook_body(&JobId::parse("job-123").unwrap()),
            format!(
                r#"{{"id":"k3f9a2m7q1xz-12","type":"job.processing","job_id":"job-123","sequence":12,"event":{json}}}"#
            )
        );
        assert_eq!(record.event().progress, Some(42));
    }

    #[test]
    fn a_block_is_whole_whatever_the_text() {
        let nasty = "a\nb\r\nc\rid: 7\n\ndata: x\u{2028}";
        let draft = JobEvent::failed(nasty)
            .draft(1, EventLimits::default())
            .unwrap();
        let id = EventId::new(Epoch::from_random(3), 1);
        let record = EventRecord::new(id, EventKind::Terminal, &draft);
        let block = String::from_utf8(record.block().to_vec()).unwrap();
        assert_eq!(block.matches('\n').count(), 4);
        assert_eq!(block.matches('\r').count(), 0);
        assert_eq!(record.event().error.as_deref(), Some(nasty));
    }
}
