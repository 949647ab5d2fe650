//! A receiver of webhooks, as a customer would write one: it verifies with
//! `notify-verify`, and answers. What is particular to this one is that it can
//! fail on purpose, and that it tells what it has seen.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use notify_core::json::Text;
use notify_verify::{BODY_BYTES_MAX_DEFAULT, Notification, Scheme, Verifier, VerifyError};

use crate::print;

/// The most of an event that is shown, in characters.
const EVENT_CHARS_MAX: usize = 2_000;

/// Decides, by the webhook's type, whether to fail on purpose.
pub(crate) type FailOnPurpose = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Is told of every webhook, before it is answered.
pub(crate) type Tell = Box<dyn Fn(Webhook) + Send + Sync>;

/// A receiver's rules.
pub(crate) struct Receiver {
    /// Set once the secret is known; until then nothing can be verified.
    pub(crate) verifier: OnceLock<Verifier>,
    pub(crate) fails: FailOnPurpose,
    /// How long each answer takes.
    pub(crate) delay: Duration,
    pub(crate) tell: Tell,
}

/// One attempt as it was received; all of its text is fit to print.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) job_id: String,
    /// The event's JSON, or the beginning of what came instead.
    pub(crate) event: String,
    pub(crate) verdict: Verdict,
    pub(crate) answer: Answer,
}

/// Whether the webhook is from the service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is; this scheme proves it.
    Verified(Scheme),
    /// Nobody can tell: there is no secret.
    Unverified,
    /// It is not, or can't be read.
    Refused(String),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was taken.
    Taken,
    /// It was refused with this status.
    Refused(StatusCode),
    /// It was failed on purpose.
    FailedOnPurpose,
}

impl Receiver {
    /// Serves it at every path.
    pub(crate) fn routes(self: Arc<Self>) -> Router {
        Router::new().fallback(receive).with_state(self)
    }

    fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Webhook {
        let judged = self.verifier.get().map(|it| verify(it, headers, body));
        let (verdict, answer, notification) = match judged {
            None => {
                let claimed = Notification::from_json(body).ok();
                (Verdict::Unverified, Answer::Taken, claimed)
            }
            Some(Ok((scheme, said))) => (Verdict::Verified(scheme), Answer::Taken, Some(said)),
            Some(Err(error)) => {
                let status = StatusCode::from_u16(error.status()).unwrap_or_default();
                let verdict = Verdict::Refused(error.to_string());
                (verdict, Answer::Refused(status), None)
            }
        };
        Webhook::new(headers, body, notification.as_ref(), verdict, answer)
    }
}

fn verify(
    verifier: &Verifier,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Scheme, Notification), VerifyError> {
    let proof = verifier.verify_bytes(headers, body)?;
    Ok((proof.scheme, verifier.verify(headers, body)?))
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request) -> StatusCode {
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    let Some(body) = read(body).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let mut webhook = receiver.judge(&head.headers, &body);
    if webhook.answer == Answer::Taken && (receiver.fails)(&webhook.kind) {
        webhook.answer = Answer::FailedOnPurpose;
    }
    tokio::time::sleep(receiver.delay).await;
    let status = match webhook.answer {
        Answer::Taken => StatusCode::NO_CONTENT,
        Answer::Refused(status) => status,
        Answer::FailedOnPurpose => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (receiver.tell)(webhook);
    status
}

async fn read(body: Body) -> Option<Bytes> {
    let body = Limited::new(body, BODY_BYTES_MAX_DEFAULT);
    Some(body.collect().await.ok()?.to_bytes())
}

impl Webhook {
    fn new(
        headers: &HeaderMap,
        body: &[u8],
        said: Option<&Notification>,
        verdict: Verdict,
        answer: Answer,
    ) -> Self {
        let header = |name| {
            let value = headers.get(name).map_or(&b"-"[..], |it| it.as_bytes());
            print::escaped_bytes(value, 80)
        };
        Self {
            id: said.map_or_else(|| header("webhook-id"), |it| it.id.to_string()),
            kind: said.map_or_else(|| "-".to_owned(), |it| print::escaped(&it.kind)),
            job_id: said.map_or_else(|| header("x-job-id"), |it| it.job_id.to_string()),
            event: print::escaped_bytes(event_of(body), EVENT_CHARS_MAX),
            verdict,
            answer,
        }
    }

    /// Whether it is proven and what came of it, in a few words.
    pub(crate) fn outcome(&self) -> String {
        let verdict = match &self.verdict {
            Verdict::Verified(scheme) => format!("verified ({})", name_of(*scheme)),
            Verdict::Unverified => "unverified (no secret)".to_owned(),
            Verdict::Refused(why) => format!("refused ({why})"),
        };
        match self.answer {
            Answer::Taken => verdict,
            Answer::Refused(status) => format!("{verdict}, answered {}", status.as_u16()),
            Answer::FailedOnPurpose => format!("{verdict}, answered 500 on purpose"),
        }
    }
}

/// The event's bytes within the body, or the body if there is none.
fn event_of(body: &[u8]) -> &[u8] {
    let text = Text::read(body).ok();
    let mut fields = text.and_then(Text::fields).into_iter().flatten();
    let event = fields.find(|(name, _)| name == "event");
    event.map_or(body, |(_, event)| event.as_str().as_bytes())
}

fn name_of(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Standard => "Standard Webhooks",
        named_by_its_header => named_by_its_header.header(),
    }
}

