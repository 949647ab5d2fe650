//! Receivers' URLs, as anybody may name them.

use notify_core::EndpointUrl;
use notify_http::egress::canonical;
use url::{Host, Url};

use crate::Target;

/// This property.
pub const TARGET: Target = Target {
    name: "url",
    check,
    seeds,
};

/// What passes the raw gate is plain text, unchanged. What is accepted altogether
/// is in one spelling: the one of the WHATWG URL standard but for fragment and last
/// dot, which its parser finds in the text as it was given. It holds nobody's name
/// or password, and no address that the text did not name. Other spellings by the
/// rules of the standard give the same URL.
///
/// # Panics
/// If that does not hold.
pub fn check(bytes: &[u8]) {
    let text = &*crate::text(bytes);
    let Ok(given) = EndpointUrl::parse(text) else {
        assert!(canonical(text).is_err(), "only what passes the gate");
        return;
    };
    check_raw(text, &given);
    if let Ok(url) = canonical(text) {
        check_canonical(text, &given, &url);
        check_respelled(&url);
    }
}

fn check_raw(text: &str, given: &EndpointUrl) {
    assert_eq!(given, text);
    assert!(text.len() <= EndpointUrl::BYTES_MAX);
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    assert!(!text.contains(odd));
    assert!(!given.authority().contains(['@', '%', '/', '?', '#']));
    let printed = format!("{given} {given:?}");
    assert!(!printed.contains(['?', '#']), "{printed}");
}

fn check_canonical(text: &str, given: &EndpointUrl, url: &EndpointUrl) {
    assert_eq!(canonical(url.as_str()).as_ref(), Ok(url));
    check_raw(url.as_str(), url);
    assert!(url.as_str().is_ascii(), "{url:?}");
    let scheme = if url.is_https() { "https" } else { "http" };
    assert_eq!(given.is_https(), url.is_https());
    let origin = format!("{scheme}://{}/", url.authority());
    assert!(url.as_str().starts_with(&origin), "{url:?}");

    let read = Url::parse(text).expect("what is accepted can be read");
    assert_eq!((read.username(), read.password()), ("", None));
    let host = read.host().expect("http has a host");
    let name = match &host {
        Host::Ipv4(address) => {
            assert_eq!(given.host(), address.to_string());
            address.to_string()
        }
        Host::Ipv6(_) => host.to_string(),
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
    };
    let port = read.port().map(|port| format!(":{port}"));
    let path_and_query = match read.query() {
        Some(query) => format!("{}?{query}", read.path()),
        None => read.path().to_owned(),
    };
    let port = port.unwrap_or_default();
    let expected = format!("{scheme}://{name}{port}{path_and_query}");
    assert_eq!(url, &*expected);
}

fn check_respelled(url: &EndpointUrl) {
    let (scheme, rest) = url.as_str().split_once("://").expect("it was accepted");
    let (authority, path) = rest.split_at(url.authority().len());
    let (scheme, authority) = (scheme.to_uppercase(), authority.to_uppercase());
    for other in [
        format!("{scheme}://{authority}{path}#?"),
        format!("{scheme}://{authority}/.{path}"),
        format!("{scheme}://{authority}/x/%2E%2e{path}"),
    ] {
        if other.len() <= EndpointUrl::BYTES_MAX {
            assert_eq!(canonical(&other).as_ref(), Ok(url), "{other}");
        }
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
        "http://127.0.0.1.:80/",
        "http://\u{2460}\u{2461}\u{2466}.\u{24ea}.0.1/",
        "http://127\u{3002}0.0.1/",
        "http://a.example./x/../%2e/y",
        "http://xn--bcher-kva.example/{}|^`?'",
        "http://été.example/%2e%2e/",
    ])
}
