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
    let read = Notification::from_json(bytes);
    // Through serde, what nobody looks at need not even be UTF-8.
    if let (Ok(_), Ok(through_serde)) = (str::from_utf8(bytes), serde_json::from_slice(bytes)) {
        assert_eq!(read.as_ref().ok(), Some(&through_serde));
    }
    match read {
        Ok(read) => {
            let written = serde_json::to_vec(&read).expect("what was read can be written");
            let again = Notification::from_json(&written).expect("and read");
            assert_eq!(again, read);
            assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
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