#[cfg(test)]
mod tests {
    use notify_core::signing::sign;
    use notify_core::{Keyring, Secret};

    use super::*;

    const BODY: &[u8] = br#"{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued","timestamp":7}}"#;

    fn receiver(secret: Option<&str>) -> Receiver {
        let verifier = OnceLock::new();
        if let Some(secret) = secret {
            verifier.get_or_init(|| Verifier::new([secret]).unwrap());
        }
        Receiver {
            verifier,
            fails: Box::new(|_| false),
            delay: Duration::ZERO,
            tell: Box::new(drop),
        }
    }

    fn signed() -> HeaderMap {
        let keyring = Keyring::new(Secret::parse("right").unwrap());
        let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap();
        let signatures = sign(&keyring, "k3f9a2m7q1xz-1", since_epoch.as_secs(), BODY);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "k3f9a2m7q1xz-1".parse().unwrap());
        headers.insert("webhook-timestamp", since_epoch.as_secs().into());
        headers.insert("webhook-signature", signatures.standard.parse().unwrap());
        headers
    }

    #[test]
    fn a_webhook_is_verified_with_the_right_secret_alone() {
        let webhook = receiver(Some("right")).judge(&signed(), BODY);
        assert_eq!(webhook.outcome(), "verified (Standard Webhooks)");
        assert_eq!((&*webhook.kind, &*webhook.job_id), ("job.queued", "a"));
        assert_eq!(webhook.event, r#"{"status":"queued","timestamp":7}"#);

        let webhook = receiver(Some("wrong")).judge(&signed(), BODY);
        let expected = "refused (webhook-signature: no signature matches a secret), answered 401";
        assert_eq!(webhook.outcome(), expected);
        assert_eq!((&*webhook.id, &*webhook.kind), ("k3f9a2m7q1xz-1", "-"));

        let webhook = receiver(None).judge(&HeaderMap::new(), BODY);
        assert_eq!(webhook.outcome(), "unverified (no secret)");
    }

    #[test]
    fn what_a_stranger_sends_is_fit_to_print() {
        let body = b"{\"event\":\"\x1b[2J\", \n\"type\":\"x\x07\"";
        let webhook = receiver(None).judge(&HeaderMap::new(), body);
        assert!(!webhook.event.contains(char::is_control), "{webhook:?}");
        let named = BODY.to_vec();
        let named = String::from_utf8(named)
            .unwrap()
            .replace("job.queued", "\\u001b[2J");
        let webhook = receiver(None).judge(&HeaderMap::new(), named.as_bytes());
        assert_eq!(webhook.kind, "\\u{1b}[2J");
    }
}
