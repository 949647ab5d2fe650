//! Where the headers come from: whatever the receiver's framework has.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

#[cfg(feature = "http")]
use notify_core::signing;

/// A message's headers, looked up by name.
///
/// Implemented for slices, arrays and vectors of pairs, for maps, and with the
/// feature `http` for `http::HeaderMap`. Values may be text or bytes.
///
/// ```
/// use notify_verify::{HeaderFault, Headers};
///
/// let headers = [("Webhook-Id", "k3f9a2m7q1xz-12"), ("X-Job-Id", "a"), ("x-job-id", "a")];
/// assert_eq!(headers.find("webhook-id"), Ok(Some("k3f9a2m7q1xz-12")));
/// assert_eq!(headers.find("webhook-timestamp"), Ok(None));
/// assert_eq!(headers.find("x-job-id"), Err(HeaderFault::Doubled));
/// ```
pub trait Headers {
    /// The value of the header `name`, which is given in lower case and must be
    /// compared without regard to case; `None` if it is not there.
    ///
    /// # Errors
    /// [`HeaderFault`] if it can't be read as one text. A header that is there
    /// twice must not be answered with either value: a proxy in front and the
    /// receiver behind it may each take another one.
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault>;
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        only(self.iter().map(|(name, value)| (name, value)), name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> Headers for [(N, V); LEN] {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        self.as_slice().find(name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        self.as_slice().find(name)
    }
}

/// A map compares its keys with regard to case, so it is searched, and two
/// spellings of one name count as doubled.
impl<N: AsRef<str>, V: AsRef<[u8]>, S> Headers for HashMap<N, V, S> {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        only(self.iter(), name)
    }
}

/// As for a `HashMap`.
impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for BTreeMap<N, V> {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        only(self.iter(), name)
    }
}

#[cfg(feature = "http")]
impl Headers for http::HeaderMap {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        let known = KNOWN.iter().find(|known| known.as_str() == name);
        let values = match known {
            Some(known) => self.get_all(known),
            None => self.get_all(name),
        };
        only_value(values.iter().map(http::HeaderValue::as_bytes))
    }
}

/// What a verifier asks for, so that a name is not parsed for each message.
#[cfg(feature = "http")]
static KNOWN: [http::HeaderName; 5] = [
    http::HeaderName::from_static(signing::WEBHOOK_ID),
    http::HeaderName::from_static(signing::WEBHOOK_TIMESTAMP),
    http::HeaderName::from_static(signing::WEBHOOK_SIGNATURE),
    http::HeaderName::from_static(signing::X_WEBHOOK_SIGNATURE),
    http::HeaderName::from_static(signing::X_WEBHOOK_TIMESTAMP),
];

impl<H: Headers + ?Sized> Headers for &H {
    fn find(&self, name: &str) -> Result<Option<&str>, HeaderFault> {
        (**self).find(name)
    }
}

fn only<'a, N, V>(
    pairs: impl Iterator<Item = (&'a N, &'a V)>,
    wanted: &str,
) -> Result<Option<&'a str>, HeaderFault>
where
    N: AsRef<str> + 'a,
    V: AsRef<[u8]> + 'a,
{
    let named = pairs.filter(|(name, _)| name.as_ref().eq_ignore_ascii_case(wanted));
    only_value(named.map(|(_, value)| value.as_ref()))
}

fn only_value<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a str>, HeaderFault> {
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value).map(Some),
        (Some(_), Some(_)) => Err(HeaderFault::Doubled),
    }
}

/// Every header that counts here is visible ASCII, whichever type it comes in.
fn text(value: &[u8]) -> Result<&str, HeaderFault> {
    // To the end in any case, so that many bytes are looked at in one step.
    let visible = value.iter().fold(true, |so_far, byte| {
        so_far & matches!(byte, b'\t' | b' '..=b'~')
    });
    std::str::from_utf8(value)
        .ok()
        .filter(|_| visible)
        .ok_or(HeaderFault::NotText)
}

/// Why a header can't be read as one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// It is there more than once.
    Doubled,
    /// Its value is not visible ASCII.
    NotText,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Doubled => "the header is there more than once",
            Self::NotText => "the header's value is not visible ASCII",
        })
    }
}

impl std::error::Error for HeaderFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_finds(headers: &impl Headers) {
        assert_eq!(headers.find("webhook-id"), Ok(Some("a-1")));
        assert_eq!(headers.find("webhook-timestamp"), Ok(None));
        assert_eq!(headers.find("x-job-id"), Err(HeaderFault::Doubled));
    }

    #[test]
    fn every_shape_answers_alike() {
        let pairs = [("WEBHOOK-ID", "a-1"), ("X-Job-Id", "b"), ("x-job-id", "b")];
        check_finds(&pairs);
        check_finds(&&pairs[..]);
        check_finds(&pairs.to_vec());
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        check_finds(&owned);
        check_finds(&HashMap::from(owned.clone()));
        check_finds(&BTreeMap::from(owned));
        check_finds(&pairs.map(|(name, value)| (name, value.as_bytes())));
    }

    #[test]
    fn a_value_is_visible_ascii() {
        for good in ["", "a b", "v1,AAAA= v1,BBBB=", "a\tb", "~"] {
            assert_eq!([("x", good)].find("x"), Ok(Some(good)));
        }
        for bad in [&b"\xff"[..], "é".as_bytes(), b"\0", b"a\r\nb", b"\x7f"] {
            assert_eq!([("x", bad)].find("x"), Err(HeaderFault::NotText), "{bad:?}");
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_header_map_answers_like_pairs() {
        use http::{HeaderMap, HeaderName, HeaderValue};

        let mut headers = HeaderMap::new();
        let job_id = HeaderName::from_static("x-job-id");
        headers.insert("Webhook-Id", HeaderValue::from_static("a-1"));
        headers.append(&job_id, HeaderValue::from_static("b"));
        headers.append(&job_id, HeaderValue::from_static("b"));
        check_finds(&headers);
        let bytes = HeaderValue::from_bytes("é".as_bytes()).unwrap();
        headers.insert(&job_id, bytes);
        assert_eq!(headers.find("x-job-id"), Err(HeaderFault::NotText));
    }
}
