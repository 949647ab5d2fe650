//! Events, as a service states them.

use notify_core::event::{EventDraft, EventInvalid};
use notify_core::job::JobHead;
use notify_core::json::Text;
use notify_core::{Epoch, EventContent, EventLimits, EventRecord, JobEvent, JobId};
use notify_verify::Notification;

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "event",
    check,
    seeds,
};

/// Small enough that a few bytes reach it.
const LIMITS: EventLimits = EventLimits {
    event_bytes_max: 512,
};

const NOW_SECS: u64 = 1_712_534_400;

/// An accepted event says the same at every door: its bytes read back to it, by
/// the strict reader and by the customer's, and are what they were when made
/// again.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    match EventContent::from_json(bytes, LIMITS) {
        Ok(content) => {
            check_tokens(bytes, &content.draft(NOW_SECS).json);
            check_content(&content);
        }
        Err(why) => check_refused(bytes, &why),
    }
}

fn check_content(content: &EventContent) {
    let draft = content.draft(NOW_SECS);
    // What came is within the limit, and a stamp is all that is added.
    assert!(draft.json.len() <= LIMITS.event_bytes_max + r#","timestamp":0123456789"#.len());
    let strict = EventContent::from_json(&draft.json, EventLimits::default());
    let strict = strict.expect("what was made is an event");
    assert_eq!(strict.draft(0), draft);
    if *content == strict {
        assert_eq!(strict.fingerprint(None), content.fingerprint(None));
    }
    let text = Text::read(&draft.json).expect("what was made is JSON");
    let read = EventContent::read(text).expect("customers can read it");
    assert_eq!(read, strict);
    // Where a build gives a number's key a meaning, serde can't tell.
    if !cfg!(feature = "customer-json") {
        let through_serde = serde_json::from_slice::<JobEvent>(&draft.json);
        assert_eq!(strict.to_event().ok(), through_serde.ok());
    }
    check_record(&strict, &draft);
}

/// What some build of `serde_json` takes for an order is data like any other.
fn check_tokens(sent: &[u8], kept: &[u8]) {
    let tokens = |json| crate::text(json).matches("$serde_json::private::").count();
    assert_eq!(tokens(sent), tokens(kept));
}

fn check_record(content: &EventContent, draft: &EventDraft) {
    let head = JobHead::new(Epoch::from_random(7));
    let accepted = head.accept(draft.status).expect("a job may begin anyhow");
    let record = EventRecord::new(accepted.id, accepted.kind, draft);
    assert_eq!(Ok(record.event()), content.to_event());
    assert_eq!(record.json(), draft.json);

    let block = record.block();
    assert_eq!(block.iter().filter(|&&byte| byte == b'\n').count(), 4);
    assert!(block.ends_with(b"\n\n") && !block.contains(&b'\r'));

    let job = JobId::parse("job-123").expect("a good id");
    let body = record.webhook_body(&job);
    let webhook = Notification::from_json(&body).expect("customers can read it");
    assert_eq!(webhook.event, *content);
    assert_eq!((webhook.id, webhook.job_id), (accepted.id, job));
}

fn check_refused(bytes: &[u8], why: &EventInvalid) {
    if matches!(why, EventInvalid::TooLarge { .. }) {
        assert!(bytes.len() > LIMITS.event_bytes_max);
    }
    // It is answered, whatever was sent: 64 characters, each escaped at most as
    // `\u{10ffff}`, and the rule.
    assert!(why.to_string().len() <= 64 * 10 + 100);
    assert!(!why.to_string().contains(char::is_control));
}

fn seeds() -> Vec<Vec<u8>> {
    crate::seeds([
        r#"{"status":"completed","result":{"$serde_json::private::RawValue":"[1e15,1.10,-0]"}}"#,
        r#"{"status":"completed","result":{"$serde_json::private::Number":"1"}}"#,
        r#"{"status":"queued"}"#,
        r#"{"status":"processing","progress":42,"timestamp":1712534400}"#,
        r#"{"status":"completed","result":{"a":[1,-0.0,2.5e-7,18446744073709551615,null,true],"é":"\u2028\ud83d\ude00"}}"#,
        r#"{"status":"failed","error":"a\nb\r\n\"c\"","progress":null,"timestamp":null}"#,
        r#"{"status":"cancelled","colour":1}"#,
        r#"{"status":"queued","status":"failed"}"#,
        r#"{"status":"queued","result":{"$serde_json::private::RawValue":"[1]"}}"#,
        r#"{"status":"queued","result":[{"$serde_json::private::Number":"1"}]}"#,
        r#"{"status":"queued","result":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
    ])
}
