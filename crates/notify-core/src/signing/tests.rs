//! Known answers, refusals, and any bytes.

use serde_json::Value;

use super::*;

const NOW: u64 = 1_712_534_401;

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

fn received<'a>(signatures: &'a Signatures, timestamp: &'a str, body: &'a [u8]) -> Received<'a> {
    Received {
        id: Some("k3f9a2m7q1xz-2"),
        timestamp: Some(timestamp),
        standard: Some(&signatures.standard),
        timestamped: Some(&signatures.timestamped),
        body,
    }
}

#[track_caller]
fn check_refused(secrets: &[Secret], received: Received<'_>, why: Forged) {
    let now = Timestamp::from_secs(NOW);
    let outcome = check(secrets, &received, Accepts::Either, now, TOLERANCE_DEFAULT);
    assert_eq!(outcome, Err(why));
}

#[test]
fn known_answers_are_signed() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../vectors/signatures.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let text = |field: &str| vector[field].as_str().unwrap();
        let timestamp = vector["timestamp"].as_u64().unwrap();
        let keyring = Keyring::new(secret(text("secret")));
        let signed = sign(&keyring, text("id"), timestamp, text("body").as_bytes());
        assert_eq!(
            signed.standard,
            text("webhook_signature"),
            "{}",
            text("name")
        );
        assert_eq!(
            signed.timestamped,
            text("x_webhook_signature"),
            "{}",
            text("name")
        );
    }
}

#[test]
fn a_rotating_keyring_serves_old_and_new_receivers() {
    let (old, new) = (secret("old-secret"), Secret::from_random([7; 32]));
    let keyring = Keyring::rotating(new.clone(), old.clone(), None);
    let signed = sign(&keyring, "k3f9a2m7q1xz-2", NOW, b"{}");
    assert_eq!(signed.standard.split(' ').count(), 2);
    let now = Timestamp::from_secs(NOW);
    let timestamp = NOW.to_string();
    let both = received(&signed, &timestamp, b"{}");
    let hex_only = Received {
        standard: None,
        ..both
    };
    let passes = |secret: &Secret, message: &Received<'_>| {
        check(
            std::slice::from_ref(secret),
            message,
            Accepts::Either,
            now,
            TOLERANCE_DEFAULT,
        )
    };
    assert_eq!(passes(&old, &both), Ok(Scheme::Standard));
    assert_eq!(passes(&old, &hex_only), Ok(Scheme::Timestamped));
    assert_eq!(passes(&new, &both), Ok(Scheme::Standard));
    assert_eq!(
        passes(&new, &hex_only),
        Err(Forged::NoMatch(Scheme::Timestamped))
    );
}

#[test]
fn every_refusal_says_which_check_failed() {
    let mine = [secret("operator-hmac-key")];
    let signed = sign(
        &Keyring::new(mine[0].clone()),
        "k3f9a2m7q1xz-2",
        NOW,
        b"{\"a\":1}",
    );
    let timestamp = NOW.to_string();
    let good = received(&signed, &timestamp, b"{\"a\":1}");

    check_refused(&[], good, Forged::NoSecret);
    check_refused(
        &mine,
        Received { id: None, ..good },
        Forged::MissingHeader(WEBHOOK_ID),
    );
    check_refused(
        &mine,
        Received {
            id: Some(""),
            ..good
        },
        Forged::MissingHeader(WEBHOOK_ID),
    );
    check_refused(
        &mine,
        Received {
            timestamp: None,
            ..good
        },
        Forged::MissingHeader(WEBHOOK_TIMESTAMP),
    );
    let unsigned = Received {
        standard: None,
        timestamped: None,
        ..good
    };
    check_refused(&mine, unsigned, Forged::MissingHeader(WEBHOOK_SIGNATURE));
    for bad in [
        "",
        "hello",
        "-1",
        "+1712534401",
        "1712534401.0",
        " 1712534401",
        "99999999999999999999",
    ] {
        check_refused(
            &mine,
            Received {
                timestamp: Some(bad),
                ..good
            },
            Forged::TimestampMalformed,
        );
    }
    let no_match = Forged::NoMatch(Scheme::Standard);
    check_refused(&[secret("another")], good, no_match);
    check_refused(
        &mine,
        Received {
            body: b"{\"a\": 1}",
            ..good
        },
        no_match,
    );
    check_refused(&mine, Received { body: b"", ..good }, no_match);
    check_refused(
        &mine,
        Received {
            id: Some("k3f9a2m7q1xz-3"),
            ..good
        },
        no_match,
    );

    let malformed = Forged::SignatureMalformed(Scheme::Standard);
    let truncated = &signed.standard[..20];
    let unpadded = signed.standard.trim_end_matches('=');
    let unknown = signed.standard.replace("v1,", "v2,");
    for bad in [
        "",
        "v1,",
        "v1",
        truncated,
        unpadded,
        &unknown,
        &signed.timestamped,
        "v1,AAAA",
    ] {
        check_refused(
            &mine,
            Received {
                standard: Some(bad),
                ..good
            },
            malformed,
        );
    }
    let hex = |signature| Received {
        standard: None,
        timestamped: Some(signature),
        ..good
    };
    let malformed = Forged::SignatureMalformed(Scheme::Timestamped);
    let upper = format!("sha256={}", signed.timestamped[7..].to_uppercase());
    let cut = &signed.timestamped[..70];
    for bad in [
        "",
        "sha256=",
        &signed.timestamped[7..],
        cut,
        &upper,
        &signed.standard,
    ] {
        check_refused(&mine, hex(bad), malformed);
    }
    let foreign = sign(&Keyring::new(secret("another")), "x", NOW, b"{\"a\":1}");
    check_refused(
        &mine,
        hex(&foreign.timestamped),
        Forged::NoMatch(Scheme::Timestamped),
    );
}

