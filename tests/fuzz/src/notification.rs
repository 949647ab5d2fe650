//! The webhook's body, as customers read it.

use notify_core::signing::{WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
use notify_core::{Keyring, Secret, signing};
use notify_verify::{Notification, VerifyError};

use crate::Target;
use crate::message::{self, NOW, receiver};

/// This property.
pub const TARGET: Target = Target {
    name: "notification",
    check,
    seeds: message::bodies,
};

const SECRET: &str = "operator-hmac-key";

const NO_ID: &str = "k3f9a2m7q1xz-0";

/// What reads as a notification is written and read to the same, and a receiver
/// takes it if it is signed with its own id, and with no other.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    match Notification::from_json(bytes) {
        Ok(read) => {
            let again = Notification::from_json(read.to_json().as_bytes());
            assert_eq!(again.expect("what was read can be written and read"), read);
            let other = received(NO_ID, bytes);
            assert!(matches!(other, Err(VerifyError::IdMismatch)), "{other:?}");
            let taken = received(&read.id.to_string(), bytes);
            assert_eq!(taken.expect("it is signed"), read);
        }
        Err(_) => {
            let refused = received(NO_ID, bytes).expect_err("it can't be read");
            let read = matches!(
                refused,
                VerifyError::IdMismatch | VerifyError::PayloadMalformed(_)
            );
            assert!(read, "{refused}");
        }
    }
}

/// What a receiver says to this body, signed with this id.
fn received(id: &str, body: &[u8]) -> Result<Notification, VerifyError> {
    let keyring = Keyring::new(Secret::parse(SECRET).expect("a good secret"));
    let headers = [
        (WEBHOOK_ID, id.to_owned()),
        (WEBHOOK_TIMESTAMP, NOW.to_string()),
        (
            WEBHOOK_SIGNATURE,
            signing::sign(&keyring, id, NOW, body).standard,
        ),
    ];
    receiver(&[SECRET]).verify(&headers, body)
}
