//! Secrets, as an operator or a customer types them.

use notify_core::signing::SecretInvalid;
use notify_core::{Keyring, Secret, signing};
use notify_verify::Verifier;

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "secret",
    check,
    seeds,
};

/// A secret is given back as it was typed, is never shown, signs as the library
/// of Standard Webhooks does, and is the same to the receiver.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let text = &*crate::text(bytes);
    match Secret::parse(text) {
        Ok(secret) => check_taken(text, secret),
        Err(why) => check_refused(text, why),
    }
}

fn check_taken(text: &str, secret: Secret) {
    assert!((1..=Secret::BYTES_MAX).contains(&text.len()));
    assert_eq!(secret.expose(), text);
    assert_eq!(Secret::parse(secret.expose()).as_ref(), Ok(&secret));
    let verifier = Verifier::new([text]).expect("the receiver takes what the sender takes");
    let keyring = Keyring::new(secret);

    let another = Secret::from_random([7; 32]);
    let other_verifier = Verifier::from_secrets(vec![another.clone()]).expect("one secret");
    let other_keyring = Keyring::new(another);
    assert_eq!(format!("{keyring:?}"), format!("{other_keyring:?}"));
    assert_eq!(format!("{keyring:#?}"), format!("{other_keyring:#?}"));
    assert_eq!(format!("{verifier:?}"), format!("{other_verifier:?}"));

    let ours = signing::sign(&keyring, "a-1", 7, b"{}").standard;
    let library = match text.starts_with("whsec_") {
        true => standardwebhooks::Webhook::new(text),
        false => standardwebhooks::Webhook::from_bytes(text.into()),
    };
    let library = library.expect("the library takes what the sender takes");
    assert_eq!(library.sign("a-1", 7, b"{}").ok(), Some(ours));
}

fn check_refused(text: &str, why: SecretInvalid) {
    assert!(Verifier::new([text]).is_err());
    let encoded = text.starts_with("whsec_");
    let holds = match why {
        SecretInvalid::Empty => text.is_empty(),
        SecretInvalid::TooLong => text.len() > Secret::BYTES_MAX,
        SecretInvalid::NotBase64 => encoded && standardwebhooks::Webhook::new(text).is_err(),
        SecretInvalid::KeyLength => encoded && standardwebhooks::Webhook::new(text).is_ok(),
        SecretInvalid::Blank => {
            text.chars().next().is_some_and(is_blank)
                || text.chars().next_back().is_some_and(is_blank)
        }
        SecretInvalid::Quoted => !text.starts_with(char::is_alphanumeric),
        SecretInvalid::Version => text.starts_with("v1,whsec_"),
        _ => false,
    };
    assert!(holds, "{why}");
}

fn is_blank(end: char) -> bool {
    end.is_whitespace() || end.is_control()
}

fn seeds() -> Vec<Vec<u8>> {
    crate::seeds([
        "operator-hmac-key",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        "whsec_c2hvcnQ=",
        "été",
        "operator-hmac-key\n",
        "\"operator-hmac-key\"",
        "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ])
}
