//! A received message, drawn from bytes, and the receiver that judges it.

use http::{HeaderMap, HeaderName, HeaderValue};
use notify_core::Timestamp;
use notify_verify::Verifier;
use serde::Deserialize;

/// The receiver's clock, which is that of the known answers, in Unix seconds.
pub const NOW: u64 = 1_712_534_401;

/// Two of the secrets that the known answers are signed with.
pub const SECRETS: [&str; 2] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "operator-hmac-key",
];

/// A receiver that holds some of [`SECRETS`] and whose clock stands at [`NOW`].
///
/// # Panics
/// If there is no secret.
#[must_use]
pub fn receiver(secrets: &[&str]) -> Verifier {
    let verifier = Verifier::new(secrets).expect("good secrets");
    verifier.clock(|| Timestamp::from_secs(NOW))
}

/// Headers, a body, and a number for whoever has something to vary.
///
/// Any bytes are one: first the number, then lines of `name:value`, an empty
/// line, the body. So a seed can be read, and a mutation of it still be a
/// message.
#[derive(Debug)]
pub struct Message<'a> {
    /// The number.
    pub knob: u8,
    /// The headers in their order, doubled ones included.
    pub headers: Vec<(String, &'a [u8])>,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The message that these bytes are.
    #[must_use]
    pub fn draw(bytes: &'a [u8]) -> Self {
        let (&knob, mut rest) = bytes.split_first().unwrap_or((&b'0', bytes));
        let mut headers = Vec::new();
        loop {
            let (line, after) = cut(rest, b'\n');
            rest = after;
            if line.is_empty() {
                break;
            }
            let (name, value) = cut(line, b':');
            headers.push((crate::text(name).into_owned(), value));
        }
        Self {
            knob,
            headers,
            body: rest,
        }
    }

    /// The value of the first header `name`, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The headers as a server hands them over; without those that no server
    /// would, such as one whose name holds a space.
    #[must_use]
    pub fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                // A map that is full is as good as any.
                let _ = map.try_append(name, value);
            }
        }
        map
    }
}

/// The known answers as bytes to draw from, but for those with a huge body.
///
/// # Panics
/// If the known answers can't be read.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let written = known_answers().into_iter().zip((0..=u8::MAX).cycle());
    let written = written.map(|(Known { headers, body }, knob)| {
        let mut bytes = vec![knob];
        for (name, value) in headers {
            bytes.extend(format!("{name}:{value}\n").bytes());
        }
        bytes.push(b'\n');
        bytes.extend(body.unwrap_or_default().bytes());
        bytes
    });
    written.collect()
}

/// The bodies of the known answers, each once.
///
/// # Panics
/// If the known answers can't be read.
#[must_use]
pub fn bodies() -> Vec<Vec<u8>> {
    let bodies = known_answers().into_iter().filter_map(|known| known.body);
    let mut bodies: Vec<_> = bodies.map(String::into_bytes).collect();
    bodies.sort();
    bodies.dedup();
    bodies
}

/// What counts here of an entry of `vectors/verify.json`.
#[derive(Deserialize)]
struct Known {
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn known_answers() -> Vec<Known> {
    serde_json::from_str(include_str!("../../../vectors/verify.json")).expect("known answers")
}

/// What is before and after the first `at`, which belongs to neither.
fn cut(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut halves = bytes.splitn(2, |&byte| byte == at);
    let mut half = || halves.next().unwrap_or_default();
    (half(), half())
}
