//! Endpoints through the API: disabled and enabled, given other secrets, tried.

use std::time::Duration;

use notify_tests::receiver::Receiver;
use notify_verify::Verifier;
use serde_json::{Value, json};

use super::{KEY, Server, check_field, check_refused};

impl Server {
    /// Registers a job that tells `url`, and returns its endpoint's id and secret.
    async fn endpoint(&self, job: &str, url: &str) -> (String, String) {
        let spec = json!({ "job_id": job, "webhook": { "url": url } });
        let registered = self.register(spec).await;
        let secret = registered["webhook_secret"].as_str().unwrap().to_owned();
        let listed = self.get("/v1/endpoints").await.json();
        let items = listed["items"].as_array().unwrap();
        let endpoint = items.iter().find(|it| it["url"] == url).unwrap();
        (endpoint["id"].as_str().unwrap().to_owned(), secret)
    }
}

#[tokio::test]
async fn a_disabled_endpoint_is_told_once_it_is_enabled() {
    let server = Server::start().await;
    let receiver = Receiver::start().await.unwrap();
    let (id, _) = server.endpoint("a", &receiver.url()).await;
    let path = format!("/v1/endpoints/{id}");
    let disabled = server.post(&format!("{path}/disable"), "").await;
    assert_eq!(
        (disabled.status, &disabled.json()["enabled"]),
        (200, &json!(false))
    );
    server.accept_all("a", &["queued", "completed"]).await;
    assert_eq!(server.get(&path).await.json()["enabled"], false);
    assert!(receiver.delivered().is_empty());
    let enabled = server.post(&format!("{path}/enable"), "").await;
    assert_eq!(
        (enabled.status, &enabled.json()["enabled"]),
        (200, &json!(true))
    );
    assert_eq!(receiver.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_old_one() {
    let server = Server::start().await;
    let receiver = Receiver::start().await.unwrap();
    let (id, old) = server.endpoint("a", &receiver.url()).await;
    let path = format!("/v1/endpoints/{id}/secrets");
    let rotated = server.post(&path, json!({})).await;
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let new = rotated.text("/secret");
    assert!(new.starts_with("whsec_") && new != old, "{new}");
    let third = server.post(&path, json!({ "secret": "third" })).await;
    check_refused(&third, 409, "rotation_in_progress");

    server.accept("a", json!({ "status": "queued" })).await;
    let delivered = receiver.wait_for(1).await.remove(0);
    for secret in [&old, &new] {
        let verifier = Verifier::new([secret.as_str()]).unwrap();
        verifier
            .verify(&delivered.headers, &delivered.body)
            .unwrap();
    }
    // No answer shows either of them again.
    for path in [
        "/v1/endpoints",
        &format!("/v1/endpoints/{id}"),
        "/v1/jobs/a",
    ] {
        let shown = String::from_utf8(server.get(path).await.body.to_vec()).unwrap();
        assert!(!shown.contains(&old) && !shown.contains(&new), "{shown}");
    }
}

#[tokio::test]
async fn an_old_secret_that_expires_at_once_signs_no_more() {
    let server = Server::start().await;
    let receiver = Receiver::start().await.unwrap();
    let (id, old) = server.endpoint("a", &receiver.url()).await;
    let path = format!("/v1/endpoints/{id}/secrets");
    let given = json!({ "secret": "given", "expire_old_after_secs": 0 });
    assert_eq!(server.post(&path, given).await.text("/secret"), "given");
    server.accept("a", json!({ "status": "queued" })).await;
    let delivered = receiver.wait_for(1).await.remove(0);
    let passes = |secret: &str| {
        let verifier = Verifier::new([secret]).unwrap();
        verifier.verify(&delivered.headers, &delivered.body).is_ok()
    };
    assert_eq!((passes(&old), passes("given")), (false, true));

    let wrong = server.post(&path, json!({ "secret": " pasted" })).await;
    check_field(&wrong, "signing_secret_invalid", "webhook.secret");
    let wrong = server
        .post(&path, json!({ "expire_old_after_secs": -1 }))
        .await;
    check_field(&wrong, "request_invalid", "expire_old_after_secs");
}

#[tokio::test]
async fn an_endpoint_is_tried_and_nothing_is_kept_of_it() {
    let server = Server::start().await;
    let answers = |before, _: &_| if before == 0 { 503 } else { 204 };
    let receiver = Receiver::answering(answers).await.unwrap();
    let (id, secret) = server.endpoint("a", &receiver.url()).await;
    let path = format!("/v1/endpoints/{id}/test");
    let tried = server.post(&path, "").await;
    assert_eq!((tried.status, &tried.json()["status"]), (200, &json!(503)));
    let tried = server.post(&path, "").await.json();
    assert_eq!(tried["status"], 204);
    assert!(
        tried["duration_ms"].is_u64() && tried.get("error").is_none(),
        "{tried}"
    );

    let sent = receiver.delivered();
    let verifier = Verifier::new([secret.as_str()]).unwrap();
    for message in &sent {
        let verified = verifier.verify(&message.headers, &message.body).unwrap();
        assert!(verified.is_test());
    }
    assert_ne!(sent[0].body, sent[1].body, "each has an id of its own");
    let deliveries = server.get("/v1/jobs/a/deliveries").await.json();
    assert_eq!(deliveries["items"], Value::Array(Vec::new()));

    drop(receiver);
    let tried = loop {
        // What was accepted before it was gone may still be answered.
        let tried = server.post(&path, "").await.json();
        if tried.get("error").is_some() {
            break tried;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(tried.get("status").is_none(), "{tried}");
}

#[tokio::test]
async fn an_unknown_endpoint_is_not_found() {
    let server = Server::start().await;
    for id in ["ep_aaaaaaaaaaaaaaaaaaaa", "x"] {
        let path = format!("/v1/endpoints/{id}");
        check_refused(&server.get(&path).await, 404, "endpoint_unknown");
        for verb in ["enable", "disable", "test"] {
            let answer = server.post(&format!("{path}/{verb}"), "").await;
            check_refused(&answer, 404, "endpoint_unknown");
        }
        let answer = server.post(&format!("{path}/secrets"), json!({})).await;
        check_refused(&answer, 404, "endpoint_unknown");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_is_shown_as_sick() {
    let server = Server::start_with(&[("NOTIFY_RETRY_BASE_MS", "10")]).await;
    let receiver = Receiver::answering(|before, _| if before == 0 { 204 } else { 500 });
    let receiver = receiver.await.unwrap();
    let (id, _) = server.endpoint("a", &receiver.url()).await;
    let path = format!("/v1/endpoints/{id}");
    let well = server.get(&path).await.json();
    let fields = [
        "breaker",
        "in_flight",
        "consecutive_failures",
        "last_success_at",
    ];
    let [breaker, in_flight, failures, last] = fields.map(|field| &well[field]);
    assert_eq!((breaker, in_flight), (&json!("closed"), &json!(0)));
    assert_eq!((failures, last), (&json!(0), &Value::Null));
    server
        .accept_all("a", &["queued", "processing", "queued", "completed"])
        .await;
    let sick = loop {
        let shown = server.get(&path).await.json();
        if shown["breaker"] == "open" {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(sick["consecutive_failures"], 5);
    assert!(
        sick["last_success_at"].as_str().unwrap().ends_with('Z'),
        "{sick}"
    );
}

#[tokio::test]
async fn no_answer_and_no_log_shows_a_secret() {
    let env = [
        ("NOTIFY_MAX_RETRIES", "0"),
        ("NOTIFY_SIGNING_SECRET", "canary-operators"),
        ("RUST_LOG", "trace"),
    ];
    let server = Server::start_with(&env).await;
    let receiver = Receiver::answering(|_, _| 500).await.unwrap();
    let url = format!("{}?canary-query", receiver.url());
    let webhook = json!({ "url": url, "secret": "canary-own" });
    let spec = json!({ "job_id": "a", "webhook": webhook });
    let token = server.register(spec).await["token"].clone();
    server.accept("a", json!({ "status": "completed" })).await;
    receiver.wait_for(1).await;
    let listed = server.get("/v1/endpoints").await.json();
    let id = listed["items"][0]["id"].as_str().unwrap();
    let secrets = format!("/v1/endpoints/{id}/secrets");
    for secret in ["canary-next", "canary-third", " canary-pasted"] {
        let answer = server.post(&secrets, json!({ "secret": secret })).await;
        let is_shown = String::from_utf8_lossy(&answer.body).contains("canary");
        assert_eq!(is_shown, answer.status == 201, "{answer:?}");
    }
    server.post(&format!("/v1/endpoints/{id}/test"), "").await;
    let letter = server.letters("", 1).await.remove(0);
    let letter = letter["id"].as_str().unwrap();
    for path in [
        "/v1/endpoints".to_owned(),
        format!("/v1/endpoints/{id}"),
        "/v1/jobs".to_owned(),
        "/v1/jobs/a".to_owned(),
        "/v1/jobs/a/deliveries".to_owned(),
        format!("/v1/deliveries/{letter}"),
        format!("/v1/dead-letters/{letter}"),
    ] {
        let answer = server.get(&path).await;
        let shown = String::from_utf8_lossy(&answer.body);
        // A URL is the operator's to see.
        let shown = shown.replace("canary-query", "");
        assert!(
            answer.status == 200 && !shown.contains("canary"),
            "{path}: {shown}"
        );
        assert!(!shown.contains(token.as_str().unwrap()), "{path}: {shown}");
    }
    let ended = server.stop().await;
    for secret in ["canary", KEY, token.as_str().unwrap()] {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
    }
}
