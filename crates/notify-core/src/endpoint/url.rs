//! The raw gate for receiver URLs.
//!
//! General URL parsers mend what they read: they drop tabs and line feeds,
//! decode `%` in hosts and accept `http:127.0.0.1`. Whoever wants to reach an
//! address that is not theirs lives on such differences, so the text is judged
//! before any parser sees it. What a host *means* (a literal, a name, an
//! address, a port) is judged by the transport, which has a parser.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A receiver's URL in its canonical spelling, which is the receiver's identity.
///
/// Canonical: scheme and host in lower case, an IPv6 literal as RFC 5952 writes
/// it, a port without leading zeros and only if it is not the default, no
/// fragment, and at least `/` for a path. `Debug` and `Display` leave out the
/// query, which may hold a token; [`EndpointUrl::as_str`] is the whole text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointUrl(Arc<str>);

impl EndpointUrl {
    /// The longest URL, in bytes.
    pub const BYTES_MAX: usize = 2_048;

    /// Judges `text` and brings it into its canonical spelling.
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
        let (scheme, default_port, rest) = split_scheme(text).ok_or(UrlInvalid::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(UrlInvalid::Userinfo);
        }
        if authority.contains('%') {
            return Err(UrlInvalid::PercentInAuthority);
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(UrlInvalid::EmptyHost);
        }
        let authority = authority.to_lowercase();
        let (host, port) = split_authority(&authority).ok_or(UrlInvalid::Unparsable)?;
        let port = match port.filter(|&port| port != default_port) {
            Some(port) => format!(":{port}"),
            None => String::new(),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let canonical = format!("{scheme}://{host}{port}{slash}{rest}");
        if canonical.len() > Self::BYTES_MAX {
            return Err(UrlInvalid::TooLong);
        }
        Ok(Self(canonical.into()))
    }

    /// The whole URL, its query included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Host and port, as the URL spells them: what attempts in flight are
    /// counted by.
    pub fn authority(&self) -> &str {
        let after_scheme = self.0.split_once("://").map_or("", |(_, rest)| rest);
        after_scheme.split(['/', '?']).next().unwrap_or_default()
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
        self.0.split('?').next().unwrap_or_default()
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

/// The canonical scheme, its default port, and what follows `://`.
fn split_scheme(text: &str) -> Option<(&'static str, u16, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("https") {
        Some(("https", 443, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(("http", 80, rest))
    } else {
        None
    }
}

/// Host and port of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`, as far as
/// syntax goes.
fn split_authority(authority: &str) -> Option<(Cow<'_, str>, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']')?;
            let literal: Ipv6Addr = literal.parse().ok()?;
            (Cow::Owned(format!("[{literal}]")), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at_checked(end)?;
            if host.contains(HOST_NEVER_CONTAINS) {
                return None;
            }
            (Cow::Borrowed(host), port)
        }
    };
    match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        None if port.is_empty() => Some((host, None)),
        _ => None,
    }
}

/// Forbidden in hosts by the WHATWG URL standard, beyond what was refused before.
const HOST_NEVER_CONTAINS: [char; 7] = ['<', '>', '[', ']', '^', '|', '"'];

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
    /// The host or the port can't be read.
    Unparsable,
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
            Self::Unparsable => "host or port can't be read",
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
        for text in [
            "http://[::1",
            "http://[::1]x/",
            "http://example.com:-1/",
            "http://a:99999/",
            "http://a:80:80/",
            "http://a<b/",
        ] {
            check_refused(text, UrlInvalid::Unparsable);
        }
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
    fn one_receiver_has_one_spelling() {
        for (text, canonical) in [
            ("https://EXAMPLE.com/Hook", "https://example.com/Hook"),
            ("HTTPS://example.com:443", "https://example.com/"),
            ("http://example.com:80/a?b=C#d", "http://example.com/a?b=C"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("https://example.com?q", "https://example.com/?q"),
            (
                "http://[2606:4700::1111]:8443/x",
                "http://[2606:4700::1111]:8443/x",
            ),
            ("http://127.0.0.1#@example.com/", "http://127.0.0.1/"),
            ("http://example.com:080/", "http://example.com/"),
            ("http://example.com:08080/", "http://example.com:8080/"),
            (
                "http://[2606:4700:0:0::0:1111]/x",
                "http://[2606:4700::1111]/x",
            ),
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap(), canonical);
        }
    }

    #[test]
    fn host_and_port_are_told_apart() {
        let host = |text| EndpointUrl::parse(text).unwrap().host().to_owned();
        assert_eq!(host("http://a.example:8080/x"), "a.example");
        assert_eq!(host("http://[::1]:8080/x"), "[::1]");
        assert_eq!(host("http://[2606:4700::1111]/"), "[2606:4700::1111]");
    }

    #[test]
    fn printing_leaves_out_the_query() {
        let url = EndpointUrl::parse("https://a.example/x?token=canary").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://a.example/x \"https://a.example/x\""
        );
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(text in "(http|https|HTTP)://([a-zA-Z0-9.:é-]{0,12}|\\[[0-9a-f:]{2,9}\\](:[0-9]{1,4})?)(/[a-z%?#@é]{0,9})?") {
            if let Ok(url) = EndpointUrl::parse(&text) {
                prop_assert_eq!(EndpointUrl::parse(url.as_str()), Ok(url));
            }
        }

        #[test]
        fn any_text_is_judged(text: String) {
            let _ = EndpointUrl::parse(&text);
        }
    }
}
