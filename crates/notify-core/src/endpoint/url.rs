//! The raw gate for receiver URLs.
//!
//! General URL parsers mend what they read: they drop tabs and line feeds,
//! decode `%` in hosts and accept `http:127.0.0.1`. Whoever wants to reach an
//! address that is not theirs lives on such differences, so the text is judged
//! before any parser sees it. What it *means*, and how it is spelled in the one
//! way that identifies a receiver, is for the transport to say, which has a
//! parser: see [`Transport::vet`](crate::Transport::vet).

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A receiver's URL; its text is the receiver's identity, so two that differ in
/// one byte are two receivers.
///
/// [`EndpointUrl::parse`] judges a text and leaves it as it is. Whoever takes
/// URLs from outside has them canonicalised by
/// [`Transport::vet`](crate::Transport::vet), so that a receiver is one however it
/// is spelled. `Debug` and `Display` leave out query and fragment, which may hold
/// a token; [`EndpointUrl::as_str`] is the whole text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointUrl(Arc<str>);

impl EndpointUrl {
    /// The longest URL, in bytes.
    pub const BYTES_MAX: usize = 2_048;

    /// Judges `text` by what needs no URL parser, and keeps it unchanged.
    ///
    /// # Errors
    /// [`UrlInvalid`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, UrlInvalid> {
        if text.len() > Self::BYTES_MAX {
            return Err(UrlInvalid::TooLong);
        }
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(UrlInvalid::ControlSpaceBackslash);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlInvalid::Scheme)?;
        if !["http", "https"]
            .iter()
            .any(|it| scheme.eq_ignore_ascii_case(it))
        {
            return Err(UrlInvalid::Scheme);
        }
        let authority = authority_of(rest);
        if authority.contains('@') {
            return Err(UrlInvalid::Userinfo);
        }
        if authority.contains('%') {
            return Err(UrlInvalid::PercentInAuthority);
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(UrlInvalid::EmptyHost);
        }
        Ok(Self(text.into()))
    }

    /// The whole URL, its query included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        let scheme = self.0.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("https")
    }

    /// Host and port, as the URL spells them: what attempts in flight are
    /// counted by.
    pub fn authority(&self) -> &str {
        self.0
            .split_once("://")
            .map_or("", |(_, rest)| authority_of(rest))
    }

    /// The host, as the URL spells it; brackets of an IPv6 literal included.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    fn without_query(&self) -> &str {
        self.0.split(['?', '#']).next().unwrap_or_default()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.without_query())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.without_query(), f)
    }
}

impl PartialEq<str> for EndpointUrl {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for EndpointUrl {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Of what follows `://`, all before path, query and fragment.
fn authority_of(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The text can't be a receiver's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlInvalid {
    /// More than [`EndpointUrl::BYTES_MAX`] bytes.
    TooLong,
    /// A control character, a space or a backslash.
    ControlSpaceBackslash,
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// There is no host.
    EmptyHost,
    /// An `@` before the path.
    Userinfo,
    /// A `%` before the path.
    PercentInAuthority,
    /// An IPv4 address in another spelling than four decimal numbers: `127.1`,
    /// `0x7f000001`, `127.0.0.1.`, full-width digits. Parsers differ in what they
    /// take it for, so it is refused rather than resolved.
    NonCanonicalIpv4,
    /// Port 0, or a port below 1024 written with a zero in front (`:080`).
    NonCanonicalPort,
    /// A label of the host's name is empty, longer than 63 bytes, begins or ends with
    /// a hyphen, or holds anything but letters, digits, hyphens and underscores; or
    /// the whole name is longer than 253 bytes.
    BadLabel,
    /// A URL parser can't read it.
    Unparsable,
}

impl UrlInvalid {
    /// The rule that is broken, in words that never change.
    pub fn rule(self) -> &'static str {
        match self {
            Self::TooLong => "too long",
            Self::ControlSpaceBackslash => "control/space/backslash",
            Self::Scheme => "scheme must be http(s)://",
            Self::EmptyHost => "empty host",
            Self::Userinfo => "userinfo",
            Self::PercentInAuthority => "percent in authority",
            Self::NonCanonicalIpv4 => "non-canonical ipv4",
            Self::NonCanonicalPort => "non-canonical port",
            Self::BadLabel => "bad label",
            Self::Unparsable => "unparsable",
        }
    }
}

impl fmt::Display for UrlInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "at most 2048 bytes",
            Self::ControlSpaceBackslash => "no control character, space or backslash",
            Self::Scheme => "must begin with http:// or https://",
            Self::EmptyHost => "must have a host",
            Self::Userinfo => "no user name or password (no @ before the path)",
            Self::PercentInAuthority => "no % before the path",
            Self::NonCanonicalIpv4 => "an IPv4 address must be written as 192.0.2.1 is",
            Self::NonCanonicalPort => "a port must be written without a zero in front",
            Self::BadLabel => {
                "a host's name must be labels of letters, digits, hyphens and underscores"
            }
            Self::Unparsable => "it can't be read",
        })
    }
}

