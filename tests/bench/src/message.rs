//! A webhook as a receiver gets it, signed just now.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use notify_core::signing::{
    WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
    sign,
};
use notify_core::{Keyring, Secret};

/// The secret that it is signed with; the libraries of Standard Webhooks take it
/// as it is.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const ID: &str = "k3f9a2m7q1xz-12";

/// A webhook with the headers that the service sends.
pub struct Message {
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its body, which is a notification.
    pub body: Vec<u8>,
    /// The bytes that `webhook-signature` signs.
    pub signed: Vec<u8>,
}

impl Message {
    /// One with a body of so many bytes; at least the 180 or so that it takes to
    /// say anything.
    ///
    /// # Panics
    /// If the clock is before 1970.
    #[must_use]
    #[expect(clippy::expect_used, reason = "nothing can be measured without it")]
    pub fn with_body_of(bytes: usize) -> Self {
        let body = body(bytes);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("a clock after 1970").as_secs();
        let secret = Secret::parse(SECRET).expect("a good secret");
        let signatures = sign(&Keyring::new(secret), ID, now, &body);
        let timestamp = now.to_string();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "notify/0.1.0"),
            (WEBHOOK_ID, ID),
            (WEBHOOK_TIMESTAMP, &timestamp),
            (WEBHOOK_SIGNATURE, &signatures.standard),
            (X_WEBHOOK_SIGNATURE, &signatures.timestamped),
            (X_WEBHOOK_TIMESTAMP, &timestamp),
            ("x-job-id", "job-123"),
        ] {
            let value = HeaderValue::from_str(value).expect("visible ASCII");
            headers.insert(name, value);
        }
        let signed = [ID.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat();
        Self {
            headers,
            body,
            signed,
        }
    }
}

/// A notification whose result is as long as it takes.
fn body(bytes: usize) -> Vec<u8> {
    let with = |url: &str| {
        format!(
            r#"{{"id":"{ID}","type":"job.completed","job_id":"job-123","sequence":12,"event":{{"status":"completed","result":{{"video_url":"{url}"}},"timestamp":1712534400}}}}"#
        )
    };
    let rest = bytes.saturating_sub(with("").len());
    with(&"x".repeat(rest)).into_bytes()
}
