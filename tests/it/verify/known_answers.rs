//! `vectors/`: every entry, in every shape that headers can have.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use notify_core::signing::{SecretInvalid, sign};
use notify_core::{Keyring, Secret, Timestamp};
use notify_verify::{Headers, Scheme, SecretsInvalid, Verifier, VerifyError};
use serde::Deserialize;

const VERIFY: &str = include_str!("../../../vectors/verify.json");
const SIGNATURES: &str = include_str!("../../../vectors/signatures.json");
const SECRETS: &str = include_str!("../../../vectors/secrets.json");

/// One entry of `verify.json`; `vectors/README.md` says what each field is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    name: String,
    secrets: Vec<String>,
    now: u64,
    tolerance_secs: Option<u64>,
    #[serde(default)]
    standard_only: bool,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
    body_repeat: Option<Repeat>,
    reads: Reads,
    expected: String,
    scheme: Option<String>,
}

#[derive(Deserialize)]
struct Repeat {
    text: String,
    times: usize,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reads {
    Bytes,
    Notification,
}

impl Message {
    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64, &self.body_repeat) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (None, Some(base64), None) => decode_base64(base64),
            (None, None, Some(repeat)) => repeat.text.repeat(repeat.times).into_bytes(),
            _ => panic!("{}: there must be one body", self.name),
        }
    }

    fn verifier(&self) -> Verifier {
        let now = Timestamp::from_secs(self.now);
        let mut verifier = Verifier::new(&self.secrets).unwrap().clock(move || now);
        if let Some(secs) = self.tolerance_secs {
            verifier = verifier.tolerance(Duration::from_secs(secs));
        }
        if self.standard_only {
            verifier = verifier.standard_only();
        }
        verifier
    }

    /// What the verifier says, in the words of the file.
    fn judge(&self, headers: &(impl Headers + ?Sized), body: &[u8]) -> String {
        let verifier = self.verifier();
        let said: Result<Scheme, VerifyError> =
            verifier
                .verify_bytes(headers, body)
                .and_then(|proof| match self.reads {
                    Reads::Bytes => Ok(proof.scheme),
                    Reads::Notification => verifier.verify(headers, body).map(|_| proof.scheme),
                });
        match said {
            Ok(scheme) => format!("ok {scheme:?}").to_lowercase(),
            Err(why) => why.code().into_owned(),
        }
    }

    fn expected(&self) -> String {
        match &self.scheme {
            Some(scheme) => format!("{} {scheme}", self.expected),
            None => self.expected.clone(),
        }
    }
}

fn messages() -> Vec<Message> {
    serde_json::from_str(VERIFY).unwrap()
}

#[test]
fn every_message_is_judged_as_it_is_written() {
    for message in messages() {
        let body = message.body();
        let said = message.judge(&message.headers, &body);
        assert_eq!(said, message.expected(), "{}", message.name);
    }
}

#[test]
fn a_header_map_is_judged_alike() {
    for message in messages() {
        let headers: Option<HeaderMap> = message
            .headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().ok()?;
                Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
            })
            .collect::<Option<Vec<_>>>()
            .map(|pairs| {
                let mut headers = HeaderMap::new();
                for (name, value) in pairs {
                    headers.append(name, value);
                }
                headers
            });
        // A header with a line break in it can't be in a map at all.
        let Some(headers) = headers else {
            assert!(message.expected.starts_with("header_not_text:"));
            continue;
        };
        let said = message.judge(&headers, &message.body());
        assert_eq!(said, message.expected(), "{}", message.name);
    }
}

#[test]
fn there_are_enough_messages_and_each_has_its_name() {
    let messages = messages();
    let names: HashSet<&str> = messages.iter().map(|message| &*message.name).collect();
    assert_eq!(names.len(), messages.len());
    assert!(names.len() >= 40);
}

/// One entry of `signatures.json`.
#[derive(Deserialize)]
struct Signed {
    name: String,
    secret: String,
    id: String,
    timestamp: u64,
    body: String,
    webhook_signature: String,
    x_webhook_signature: String,
}

#[test]
fn known_signatures_are_made_by_the_sender_and_taken_by_the_receiver() {
    let known: Vec<Signed> = serde_json::from_str(SIGNATURES).unwrap();
    assert!(!known.is_empty());
    for known in known {
        let keyring = Keyring::new(Secret::parse(&known.secret).unwrap());
        let made = sign(&keyring, &known.id, known.timestamp, known.body.as_bytes());
        assert_eq!(made.standard, known.webhook_signature, "{}", known.name);
        assert_eq!(
            made.timestamped, known.x_webhook_signature,
            "{}",
            known.name
        );

        let now = Timestamp::from_secs(known.timestamp);
        let verifier = Verifier::new([known.secret]).unwrap().clock(move || now);
        let timestamp = known.timestamp.to_string();
        let standard = [
            ("webhook-id", &*known.id),
            ("webhook-timestamp", &*timestamp),
            ("webhook-signature", &*known.webhook_signature),
        ];
        let proof = verifier.verify_bytes(&standard, known.body.as_bytes());
        assert_eq!(proof.unwrap().webhook_id, Some(&*known.id));
        let timestamped = [
            ("x-webhook-timestamp", &*timestamp),
            ("x-webhook-signature", &*known.x_webhook_signature),
        ];
        let proof = verifier.verify_bytes(&timestamped, known.body.as_bytes());
        assert_eq!(proof.unwrap().scheme, Scheme::Timestamped);
    }
}

/// One entry of `secrets.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    name: String,
    secret: String,
    refused: Option<String>,
}

#[test]
fn a_secret_is_taken_or_refused_by_sender_and_receiver_alike() {
    let known: Vec<Typed> = serde_json::from_str(SECRETS).unwrap();
    assert!(!known.is_empty());
    for Typed {
        name,
        secret,
        refused,
    } in known
    {
        let rule = |why| match why {
            SecretInvalid::Empty => "empty",
            SecretInvalid::TooLong => "too_long",
            SecretInvalid::NotBase64 => "not_base64",
            SecretInvalid::KeyLength => "key_length",
            SecretInvalid::Blank => "blank",
            SecretInvalid::Quoted => "quoted",
            SecretInvalid::Version => "version",
            other => panic!("{name}: {other}"),
        };
        let sender = Secret::parse(&secret).err();
        assert_eq!(sender.map(rule), refused.as_deref(), "{name}");
        let receiver = Verifier::new([&secret]).err();
        let expected = sender.map(|why| SecretsInvalid::Malformed { index: 0, why });
        assert_eq!(receiver, expected, "{name}");
    }
}

/// The signatures that the core ships for its own tests are the same.
#[test]
fn the_core_has_the_same_signatures() {
    let core = include_str!("../../../crates/notify-core/vectors/signatures.json");
    assert_eq!(core, SIGNATURES);
}

/// Padded standard base64, for the few bodies that are no text.
fn decode_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{text}: not base64"),
    };
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        bits = (bits << 6 | u32::from(digit(byte))) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}
