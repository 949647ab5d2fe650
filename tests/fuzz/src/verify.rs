//! The verifier: what it says of any message, and of one that a sender signed.

use notify_core::signing::{
    self, Forged, Signatures, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
};
use notify_core::{Keyring, Secret};
use notify_verify::{Headers, Notification, Proof, Scheme, VerifyError};

use crate::Target;
use crate::message::{self, Message, NOW, SECRETS, receiver};

/// This property.
pub const TARGET: Target = Target {
    name: "verify",
    check,
    seeds: message::seeds,
};

/// The headers' type and the door make no difference, nothing is proved without
/// a signature of the sender's, and what the sender signed is taken as it is and
/// not otherwise.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let message = Message::draw(bytes);
    check_judgement(&message);
    check_sent(&message);
}

fn check_judgement(message: &Message<'_>) {
    let said = judge(&message.headers, message.body);
    if let Ok((scheme, id)) = &said.proof {
        check_proof(message, *scheme, id.as_deref());
    }
    let map = message.header_map();
    if map.len() == message.headers.len() {
        assert_eq!(judge(&map, message.body), said);
    }
}

/// What a receiver says to a message.
#[derive(Debug, PartialEq)]
struct Judgement {
    proof: Result<(Scheme, Option<String>), String>,
    read: Result<Notification, String>,
}

/// Asks through both doors, which must not contradict each other.
fn judge(headers: &impl Headers, body: &[u8]) -> Judgement {
    let receiver = receiver(&SECRETS);
    let proof = receiver.verify_bytes(headers, body);
    let read = receiver.verify(headers, body);
    match (&proof, &read) {
        (Ok(proof), Ok(read)) => {
            let id = read.id.to_string();
            assert!(proof.webhook_id.is_none_or(|signed| signed == id));
        }
        (Ok(_), Err(why)) => assert!(
            matches!(
                why,
                VerifyError::IdMismatch | VerifyError::PayloadMalformed(_)
            ),
            "{why}"
        ),
        (Err(why), Err(also)) => assert_eq!(why.code(), also.code()),
        (Err(why), Ok(_)) => panic!("read without proof: {why}"),
    }
    let kept = |Proof {
                    scheme, webhook_id, ..
                }| (scheme, webhook_id.map(String::from));
    Judgement {
        proof: proof.map(kept).map_err(refusal),
        read: read.map_err(refusal),
    }
}

/// A refusal's code. Its text is answered, so it must be fit for that.
#[expect(clippy::needless_pass_by_value, reason = "it is mapped over")]
fn refusal(why: VerifyError) -> String {
    assert!(matches!(why.status(), 400 | 401 | 413));
    assert!(
        why.to_string()
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~'))
    );
    why.code().into_owned()
}

/// Nobody but the sender can make a signature, so what is proved is what the
/// sender would have written for that id, time and body.
fn check_proof(message: &Message<'_>, scheme: Scheme, id: Option<&str>) {
    let timestamp = message.header(WEBHOOK_TIMESTAMP);
    let timestamp = timestamp.or_else(|| message.header(X_WEBHOOK_TIMESTAMP));
    let timestamp = timestamp.expect("a proof has a time");
    let at: u64 = timestamp.parse().expect("the time is a number");
    if timestamp.starts_with('0') && at != 0 {
        // The sender writes no leading zero; one that is signed is taken though.
        return;
    }
    let theirs = message
        .header(scheme.header())
        .expect("a proof has a signature");
    let ours = SECRETS.map(|secret| {
        let signatures = sign(&[secret], id.unwrap_or_default(), at, message.body);
        match scheme {
            Scheme::Standard => signatures.standard,
            Scheme::Timestamped => signatures.timestamped,
            unknown => panic!("{unknown:?} is in no vector"),
        }
    });
    assert!(ours.iter().any(|ours| theirs.contains(ours)));
}

