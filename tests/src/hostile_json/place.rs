//! Where a hostile value stands in a body: at the root, in a field that takes any
//! JSON, in one that takes a text or a number, as a key, in a field unknown.

use super::generate::{known, seeded};
use super::{BODY_BYTES_MAX, Hostile};

/// A kind of body, of which each place is one: `@` stands for the value.
pub type Places = &'static [&'static str];

/// An event, as a service tells it.
pub const EVENT: Places = &[
    r#"{"status":"queued","result":@}"#,
    "@",
    r#"{"status":"failed","error":@}"#,
    r#"{"status":@}"#,
    r#"{"status":"processing","progress":@}"#,
    r#"{"status":"queued","timestamp":@}"#,
    r#"{"status":"queued","unknown":@}"#,
    r#"{@:"queued"}"#,
    r#"{"$serde_json::private::RawValue":@}"#,
    r#"{"$serde_json::private::Number":@}"#,
];

/// A registration.
pub const REGISTRATION: Places = &[
    r#"{"webhook":{"url":@}}"#,
    "@",
    r#"{"job_id":@}"#,
    r#"{"webhook":@}"#,
    r#"{"webhook":{"url":"http://127.0.0.1:65535/","secret":@}}"#,
    r#"{"webhook":{"url":"http://127.0.0.1:65535/","events":@}}"#,
    r#"{"$serde_json::private::RawValue":@}"#,
];

/// A webhook, as a customer gets it.
pub const WEBHOOK: Places = &[
    r#"{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued","timestamp":7,"result":@}}"#,
    "@",
    r#"{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":1,"event":@}"#,
    r#"{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued","timestamp":7},"unknown":@}"#,
    r#"{"id":"k3f9a2m7q1xz-1","type":"job.queued","job_id":"a","sequence":@,"event":{"status":"queued","timestamp":7}}"#,
    r#"{"id":@,"type":"job.queued","job_id":"a","sequence":1,"event":{"status":"queued","timestamp":7}}"#,
    r#"{"$serde_json::private::RawValue":@}"#,
];

/// What is known to hurt, at the first of the places, where any JSON is taken.
pub fn known_bodies(places: Places) -> impl Iterator<Item = Hostile> {
    let place = places.first().copied().unwrap_or("@");
    let values = known(BODY_BYTES_MAX - 256);
    values.into_iter().map(move |(name, value)| Hostile {
        name: format!("{name} in {place}"),
        body: put(place, &value),
    })
}

/// The body of a seed.
pub fn seeded_body(places: Places, seed: u64) -> Hostile {
    let nth = usize::try_from(seed % (places.len() as u64 * 2)).unwrap_or_default();
    // Half of all go where any JSON is taken.
    let place = places.get(nth).or(places.first()).copied().unwrap_or("@");
    let value = seeded(seed, BODY_BYTES_MAX - 256);
    Hostile {
        name: format!("seed {seed}"),
        body: put(place, &value),
    }
}

fn put(place: &str, value: &str) -> Vec<u8> {
    let body = place.replacen('@', value, 1).into_bytes();
    assert!(body.len() <= BODY_BYTES_MAX, "{} bytes", body.len());
    body
}
