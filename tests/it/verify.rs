//! `notify-verify` against known answers, the sender's own code, and real
//! sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what can't be set up has failed"
)]

mod known_answers;
mod over_http;

use notify_core::event::EventLimits;
use notify_core::job::JobHead;
use notify_core::signing::{
    WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
    sign,
};
use notify_core::{Epoch, EventRecord, JobEvent, JobId, Keyring, Secret, Timestamp};
use notify_verify::Verifier;

const SECRET: &str = "operator-hmac-key";
const NOW: u64 = 1_712_534_401;

type Headers = Vec<(&'static str, String)>;

fn verifier() -> Verifier {
    let verifier = Verifier::new([SECRET]).unwrap();
    verifier.clock(|| Timestamp::from_secs(NOW))
}

/// The headers that the sender would put around this body.
fn signed(id: &str, body: &[u8]) -> Headers {
    let keyring = Keyring::new(Secret::parse(SECRET).unwrap());
    let signatures = sign(&keyring, id, NOW, body);
    vec![
        (WEBHOOK_ID, id.to_owned()),
        (WEBHOOK_TIMESTAMP, NOW.to_string()),
        (WEBHOOK_SIGNATURE, signatures.standard),
        (X_WEBHOOK_SIGNATURE, signatures.timestamped),
        (X_WEBHOOK_TIMESTAMP, NOW.to_string()),
    ]
}

/// An event as the sender records it, and its webhook's body.
fn recorded(event: JobEvent) -> (EventRecord, Vec<u8>) {
    let draft = event.draft(NOW, EventLimits::default()).unwrap();
    let head = JobHead::new(Epoch::from_random(7));
    let accepted = head.accept(draft.status).unwrap();
    let record = EventRecord::new(accepted.id, accepted.kind, &draft);
    let body = record.webhook_body(&job()).to_vec();
    (record, body)
}

fn job() -> JobId {
    JobId::parse("job-123").unwrap()
}

#[test]
fn what_the_sender_records_is_what_the_receiver_reads() {
    let result = serde_json::json!({"b": "été ☂", "a": [1, null, 0.1]});
    for event in [
        JobEvent::queued(),
        JobEvent::processing(42),
        JobEvent::completed(result),
        JobEvent::failed("out of \"memory\"\r\n"),
        JobEvent::cancelled(),
    ] {
        let (record, body) = recorded(event);
        let headers = signed(&record.id().to_string(), &body);
        let webhook = verifier().verify(&headers, &body).unwrap();
        assert_eq!(webhook.id, record.id());
        assert_eq!(webhook.sequence, record.sequence());
        assert_eq!(webhook.kind, format!("job.{}", record.status()));
        assert_eq!(webhook.job_id, job());
        assert_eq!(webhook.event.to_event(), Ok(record.event()));
        assert_eq!(webhook.to_json().as_bytes(), body);
    }
}
