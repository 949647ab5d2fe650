//! Where the headers come from: whatever the receiver's framework has.

use std::collections::{BTreeMap, HashMap};

use notify_core::signing::{
    WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, X_WEBHOOK_SIGNATURE, X_WEBHOOK_TIMESTAMP,
};

use crate::error::VerifyError;

/// A message's headers.
///
/// Implemented for slices, arrays and vectors of pairs, for maps, and with the
/// feature `http` for `http::HeaderMap`. Values may be text or bytes. For any
/// other shape it is one loop:
///
/// ```
/// use notify_verify::{Headers, Verifier};
///
/// struct Lines(String);
///
/// impl Headers for Lines {
///     fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
///         for (name, value) in self.0.lines().filter_map(|line| line.split_once(": ")) {
///             each(name, value.as_bytes());
///         }
///     }
/// }
///
/// let headers = Lines("webhook-id: a-1\nWebhook-Id: a-2".to_owned());
/// let refused = Verifier::new(["secret"])?.verify(&headers, b"{}").unwrap_err();
/// assert_eq!(refused.code(), "header_doubled:webhook-id");
/// # Ok::<(), notify_verify::SecretsInvalid>(())
/// ```
pub trait Headers {
    /// Hands every header to `each`, by its name in any case and its value.
    ///
    /// One that is there twice must be handed over twice, so that it can be
    /// refused: a proxy in front and the receiver behind it may each take
    /// another one.
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            each(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> Headers for [(N, V); LEN] {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        self.as_slice().visit(each);
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        self.as_slice().visit(each);
    }
}

/// Two spellings of one name count as one header that is there twice.
impl<N: AsRef<str>, V: AsRef<[u8]>, S> Headers for HashMap<N, V, S> {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            each(name.as_ref(), value.as_ref());
        }
    }
}

/// As for a `HashMap`.
impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for BTreeMap<N, V> {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            each(name.as_ref(), value.as_ref());
        }
    }
}

#[cfg(feature = "http")]
impl Headers for http::HeaderMap {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        for (name, value) in self {
            each(name.as_str(), value.as_bytes());
        }
    }
}

impl<H: Headers + ?Sized> Headers for &H {
    fn visit<'h>(&'h self, each: &mut dyn FnMut(&'h str, &'h [u8])) {
        (**self).visit(each);
    }
}

/// The headers that count, in this order.
const NAMES: [&str; 5] = [
    WEBHOOK_ID,
    WEBHOOK_TIMESTAMP,
    X_WEBHOOK_TIMESTAMP,
    WEBHOOK_SIGNATURE,
    X_WEBHOOK_SIGNATURE,
];

/// The values of the headers in [`NAMES`], in one pass over all there are; `None`
/// for one that is not there. The first of them that can't be read as one text is
/// the error.
pub(crate) fn pick(
    headers: &(impl Headers + ?Sized),
) -> Result<[Option<&str>; NAMES.len()], VerifyError> {
    let mut found = [Found::Absent; NAMES.len()];
    headers.visit(&mut |name, value| {
        if let Some(found) = place(name).and_then(|place| found.get_mut(place)) {
            *found = match found {
                Found::Absent => Found::Once(value),
                _ => Found::Doubled,
            };
        }
    });
    let mut texts = [None; NAMES.len()];
    for ((name, found), text) in NAMES.into_iter().zip(found).zip(&mut texts) {
        *text = match found {
            Found::Absent => None,
            Found::Once(value) => Some(visible(value).ok_or(VerifyError::HeaderNotText(name))?),
            Found::Doubled => return Err(VerifyError::HeaderDoubled(name)),
        };
    }
    Ok(texts)
}

/// Which of [`NAMES`] it is. Nearly every name comes in lower case, and then it
/// is a comparison with constants.
fn place(name: &str) -> Option<usize> {
    match name {
        WEBHOOK_ID => Some(0),
        WEBHOOK_TIMESTAMP => Some(1),
        X_WEBHOOK_TIMESTAMP => Some(2),
        WEBHOOK_SIGNATURE => Some(3),
        X_WEBHOOK_SIGNATURE => Some(4),
        _ => NAMES
            .iter()
            .position(|wanted| wanted.eq_ignore_ascii_case(name)),
    }
}