#[test]
fn one_good_signature_among_bad_ones_is_enough() {
    let mine = [secret("operator-hmac-key")];
    let signed = sign(&Keyring::new(mine[0].clone()), "k3f9a2m7q1xz-2", NOW, b"{}");
    let foreign = sign(
        &Keyring::new(secret("another")),
        "k3f9a2m7q1xz-2",
        NOW,
        b"{}",
    );
    let many = format!(
        "v1a,xyz v2,abc junk v1,!! {} {}",
        foreign.standard, signed.standard
    );
    let timestamp = NOW.to_string();
    let message = Received {
        standard: Some(&many),
        ..received(&signed, &timestamp, b"{}")
    };
    let now = Timestamp::from_secs(NOW);
    let outcome = check(&mine, &message, Accepts::Either, now, TOLERANCE_DEFAULT);
    assert_eq!(outcome, Ok(Scheme::Standard));
}

#[test]
fn a_failed_standard_signature_is_not_mended_by_the_other() {
    let mine = [secret("operator-hmac-key")];
    let signed = sign(&Keyring::new(mine[0].clone()), "k3f9a2m7q1xz-2", NOW, b"{}");
    let timestamp = NOW.to_string();
    let good = received(&signed, &timestamp, b"{}");
    let other_id = Received {
        id: Some("k3f9a2m7q1xz-9"),
        ..good
    };
    check_refused(&mine, other_id, Forged::NoMatch(Scheme::Standard));
    let now = Timestamp::from_secs(NOW);
    let downgraded = Received {
        standard: None,
        ..good
    };
    let outcome = check(
        &mine,
        &downgraded,
        Accepts::StandardOnly,
        now,
        TOLERANCE_DEFAULT,
    );
    assert_eq!(outcome, Err(Forged::MissingHeader(WEBHOOK_SIGNATURE)));
}

#[test]
fn the_tolerance_includes_its_edges() {
    let mine = [secret("operator-hmac-key")];
    for (offset, expected) in [
        (-301, Err(Forged::TooOld)),
        (-300, Ok(Scheme::Standard)),
        (300, Ok(Scheme::Standard)),
        (301, Err(Forged::TooNew)),
    ] {
        let at = NOW.checked_add_signed(offset).unwrap();
        let signed = sign(&Keyring::new(mine[0].clone()), "k3f9a2m7q1xz-2", at, b"{}");
        let timestamp = at.to_string();
        let message = received(&signed, &timestamp, b"{}");
        let now = Timestamp::from_secs(NOW);
        let outcome = check(&mine, &message, Accepts::Either, now, TOLERANCE_DEFAULT);
        assert_eq!(outcome, expected, "{offset}");
    }
}

#[test]
fn secrets_keep_to_their_forms() {
    let of = |bytes: usize| format!("whsec_{}", BASE64.encode(vec![7; bytes]));
    for good in ["x", "operator-hmac-key", &of(24), &of(64), &"s".repeat(256)] {
        assert!(Secret::parse(good).is_ok());
    }
    for (bad, why) in [
        ("".to_owned(), SecretInvalid::Empty),
        ("s".repeat(257), SecretInvalid::TooLong),
        ("whsec_".to_owned(), SecretInvalid::KeyLength),
        ("whsec_*".to_owned(), SecretInvalid::NotBase64),
        (of(23), SecretInvalid::KeyLength),
        (of(65), SecretInvalid::KeyLength),
        (
            of(25).trim_end_matches('=').to_owned(),
            SecretInvalid::NotBase64,
        ),
    ] {
        assert_eq!(Secret::parse(&bad).unwrap_err(), why, "{bad}");
    }
    let made = Secret::from_random([3; 32]);
    assert_eq!(Secret::parse(made.expose()).unwrap(), made);
}

