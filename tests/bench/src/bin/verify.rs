//! What it costs a receiver to verify a webhook, against the one thing that
//! can't be left out: the HMAC of the bytes that are signed.

#![expect(
    clippy::print_stdout,
    reason = "a program for people in a terminal reports there"
)]

use std::error::Error;

use hmac::{Hmac, KeyInit, Mac};
use notify_bench::message::{Message, SECRET};
use notify_bench::race::Race;
use notify_verify::Verifier;
use sha2::Sha256;

fn main() -> Result<(), Box<dyn Error>> {
    let verifier = Verifier::new([SECRET])?;
    let svix = svix::webhooks::Webhook::new(SECRET)?;
    let standardwebhooks = standardwebhooks::Webhook::new(SECRET)?;
    let key = b"1234567890123456789012345678901234567890";
    let keyed = Hmac::<Sha256>::new_from_slice(key)?;

    for bytes in [1024, 64 * 1024] {
        let Message {
            headers,
            body,
            signed,
        } = Message::with_body_of(bytes);
        verifier.verify(&headers, &body)?;
        svix.verify(&body, &headers)?;
        standardwebhooks.verify(&body, &headers)?;

        let standings = Race::against("HMAC-SHA256 of the signed bytes", || {
            Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(&signed).finalize())
        })
        .with("the same, with its key prepared", || {
            keyed.clone().chain_update(&signed).finalize()
        })
        .with("notify-verify: verify_bytes", || {
            verifier.verify_bytes(&headers, &body).is_ok()
        })
        .with("notify-verify: verify, which reads the body too", || {
            verifier.verify(&headers, &body)
        })
        .with("standardwebhooks: verify", || {
            standardwebhooks.verify(&body, &headers)
        })
        .with("svix: verify", || svix.verify(&body, &headers))
        .run();
        println!("a body of {bytes} bytes:\n{standings}");
    }
    Ok(())
}
