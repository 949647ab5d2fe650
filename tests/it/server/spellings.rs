//! One receiver is one endpoint, however its URL is spelled.

use notify_tests::http_client::{HttpAnswer, HttpRequest};
use notify_tests::receiver::{Delivered, Receiver};
use notify_verify::Verifier;
use serde_json::json;

use super::{KEY, Server, check_field, check_refused};

const GLOBAL: (&str, &str) = ("NOTIFY_SIGNING_SECRET", "the-operators-own");
const OWN: &str = "the-receivers-own";
const QUEUED: &str = r#"{"status":"queued"}"#;

/// Other spellings of `http://127.0.0.1:PORT/hooks/results`, the canonical one first.
const SPELLINGS: [&str; 8] = [
    "http://127.0.0.1:PORT/hooks/results",
    "HTTP://127.0.0.1:0PORT/hooks/results",
    "http://127.0.0.1:PORT/x/../hooks/results",
    "http://127.0.0.1:PORT/%2e/hooks/results",
    "http://127.0.0.1:PORT/hooks/x/.%2E/results",
    "http://127.0.0.1:PORT/../hooks/./results",
    "http://127.0.0.1:PORT/hooks/results#part",
    "http://127.0.0.1:PORT/hooks/results#part?of=it",
];

/// The same for a name.
const SPELLINGS_OF_A_NAME: [&str; 4] = [
    "http://localhost:PORT/hooks/results",
    "http://LocalHost:PORT/hooks/results",
    "http://localhost.:PORT/hooks/results",
    "http://ｌocalhost。:PORT/hooks/results",
];

/// Other spellings of an address of this machine, which are none of a URL.
const NO_SPELLINGS: [&str; 6] = [
    "http://127.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://2130706433:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://１２７。０。０。１:PORT/",
];

fn spelled(template: &str, receiver: &Receiver) -> String {
    let url = receiver.url();
    let port = url.split([':', '/']).nth(4).unwrap();
    template.replace("PORT", port)
}

/// Has an event of job `job` tell this URL.
async fn tell(server: &Server, job: &str, url: &str) -> HttpAnswer {
    let encoded: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let target = format!("/v1/jobs/{job}/events?webhook_url={encoded}");
    server.post(&target, QUEUED).await
}

async fn accept_for(server: &Server, job: &str, url: &str) -> String {
    let answer = tell(server, job, url).await;
    assert_eq!(answer.status, 202, "{url}: {answer:?}");
    answer.text("/id")
}

fn ids(delivered: &[Delivered]) -> Vec<&str> {
    let id = |it| Delivered::header(it, "webhook-id").unwrap();
    delivered.iter().map(id).collect()
}

#[tokio::test]
async fn every_spelling_is_signed_with_the_endpoints_own_secret() {
    let server = Server::start_with(&[GLOBAL]).await;
    for spellings in [&SPELLINGS[..], &SPELLINGS_OF_A_NAME] {
        for (nth, registered) in spellings.iter().enumerate() {
            let receiver = Receiver::start().await.unwrap();
            let webhook = json!({ "url": spelled(registered, &receiver), "secret": OWN });
            let job = format!("job-{}-{nth}", spellings.len());
            let spec = json!({ "job_id": job, "webhook": webhook });
            server.register(spec).await;
            let shown = server.get(&format!("/v1/jobs/{job}")).await;
            let canonical = spelled(spellings[0], &receiver);
            assert_eq!(shown.text("/webhook/url"), canonical);

            // The URL is the job's own, so each event is one delivery.
            let mut accepted = Vec::new();
            for other in spellings {
                accepted.push(accept_for(&server, &job, &spelled(other, &receiver)).await);
            }
            // No job stands between these.
            for other in spellings {
                let url = spelled(other, &receiver);
                accepted.push(accept_for(&server, &format!("{job}-other"), &url).await);
            }
            let delivered = receiver.wait_for(accepted.len()).await;
            let mut delivered_ids = ids(&delivered);
            delivered_ids.sort_unstable();
            accepted.sort_unstable();
            assert_eq!(delivered_ids, accepted, "{registered}");
            let verifier = Verifier::new([OWN]).unwrap();
            for webhook in &delivered {
                verifier.verify(&webhook.headers, &webhook.body).unwrap();
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_secret_is_known_in_every_spelling() {
    let server = Server::start_with(&[GLOBAL]).await;
    let receiver = Receiver::start().await.unwrap();
    let spec = |spelling: &str, secret: &str| {
        let url = spelled(spelling, &receiver);
        json!({ "webhook": { "url": url, "secret": secret } })
    };
    server.register(spec(SPELLINGS[2], OWN)).await;
    for spelling in SPELLINGS {
        let refused = server.post("/v1/jobs", spec(spelling, "another-one"));
        check_refused(&refused.await, 409, "endpoint_secret_conflict");
        server.register(spec(spelling, OWN)).await;
    }
}

#[tokio::test]
async fn the_same_event_may_be_repeated_with_another_spelling() {
    let server = Server::start_with(&[GLOBAL]).await;
    let once = async |url: &str| {
        let target = format!("/v1/jobs/a/events?webhook_url={}", url.replace('#', "%23"));
        let request = HttpRequest::post(target, QUEUED).bearer(KEY);
        let request = request.header("idempotency-key", "k-1");
        request.send(server.address).await
    };
    let first = once("http://127.0.0.1:65535/x").await;
    assert_eq!(first.status, 202, "{first:?}");
    assert_eq!(once("HTTP://127.0.0.1:65535/./x#y").await.body, first.body);
    let conflict = once("http://127.0.0.1:65535/y").await;
    check_refused(&conflict, 409, "idempotency_conflict");
}

#[tokio::test]
async fn an_address_in_disguise_is_refused_and_not_resolved() {
    let server = Server::start_with(&[GLOBAL]).await;
    let receiver = Receiver::start().await.unwrap();
    for spelling in NO_SPELLINGS {
        let url = spelled(spelling, &receiver);
        let spec = json!({ "job_id": "a", "webhook": { "url": url, "secret": OWN } });
        let refused = server.post("/v1/jobs", spec).await;
        check_field(&refused, "webhook_url_invalid", "webhook.url");
        let message = refused.text("/error/message");
        assert!(message.contains("IPv4"), "{message}");
        assert_eq!(server.get("/v1/jobs/a").await.status, 404);
        let told = tell(&server, "b", &url).await;
        assert_eq!(told.status, 202, "{told:?}");
        assert_eq!(told.text("/warnings/0/code"), "url_invalid", "{url}");
    }
    server.stop().await;
    assert!(receiver.delivered().is_empty());
}
