//! What one attempt sends: the body, the headers, the signatures.

use std::time::Duration;

use crate::delivery::Delivery;
use crate::signing::{
    Keyring, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE,
    X_WEBHOOK_TIMESTAMP, sign_at,
};
use crate::time::Timestamp;
use crate::transport::WebhookRequest;

/// The header with the job's id.
pub const X_JOB_ID: &str = "x-job-id";

/// The request of an attempt that begins at `at` by the wall clock: the same id
/// and body as on every attempt, a timestamp and signatures of its own.
pub fn request(
    delivery: &Delivery,
    keyring: &Keyring,
    at: Timestamp,
    timeout: Duration,
) -> WebhookRequest {
    let job = &delivery.lane.job;
    let id = delivery.record.id_text().to_owned();
    let timestamp = at.as_secs().to_string();
    let body = delivery.record.webhook_body(job);
    let signatures = sign_at(keyring, &id, at, &timestamp, &body);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        (WEBHOOK_ID, id),
        (WEBHOOK_TIMESTAMP, timestamp.clone()),
        (WEBHOOK_SIGNATURE, signatures.standard),
        (X_WEBHOOK_SIGNATURE, signatures.timestamped),
        (X_WEBHOOK_TIMESTAMP, timestamp),
        (X_JOB_ID, job.to_string()),
    ];
    WebhookRequest {
        url: delivery.endpoint.url.clone(),
        headers,
        body,
        timeout,
    }
}