impl std::error::Error for UrlInvalid {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_refused(text: &str, why: UrlInvalid) {
        assert_eq!(EndpointUrl::parse(text), Err(why), "{text}");
    }

    #[test]
    fn the_raw_gate_names_its_rule() {
        check_refused("ftp://example.com/", UrlInvalid::Scheme);
        check_refused("http:127.0.0.1/", UrlInvalid::Scheme);
        check_refused("//example.com/x", UrlInvalid::Scheme);
        check_refused("javascript:alert(1)", UrlInvalid::Scheme);
        check_refused("http+unix://%2Fvar%2Frun/x", UrlInvalid::Scheme);
        check_refused("http://", UrlInvalid::EmptyHost);
        check_refused("http:///127.0.0.1/", UrlInvalid::EmptyHost);
        check_refused("http://:80/", UrlInvalid::EmptyHost);
        check_refused("http://user:pass@example.com/", UrlInvalid::Userinfo);
        check_refused("http://%6c%6f/", UrlInvalid::PercentInAuthority);
        check_refused("http://[fe80::1%eth0]/", UrlInvalid::PercentInAuthority);
        check_refused("http://127.0\n.0.1/", UrlInvalid::ControlSpaceBackslash);
        check_refused("http://example.com/ foo", UrlInvalid::ControlSpaceBackslash);
        check_refused(
            "http://example.com\\@127.0.0.1/",
            UrlInvalid::ControlSpaceBackslash,
        );
        check_refused(
            &format!("http://example.com/{}", "x".repeat(2048)),
            UrlInvalid::TooLong,
        );
    }

    #[test]
    fn what_passes_is_left_as_it_is() {
        for text in [
            "HTTPS://EXAMPLE.com:443",
            "http://example.com/a/../b#c",
            "http://127.0.0.1#@example.com/",
            "http://127.1/",
            "http://[::1",
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap(), text);
        }
    }

    #[test]
    fn host_and_port_are_told_apart() {
        let host = |text| EndpointUrl::parse(text).unwrap().host().to_owned();
        assert_eq!(host("http://a.example:8080/x"), "a.example");
        assert_eq!(host("http://[::1]:8080/x"), "[::1]");
        assert_eq!(host("http://[2606:4700::1111]/"), "[2606:4700::1111]");
        assert_eq!(host("http://a.example#@b.example/"), "a.example");
        let is_https = |text| EndpointUrl::parse(text).unwrap().is_https();
        assert!(is_https("HTTPS://a.example/") && !is_https("Http://a.example/"));
    }

    #[test]
    fn printing_leaves_out_query_and_fragment() {
        for rest in ["?token=canary", "#canary", "#canary?b", "?a#canary"] {
            let url = EndpointUrl::parse(&format!("https://a.example/x{rest}")).unwrap();
            assert_eq!(
                format!("{url} {url:?}"),
                "https://a.example/x \"https://a.example/x\""
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_and_kept(text in "((http|HTTPS)://)?\\PC{0,20}") {
            if let Ok(url) = EndpointUrl::parse(&text) {
                prop_assert_eq!(url, &*text);
            }
        }
    }
}