#[test]
fn what_is_pasted_along_with_a_secret_is_refused_by_name() {
    let key = format!("whsec_{}", BASE64.encode([7; 32]));
    for text in ["operator-hmac-key", &key] {
        for (bad, why) in [
            (format!("{text}\n"), SecretInvalid::Blank),
            (format!("{text}\r\n"), SecretInvalid::Blank),
            (format!(" {text}"), SecretInvalid::Blank),
            (format!("\t{text}\t"), SecretInvalid::Blank),
            (format!("{text}\u{a0}"), SecretInvalid::Blank),
            (format!("\0{text}"), SecretInvalid::Blank),
            (format!("{text}\u{7f}"), SecretInvalid::Blank),
            (format!("\"{text}\""), SecretInvalid::Quoted),
            (format!("'{text}'"), SecretInvalid::Quoted),
            (format!("“{text}”"), SecretInvalid::Quoted),
        ] {
            assert_eq!(Secret::parse(&bad).unwrap_err(), why, "{bad:?}");
            assert!(!why.to_string().contains(text));
        }
    }
    let versioned = format!("v1,{key}");
    assert_eq!(Secret::parse(&versioned), Err(SecretInvalid::Version));
    for good in ["two words", "it's", "v1,abc", "\"open", "пароль🔑"] {
        assert!(Secret::parse(good).is_ok(), "{good}");
    }
}

#[test]
fn a_secret_that_was_taken_earlier_still_signs() {
    let kept = Secret::restore(" taken when this was not refused\n").unwrap();
    assert_eq!(kept.expose(), " taken when this was not refused\n");
    assert_eq!(Secret::restore("").unwrap_err(), SecretInvalid::Empty);
    assert_eq!(
        Secret::restore("whsec_*").unwrap_err(),
        SecretInvalid::NotBase64
    );
}

#[test]
fn the_old_secret_signs_until_it_expires_and_not_at_that_moment() {
    let (old, new) = (secret("old-secret"), secret("new-secret"));
    let keyring = Keyring::rotating(new, old, Some(Timestamp::from_secs(NOW + 60)));
    let entries = |at| {
        sign(&keyring, "k3f9a2m7q1xz-2", at, b"{}")
            .standard
            .split(' ')
            .count()
    };
    assert_eq!([NOW, NOW + 59, NOW + 60].map(entries), [2, 2, 1]);
    let newest = Keyring::new(keyring.newest().clone());
    let late = NOW + 60;
    assert_eq!(
        sign(&keyring, "k3f9a2m7q1xz-2", late, b"{}"),
        sign(&newest, "k3f9a2m7q1xz-2", late, b"{}")
    );
}

#[test]
fn a_third_active_secret_is_refused_and_the_same_one_changes_nothing() {
    let now = Timestamp::from_secs(NOW);
    let [first, second, third] = ["first", "second", "third"].map(secret);
    let until = now.plus(Duration::from_secs(60));
    let rotated = Keyring::new(first.clone())
        .rotated(now, second.clone(), until)
        .unwrap();
    let expected = Keyring::rotating(second.clone(), first, Some(until));
    assert_eq!(rotated, expected);
    assert_eq!(rotated.rotated(now, second.clone(), now), Ok(expected));
    assert_eq!(
        rotated.rotated(now, third.clone(), until),
        Err(RotationInProgress)
    );
    let later = rotated.rotated(until, third.clone(), until).unwrap();
    assert_eq!(later, Keyring::rotating(third, second, Some(until)));
}

#[test]
fn debug_shows_no_secret() {
    let text = "canary-5f2e";
    let secret = secret(text);
    let keyring = Keyring::rotating(secret.clone(), secret.clone(), None);
    assert!(!format!("{secret:?} {keyring:?}").contains("canary"));
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn are_refused_without_a_panic(
            id in proptest::option::of(".{0,20}"),
            timestamp in proptest::option::of("[0-9+.x-]{0,12}"),
            standard in proptest::option::of("(v1,|v2,| |,|=|[A-Za-z0-9+/é]){0,30}"),
            timestamped in proptest::option::of("(sha256=)?[0-9a-fA-Fé]{0,70}"),
            body: Vec<u8>,
        ) {
            let mine = [secret("operator-hmac-key")];
            let message = Received {
                id: id.as_deref(),
                timestamp: timestamp.as_deref(),
                standard: standard.as_deref(),
                timestamped: timestamped.as_deref(),
                body: &body,
            };
            let now = Timestamp::from_secs(NOW);
            prop_assert!(check(&mine, &message, Accepts::Either, now, Duration::MAX).is_err());
        }
    }
}