/// A message as the sender sends it, with the id and the body as drawn.
fn check_sent(message: &Message<'_>) {
    let Message { knob, body, .. } = *message;
    let id = message
        .header(WEBHOOK_ID)
        .filter(|id| !id.is_empty() && id.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .unwrap_or("k3f9a2m7q1xz-12");
    // From one end of the tolerance to the other.
    let at = NOW - 300 + u64::from(knob) * 600 / 255;
    let [newest, oldest] = SECRETS;
    let sent = Sent {
        id,
        at,
        body,
        signatures: &sign(&SECRETS, id, at, body),
    };
    check_standard_library(&sent);

    assert_eq!(sent.is_taken(&[newest]), Ok(()));
    assert_eq!(sent.is_taken(&[oldest]), Ok(()));
    assert_eq!(sent.is_taken_timestamped(&[oldest]), Ok(()));
    let timestamped = Err(Forged::NoMatch(Scheme::Timestamped));
    assert_eq!(sent.is_taken_timestamped(&[newest]), timestamped);

    let standard = Err(Forged::NoMatch(Scheme::Standard));
    let changed = changed(body, knob);
    let changed = Sent {
        body: &changed,
        ..sent
    };
    assert_eq!(changed.is_taken(&SECRETS), standard);
    assert_eq!(changed.is_taken_timestamped(&SECRETS), timestamped);
    let renamed = format!("{id}-");
    let renamed = Sent {
        id: &renamed,
        ..sent
    };
    assert_eq!(renamed.is_taken(&SECRETS), standard);
    let later = Sent {
        at: if at < NOW { at + 1 } else { at - 1 },
        ..sent
    };
    assert_eq!(later.is_taken(&SECRETS), standard);
    assert_eq!(later.is_taken_timestamped(&SECRETS), timestamped);
    for (at, why) in [(NOW - 301, Forged::TooOld), (NOW + 301, Forged::TooNew)] {
        let signatures = &sign(&SECRETS, id, at, body);
        let stale = Sent {
            at,
            signatures,
            ..sent
        };
        assert_eq!(stale.is_taken(&SECRETS), Err(why));
    }
}

#[derive(Clone, Copy)]
struct Sent<'a> {
    id: &'a str,
    at: u64,
    body: &'a [u8],
    signatures: &'a Signatures,
}

impl Sent<'_> {
    fn is_taken(&self, secrets: &[&str]) -> Result<(), Forged> {
        let at = self.at.to_string();
        let headers = [
            (WEBHOOK_ID, self.id),
            (WEBHOOK_TIMESTAMP, &at),
            (WEBHOOK_SIGNATURE, &self.signatures.standard),
            (X_WEBHOOK_SIGNATURE, &self.signatures.timestamped),
            (X_WEBHOOK_TIMESTAMP, &at),
        ];
        self.is_taken_with(secrets, &headers, Scheme::Standard)
    }

    fn is_taken_timestamped(&self, secrets: &[&str]) -> Result<(), Forged> {
        let headers = [
            (X_WEBHOOK_SIGNATURE, &*self.signatures.timestamped),
            (X_WEBHOOK_TIMESTAMP, &self.at.to_string()),
        ];
        self.is_taken_with(secrets, &headers, Scheme::Timestamped)
    }

    fn is_taken_with(
        &self,
        secrets: &[&str],
        headers: &impl Headers,
        scheme: Scheme,
    ) -> Result<(), Forged> {
        match receiver(secrets).verify_bytes(headers, self.body) {
            Ok(proof) => {
                assert_eq!(proof.scheme, scheme);
                Ok(())
            }
            Err(VerifyError::Forged(why)) => Err(why),
            Err(why) => panic!("{why}"),
        }
    }
}

/// The library signs only text, and every secret's signature stands by itself.
fn check_standard_library(sent: &Sent<'_>) {
    let Ok(at) = i64::try_from(sent.at) else {
        return;
    };
    let [whsec, plain] = SECRETS;
    let webhooks = [
        standardwebhooks::Webhook::new(whsec),
        standardwebhooks::Webhook::from_bytes(plain.into()),
    ];
    let signed = webhooks.map(|webhook| {
        let webhook = webhook.expect("a good secret");
        webhook.sign(sent.id, at, sent.body)
    });
    if let [Ok(newest), Ok(oldest)] = signed {
        assert_eq!(sent.signatures.standard, format!("{newest} {oldest}"));
    }
}

fn sign(secrets: &[&str], id: &str, at: u64, body: &[u8]) -> Signatures {
    let mut secrets = secrets
        .iter()
        .map(|text| Secret::parse(text).expect("a good secret"));
    let newest = secrets.next().expect("at least one secret");
    let keyring = match secrets.next() {
        Some(previous) => Keyring::rotating(newest, previous, None),
        None => Keyring::new(newest),
    };
    signing::sign(&keyring, id, at, body)
}

/// The same with one bit changed, or one byte more if there is none.
fn changed(body: &[u8], knob: u8) -> Vec<u8> {
    let mut changed = body.to_vec();
    let place = usize::from(knob) % body.len().max(1);
    match changed.get_mut(place) {
        Some(byte) => *byte ^= 1 << (knob % 8),
        None => changed.push(knob),
    }
    changed
}
