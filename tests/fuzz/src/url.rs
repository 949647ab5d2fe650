//! Receivers' URLs, as anybody may name them.

use notify_core::EndpointUrl;
use url::{Host, Url};

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "url",
    check,
    seeds,
};

/// What is accepted is plain text in one spelling, and a general URL parser
/// finds in it what this one found: the same scheme, host and port, and nobody's
/// name or password.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let text = &*crate::text(bytes);
    let Ok(url) = EndpointUrl::parse(text) else {
        return;
    };
    let canonical = url.as_str();
    assert_eq!(EndpointUrl::parse(canonical).as_ref(), Ok(&url));
    assert!(canonical.len() <= EndpointUrl::BYTES_MAX);
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || c == '#';
    assert!(!canonical.contains(odd));
    assert!(!url.authority().contains(['@', '%', '/', '?']));
    assert!(!url.to_string().contains('?') && !format!("{url:?}").contains('?'));
    let scheme = if url.is_https() { "https" } else { "http" };
    assert!(canonical.starts_with(&format!("{scheme}://{}/", url.authority())));
    if let Ok(parsed) = Url::parse(canonical) {
        check_parsed(&url, scheme, &parsed);
    }
}

fn check_parsed(url: &EndpointUrl, scheme: &str, parsed: &Url) {
    assert_eq!(parsed.scheme(), scheme);
    assert_eq!((parsed.username(), parsed.password()), ("", None));
    assert_eq!(parsed.fragment(), None);
    let port = match parsed.port() {
        Some(port) => format!(":{port}"),
        None => String::new(),
    };
    assert_eq!(url.authority(), format!("{}{port}", url.host()));
    match parsed.host().expect("http has a host") {
        Host::Ipv6(address) => assert_eq!(url.host(), format!("[{address}]")),
        // What other spellings of an address mean is the transport's to judge.
        Host::Ipv4(_) => {}
        Host::Domain(name) if url.host().is_ascii() => assert_eq!(name, url.host()),
        Host::Domain(_) => {}
    }
}

fn seeds() -> Vec<Vec<u8>> {
    crate::seeds([
        "https://EXAMPLE.com/Hook",
        "HTTPS://example.com:443",
        "http://example.com:80/a?b=C#d",
        "https://example.com?q",
        "http://[2606:4700::1111]:8443/x",
        "http://127.0.0.1#@example.com/",
        "http://a:99999/",
        "http://user:pass@example.com/",
        "http://[fe80::1%eth0]/",
        "http://0x7f.1/",
        "http://été.example/%2e%2e/",
    ])
}
