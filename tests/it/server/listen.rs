//! `notify listen` against real deliveries of `notify serve`.

use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use serde_json::json;

use super::Server;

const QUICK: [(&str, &str); 2] = [("NOTIFY_MAX_RETRIES", "5"), ("NOTIFY_RETRY_BASE_MS", "20")];

#[tokio::test]
async fn a_real_delivery_is_verified_and_shown() {
    let server = Server::start_with(&QUICK).await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let listen = Program::start(&["listen", "--port", "0"], &[("NOTIFY_SECRET", secret)]);
    let url = format!("http://{}/hook", listen.address().await);
    let webhook = json!({ "url": url, "secret": secret });
    server
        .register(json!({ "job_id": "a", "webhook": webhook }))
        .await;

    let event = json!({ "status": "completed", "result": { "text": "\u{1b}[2J" } });
    let id = server.accept("a", event).await;
    let line = listen.stdout_line(&id).await;
    for part in ["job.completed", "  a  ", "verified (Standard Webhooks)"] {
        assert!(line.contains(part), "{line}");
    }
    let event = listen.stdout_line("\"status\":\"completed\"").await;
    assert!(event.contains("\\u001b[2J"), "{event}");
    for line in listen.stdout() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    listen.terminate().await;
    assert_eq!(listen.ended().await.code, Some(0));
}

#[tokio::test]
async fn as_many_fail_as_were_asked_for() {
    let mut env = vec![("NOTIFY_SIGNING_SECRET", "shared-secret")];
    env.extend(QUICK);
    let server = Server::start_with(&env).await;
    let args = [
        "listen",
        "--port",
        "0",
        "--secret",
        "shared-secret",
        "--fail",
        "2",
    ];
    let listen = Program::start(&args, &[]);
    let url = format!("http://{}/hook", listen.address().await);
    server
        .register(json!({ "job_id": "a", "webhook": { "url": url } }))
        .await;
    let id = server.accept("a", json!({ "status": "queued" })).await;
    let taken = format!("{id}  verified (Standard Webhooks)");
    let failed = format!("{taken}, answered 500 on purpose");
    let attempts = listen.stdout_lines(&id, 3).await;
    assert!(attempts[0].ends_with(&failed) && attempts[1].ends_with(&failed));
    assert!(attempts[2].ends_with(&taken), "{attempts:?}");
}

#[tokio::test]
async fn what_is_not_signed_with_the_secret_is_refused() {
    let listen = Program::start(&["listen", "--port", "0"], &[("NOTIFY_SECRET", "right")]);
    let address = listen.address().await;
    let body = r#"{"id":"aaaaaaaaaaaa-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued"}}"#;
    let forged = HttpRequest::post("/", body).header("webhook-id", "aaaaaaaaaaaa-1");
    assert_eq!(forged.send(address).await.status, 401);
    let line = listen.stdout_line("aaaaaaaaaaaa-1").await;
    assert!(line.contains("refused (webhook-timestamp: "), "{line}");
    assert_eq!(HttpRequest::get("/").send(address).await.status, 405);
}

#[tokio::test]
async fn without_a_secret_nothing_passes_for_verified() {
    let listen = Program::start(&["listen", "--port", "0"], &[]);
    let address = listen.address().await;
    listen.stderr_line("nothing is verified").await;
    let body = r#"{"id":"aaaaaaaaaaaa-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued"}}"#;
    assert_eq!(HttpRequest::post("/", body).send(address).await.status, 204);
    let line = listen.stdout_line("aaaaaaaaaaaa-1").await;
    assert!(line.ends_with("unverified (no secret)"), "{line}");
}
