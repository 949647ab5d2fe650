//! Rust: the examples with `notify-verify`, and the crates of others.

use std::env;

use http::HeaderMap;
use notify_core::signing::{WEBHOOK_SIGNATURE, X_WEBHOOK_SIGNATURE};
use notify_tests::receiver::Delivered;
use notify_verify::{Scheme, Verifier};
use tokio::process::Command;

use super::example::{check_receives, statuses_while_changing};
use super::{ENCODED, PLAIN, Service};

/// An example of the package `notify-receivers`, next to the tests' own program.
fn built(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is not there; run cargo xtask test",
        program.display()
    );
    Command::new(program)
}

#[tokio::test]
async fn axum_takes_what_is_sent() {
    check_receives(|| built("receiver-axum")).await;
}

#[tokio::test]
async fn hyper_takes_what_is_sent() {
    check_receives(|| built("receiver-hyper")).await;
}

#[tokio::test]
async fn a_changed_secret_holds_old_and_new() {
    for name in ["receiver-axum", "receiver-hyper"] {
        let statuses = statuses_while_changing(|| built(name)).await;
        assert_eq!(statuses, [204, 204], "{name}");
    }
}

/// One by one, since a receiver that has both headers looks at one of them.
#[tokio::test]
async fn a_changed_secret_holds_by_both_headers_for_the_old() {
    let service = Service::changing(PLAIN, ENCODED).await;
    let [delivered, _] = service.delivered_twice().await;
    let proved_by = |secret: &str, left_out: &str| {
        let mut headers = delivered.headers.clone();
        assert!(headers.remove(left_out).is_some());
        let verifier = Verifier::new([secret]).unwrap();
        let proof = verifier.verify_bytes(&headers, &delivered.body);
        proof.ok().map(|proof| proof.scheme)
    };
    let standard = Some(Scheme::Standard);
    let timestamped = Some(Scheme::Timestamped);
    assert_eq!(proved_by(PLAIN, X_WEBHOOK_SIGNATURE), standard);
    assert_eq!(proved_by(PLAIN, WEBHOOK_SIGNATURE), timestamped);
    assert_eq!(proved_by(ENCODED, X_WEBHOOK_SIGNATURE), standard);
    assert_eq!(proved_by(ENCODED, WEBHOOK_SIGNATURE), None);
}

#[tokio::test]
async fn standardwebhooks_takes_what_is_sent() {
    check_library(|secret, headers, body| {
        let webhook = match secret.starts_with("whsec_") {
            true => standardwebhooks::Webhook::new(secret),
            false => standardwebhooks::Webhook::from_bytes(secret.into()),
        };
        webhook.unwrap().verify(body, headers).is_ok()
    })
    .await;
}

#[tokio::test]
async fn svix_takes_what_is_sent() {
    check_library(|secret, headers, body| {
        let webhook = match secret.starts_with("whsec_") {
            true => svix::webhooks::Webhook::new(secret),
            false => svix::webhooks::Webhook::from_bytes(secret.into()),
        };
        webhook.unwrap().verify(body, headers).is_ok()
    })
    .await;
}

/// That a library takes deliveries with a secret of either kind and while it is
/// being changed, and nothing else.
async fn check_library(takes: impl Fn(&str, &HeaderMap, &[u8]) -> bool) {
    let takes = |secret: &str, delivered: &Delivered| {
        let Delivered { headers, body, .. } = delivered;
        assert!(!takes(secret, headers, b"{}"));
        takes(secret, headers, body)
    };
    for (secret, other) in [(ENCODED, PLAIN), (PLAIN, ENCODED)] {
        let service = Service::signing_with(secret).await;
        for delivered in service.delivered_twice().await {
            assert!(takes(secret, &delivered));
            assert!(!takes(other, &delivered));
        }
        let service = Service::changing(other, secret).await;
        for delivered in service.delivered_twice().await {
            assert!(takes(secret, &delivered));
            assert!(takes(other, &delivered));
        }
    }
}
