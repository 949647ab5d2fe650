//! What one attempt sends: the body, the headers, the signatures.

use std::time::Duration;

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::endpoint::Endpoint;
use crate::id::{Epoch, EventId};
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
    let message = Message {
        id: delivery.record.id_text().to_owned(),
        job: job.to_string(),
        body: delivery.record.webhook_body(job),
    };
    message.signed(&delivery.endpoint, keyring, at, timeout)
}

/// The type of a message that tries an endpoint, and the job that it names.
pub const TEST: &str = "notify.test";

/// A message that tries an endpoint: signed like any other, of no job and kept
/// nowhere. `epoch` makes its id one that no event has.
pub fn test_request(
    endpoint: &Endpoint,
    keyring: &Keyring,
    epoch: Epoch,
    at: Timestamp,
    timeout: Duration,
) -> WebhookRequest {
    let id = EventId::new(epoch, 1).to_string();
    let secs = at.as_secs();
    let body = format!(
        r#"{{"id":"{id}","type":"{TEST}","job_id":"{TEST}","sequence":1,"event":{{"status":"queued","timestamp":{secs}}}}}"#
    );
    let message = Message {
        id,
        job: TEST.to_owned(),
        body: body.into(),
    };
    message.signed(endpoint, keyring, at, timeout)
}

/// What a request says, whenever it is sent.
struct Message {
    id: String,
    job: String,
    body: Bytes,
}

impl Message {
    fn signed(
        self,
        endpoint: &Endpoint,
        keyring: &Keyring,
        at: Timestamp,
        timeout: Duration,
    ) -> WebhookRequest {
        let Self { id, job, body } = self;
        let timestamp = at.as_secs().to_string();
        let signatures = sign_at(keyring, &id, at, &timestamp, &body);
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            (WEBHOOK_ID, id),
            (WEBHOOK_TIMESTAMP, timestamp.clone()),
            (WEBHOOK_SIGNATURE, signatures.standard),
            (X_WEBHOOK_SIGNATURE, signatures.timestamped),
            (X_WEBHOOK_TIMESTAMP, timestamp),
            (X_JOB_ID, job),
        ];
        WebhookRequest {
            url: endpoint.url.clone(),
            headers,
            body,
            timeout,
        }
    }
}
