//! What a verifier takes and refuses, and that nothing from outside makes it panic.

use notify_core::Keyring;
use notify_core::signing::{Forged, sign};
use notify_core::signing::{
    WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_712_534_401;
const ID: &str = "k3f9a2m7q1xz-12";
const BODY: &str = r#"{"id":"k3f9a2m7q1xz-12","type":"job.completed","job_id":"job-123","sequence":12,"event":{"status":"completed","timestamp":1712534400}}"#;

fn verifier() -> Verifier {
    let now = || Timestamp::from_secs(NOW);
    Verifier::new(["operator-hmac-key"]).unwrap().clock(now)
}

type Pairs = Vec<(&'static str, String)>;

/// The headers of a message as the sender writes them.
fn signed(id: &str, body: &[u8]) -> Pairs {
    let keyring = Keyring::new(Secret::parse("operator-hmac-key").unwrap());
    let signatures = sign(&keyring, id, NOW, body);
    vec![
        (WEBHOOK_ID, id.to_owned()),
        (WEBHOOK_TIMESTAMP, NOW.to_string()),
        (WEBHOOK_SIGNATURE, signatures.standard),
        (X_WEBHOOK_SIGNATURE, signatures.timestamped),
        (X_WEBHOOK_TIMESTAMP, NOW.to_string()),
    ]
}

fn without(mut headers: Pairs, name: &str) -> Pairs {
    headers.retain(|header| header.0 != name);
    headers
}

#[track_caller]
fn check_refused(verifier: &Verifier, headers: &Pairs, body: &str, code: &str) {
    let refused = verifier.verify(headers, body.as_bytes()).unwrap_err();
    assert_eq!(refused.code(), code);
}

#[test]
fn a_good_message_is_a_notification() {
    let notification = verifier()
        .verify(&signed(ID, BODY.as_bytes()), BODY.as_bytes())
        .unwrap();
    assert_eq!(notification.id.to_string(), ID);
    assert_eq!(notification.job_id, "job-123");
}

#[test]
fn a_doubled_header_is_refused_by_name_whichever_scheme_is_judged() {
    for name in [
        WEBHOOK_ID,
        WEBHOOK_TIMESTAMP,
        WEBHOOK_SIGNATURE,
        X_WEBHOOK_SIGNATURE,
        X_WEBHOOK_TIMESTAMP,
    ] {
        let mut headers = signed(ID, BODY.as_bytes());
        let again = headers.iter().find(|header| header.0 == name).cloned();
        headers.extend(again);
        check_refused(
            &verifier(),
            &headers,
            BODY,
            &format!("header_doubled:{name}"),
        );
        headers.retain(|header| header.0 != name);
        headers.push((name, "é".to_owned()));
        check_refused(
            &verifier(),
            &headers,
            BODY,
            &format!("header_not_text:{name}"),
        );
    }
}

#[test]
fn a_message_of_the_other_scheme_is_taken_unless_told_otherwise() {
    let headers = without(signed(ID, BODY.as_bytes()), WEBHOOK_SIGNATURE);
    assert!(verifier().verify(&headers, BODY.as_bytes()).is_ok());
    let strict = verifier().standard_only();
    check_refused(&strict, &headers, BODY, "missing_header:webhook-signature");
}

#[test]
fn an_id_that_is_not_the_bodys_is_refused_in_both_schemes() {
    let headers = signed("k3f9a2m7q1xz-13", BODY.as_bytes());
    check_refused(&verifier(), &headers, BODY, "id_mismatch");
    let hex_only = without(headers, WEBHOOK_SIGNATURE);
    check_refused(&verifier(), &hex_only, BODY, "id_mismatch");
    let no_id = without(hex_only, WEBHOOK_ID);
    assert!(verifier().verify(&no_id, BODY.as_bytes()).is_ok());
}

#[test]
fn the_id_is_checked_for_types_of_ones_own_too() {
    #[derive(Debug, serde::Deserialize)]
    struct Own {
        job_id: String,
    }
    let headers = signed(ID, BODY.as_bytes());
    let own: Own = verifier().verify_as(&headers, BODY.as_bytes()).unwrap();
    assert_eq!(own.job_id, "job-123");
    let other = signed("k3f9a2m7q1xz-13", BODY.as_bytes());
    let refused = verifier()
        .verify_as::<Own>(&other, BODY.as_bytes())
        .unwrap_err();
    assert_eq!(refused.code(), "id_mismatch");
}

#[test]
fn a_signed_body_that_is_no_notification_is_malformed() {
    for body in ["", "{}", "[]", "null", "\u{feff}{}", r#"{"id":7}"#] {
        let headers = signed(ID, body.as_bytes());
        check_refused(&verifier(), &headers, body, "payload_malformed");
    }
}

#[test]
fn bytes_are_proven_without_being_read() {
    let headers = signed("msg_1", b"\xff\x00");
    let proof = verifier().verify_bytes(&headers, b"\xff\x00").unwrap();
    assert_eq!(proof.scheme, Scheme::Standard);
    assert_eq!(proof.webhook_id, Some("msg_1"));
    let hex_only = without(headers, WEBHOOK_SIGNATURE);
    let proof = verifier().verify_bytes(&hex_only, b"\xff\x00").unwrap();
    assert_eq!(proof.scheme, Scheme::Timestamped);
    assert_eq!(proof.webhook_id, None);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let exact = verifier().body_bytes_max(BODY.len());
    let headers = signed(ID, BODY.as_bytes());
    assert!(exact.verify(&headers, BODY.as_bytes()).is_ok());
    let small = verifier().body_bytes_max(BODY.len() - 1);
    check_refused(&small, &headers, BODY, "body_too_large");
}

#[test]
fn the_tolerance_can_be_set() {
    let headers = signed(ID, BODY.as_bytes());
    let late = || Timestamp::from_secs(NOW + 61);
    let strict = verifier().tolerance(Duration::from_secs(60)).clock(late);
    check_refused(&strict, &headers, BODY, "too_old");
    let lax = strict.tolerance(Duration::from_secs(61));
    assert!(lax.verify(&headers, BODY.as_bytes()).is_ok());
}

#[test]
fn the_default_clock_tells_the_time() {
    let verifier = Verifier::new(["x"]).unwrap();
    assert!(verifier.now() > Timestamp::from_secs(1_700_000_000));
}

#[test]
fn secrets_are_needed_and_the_bad_one_is_named() {
    let none: [&str; 0] = [];
    assert_eq!(Verifier::new(none).unwrap_err(), SecretsInvalid::NoSecret);
    let why = Verifier::new(["good", ""]).unwrap_err();
    assert_eq!(
        why,
        SecretsInvalid::Malformed {
            index: 1,
            why: SecretInvalid::Empty
        }
    );
    assert_eq!(why.to_string(), "secret 1: must not be empty");
}

#[test]
fn any_of_several_secrets_will_do() {
    let now = || Timestamp::from_secs(NOW);
    let verifier = Verifier::new(["new-secret", "operator-hmac-key"]).unwrap();
    let headers = signed(ID, BODY.as_bytes());
    assert!(
        verifier
            .clock(now)
            .verify(&headers, BODY.as_bytes())
            .is_ok()
    );
    let other = Verifier::from_secrets(vec![Secret::from_random([7; 32])]).unwrap();
    let refused = other.clock(now).verify(&headers, BODY.as_bytes());
    assert!(matches!(
        refused,
        Err(VerifyError::Forged(Forged::NoMatch(Scheme::Standard)))
    ));
}

#[test]
fn debug_shows_no_secret() {
    let verifier = Verifier::new(["canary-5f2e"]).unwrap();
    assert!(!format!("{verifier:?}").contains("canary"));
}

const NAMES: [&str; 7] = [
    WEBHOOK_ID,
    WEBHOOK_TIMESTAMP,
    WEBHOOK_SIGNATURE,
    X_WEBHOOK_SIGNATURE,
    X_WEBHOOK_TIMESTAMP,
    "Webhook-Id",
    "x-job-id",
];

/// Headers that look right often enough to get past the first checks.
fn any_headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let value = prop_oneof![
        any::<Vec<u8>>(),
        "v1,[A-Za-z0-9+/]{43}=( v1,.{0,9})?".prop_map(String::into_bytes),
        "sha256=[0-9a-f]{64}".prop_map(String::into_bytes),
        Just(NOW.to_string().into_bytes()),
    ];
    proptest::collection::vec((proptest::sample::select(&NAMES[..]), value), 0..8)
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(headers in any_headers(), body: Vec<u8>) {
        let refused = verifier().verify(&headers, &body).unwrap_err();
        prop_assert!(matches!(refused.status(), 400 | 401));
        let _ = verifier().verify_bytes(&headers[..], &body).unwrap_err();
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_header_map_is_judged_as_the_same_pairs(headers in any_headers(), body: Vec<u8>) {
        let mut map = http::HeaderMap::new();
        let mut pairs = Vec::new();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if let Ok(valid) = http::HeaderValue::from_bytes(&value) {
                map.append(http::HeaderName::try_from(&name).unwrap(), valid);
                pairs.push((name, value));
            }
        }
        let by_map = verifier().verify(&map, &body).unwrap_err();
        let by_pairs = verifier().verify(&pairs, &body).unwrap_err();
        prop_assert_eq!(by_map.code(), by_pairs.code());
    }

    #[test]
    fn what_is_signed_holds_and_what_is_changed_does_not(
        id in "[!-~]{1,40}",
        body in proptest::collection::vec(any::<u8>(), 1..200),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let headers = signed(&id, &body);
        let proof = verifier().verify_bytes(&headers, &body).unwrap();
        prop_assert_eq!(proof.webhook_id, Some(&*id));
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1 << bit;
        let refused = verifier().verify_bytes(&headers, &changed).unwrap_err();
        prop_assert_eq!(refused.code(), "no_match");
    }

    #[test]
    fn any_signed_body_is_read_without_a_panic(body: Vec<u8>) {
        let refused = verifier().verify(&signed(ID, &body), &body).unwrap_err();
        prop_assert_eq!(refused.code(), "payload_malformed");
    }
}
