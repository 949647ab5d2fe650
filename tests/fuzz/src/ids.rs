//! The ids and the other short names, as they come in paths, headers and
//! cursors.

use std::fmt::Display;
use std::str::FromStr;

use notify_core::{DeliveryId, EndpointId, Epoch, EventId, IdempotencyKey, JobId, JobStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "ids",
    check,
    seeds,
};

/// Each has one spelling, needs no escaping where it goes, and is in JSON the
/// same text.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let text = &*crate::text(bytes);
    check_spelling::<Epoch>(text);
    check_spelling::<DeliveryId>(text);
    check_spelling::<EndpointId>(text);
    check_spelling::<JobStatus>(text);
    if check_spelling::<JobId>(text) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:@-".contains(&byte);
        assert!(text.bytes().all(plain) && text.len() <= JobId::BYTES_MAX);
        assert!(text != "." && text != "..");
    }
    if let Ok(id) = text.parse::<EventId>() {
        assert_ne!(id.sequence(), 0);
        assert_eq!(EventId::new(id.epoch(), id.sequence()), id);
    }
    check_json::<JobId>(text);
    check_json::<EventId>(text);
    if let Ok(key) = IdempotencyKey::parse(text) {
        assert_eq!(key.as_str(), text);
        assert!((1..=IdempotencyKey::BYTES_MAX).contains(&text.len()));
    }
}

/// Whether the text is one; then it must be the text that it is written as.
fn check_spelling<T: FromStr + Display>(text: &str) -> bool {
    let Ok(id) = text.parse::<T>() else {
        return false;
    };
    assert_eq!(id.to_string(), text);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    true
}

fn check_json<T: FromStr + Display + Serialize + DeserializeOwned>(text: &str) {
    let json = serde_json::to_string(text).expect("text can be written");
    let read = serde_json::from_str::<T>(&json).ok();
    assert_eq!(read.is_some(), check_spelling::<T>(text));
    if let Some(id) = read {
        assert_eq!(serde_json::to_string(&id).ok(), Some(json));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    crate::seeds([
        "job-123",
        "A.b_c~d:e@f-9",
        "..",
        "k3f9a2m7q1xz",
        "k3f9a2m7q1xz-12",
        "k3f9a2m7q1xz-18446744073709551615",
        "k3f9a2m7q1xz-012",
        "dlv_k3f9a2m7q1xzk3f9a2m7",
        "ep_k3f9a2m7q1xzk3f9a2m7",
        "completed",
        "a key of many words",
    ])
}