#[derive(Clone, Copy)]
enum Found<'h> {
    Absent,
    Once(&'h [u8]),
    Doubled,
}

/// Every header that counts here is visible ASCII, whichever type it comes in.
fn visible(value: &[u8]) -> Option<&str> {
    let visible = blocks_are_visible::<16>(value)
        .or_else(|| blocks_are_visible::<8>(value))
        .or_else(|| blocks_are_visible::<1>(value))
        .unwrap_or(true);
    std::str::from_utf8(value).ok().filter(|_| visible)
}

/// `None` if there is not one block. The last one may overlap that before it: a
/// whole block is looked at in one step.
fn blocks_are_visible<const BYTES: usize>(value: &[u8]) -> Option<bool> {
    let last = value.last_chunk::<BYTES>()?;
    let (blocks, _) = value.as_chunks::<BYTES>();
    let is_visible = |block: &[u8; BYTES]| {
        block.iter().fold(true, |so_far, byte| {
            so_far & matches!(byte, b'\t' | b' '..=b'~')
        })
    };
    Some(blocks.iter().chain([last]).all(is_visible))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(headers: &impl Headers, code: &str) {
        assert_eq!(pick(headers).unwrap_err().code(), code);
    }

    #[test]
    fn every_shape_answers_alike() {
        let pairs = [
            ("WEBHOOK-ID", "a-1"),
            ("X-Webhook-Timestamp", "b"),
            ("x-webhook-timestamp", "b"),
        ];
        let code = "header_doubled:x-webhook-timestamp";
        check_refused(&pairs, code);
        check_refused(&&pairs[..], code);
        check_refused(&pairs.to_vec(), code);
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        check_refused(&owned, code);
        check_refused(&HashMap::from(owned.clone()), code);
        check_refused(&BTreeMap::from(owned), code);
        check_refused(&pairs.map(|(name, value)| (name, value.as_bytes())), code);
    }

    #[test]
    fn each_name_has_its_place_in_any_case() {
        for (name, at) in NAMES.iter().zip(0..) {
            let mut expected = [None; NAMES.len()];
            expected[at] = Some("a");
            for name in [(*name).to_owned(), name.to_uppercase()] {
                assert_eq!(pick(&[(&name, "a")]).unwrap(), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_value_is_visible_ascii() {
        for good in ["", "a b", "v1,AAAA= v1,BBBB=", "a\tb", "~"] {
            let headers = [(WEBHOOK_ID, good)];
            assert_eq!(pick(&headers).unwrap()[0], Some(good));
        }
        for bad in [&b"\xff"[..], "é".as_bytes(), b"\0", b"a\r\nb", b"\x7f"] {
            check_refused(&[(WEBHOOK_ID, bad)], "header_not_text:webhook-id");
        }
    }

    #[test]
    fn a_bad_byte_is_found_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                let mut value = vec![b'a'; length];
                value[at] = b'\n';
                assert_eq!(visible(&value), None, "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_header_that_nobody_asks_for_may_be_anything() {
        let headers = [("y", &b"\xff"[..]), ("y", b""), (WEBHOOK_ID, b"1")];
        assert!(pick(&headers).is_ok());
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_header_map_answers_like_pairs() {
        use http::{HeaderMap, HeaderValue};

        let mut headers = HeaderMap::new();
        headers.insert("Webhook-Id", HeaderValue::from_static("a-1"));
        assert_eq!(pick(&headers).unwrap()[0], Some("a-1"));
        headers.append("webhook-id", HeaderValue::from_static("a-1"));
        check_refused(&headers, "header_doubled:webhook-id");
        let bytes = HeaderValue::from_bytes("é".as_bytes()).unwrap();
        headers.insert("webhook-id", bytes);
        check_refused(&headers, "header_not_text:webhook-id");
    }
}
