//! One receiver, one URL, however it is spelled.

use notify_core::EndpointUrl;
use notify_core::endpoint::UrlInvalid;
use url::{Host, Url};

/// The one spelling of a receiver's URL, if `text` is one.
///
/// Scheme and host in lower case, names as IDNA has them in ASCII and without a dot
/// at their end, IPv6 addresses as short as can be; no default port and no
/// fragment; dot segments resolved, at least `/` for a path; what a URL can't hold
/// percent-encoded. The canonical URL is its own canonical URL.
///
/// # Errors
/// [`UrlInvalid`] says which rule is broken. Nothing is guessed: another spelling
/// of an IPv4 address (`127.1`) is refused.
///
/// # Examples
///
/// ```
/// use notify_http::egress::canonical;
///
/// let url = canonical("HTTPS://Bücher.example.:443/a/../hook#top")?;
/// assert_eq!(url, "https://xn--bcher-kva.example/hook");
/// assert!(canonical("http://127.1/").is_err());
/// # Ok::<(), notify_core::endpoint::UrlInvalid>(())
/// ```
pub fn canonical(text: &str) -> Result<EndpointUrl, UrlInvalid> {
    let given = EndpointUrl::parse(text)?;
    EndpointUrl::parse(read(&given)?.as_str())
}

/// The URL as it is requested: canonical, and understood by both of the client's
/// parsers. One takes it apart, the other puts it on the wire.
///
/// # Errors
/// As [`canonical`], except for the length.
pub(crate) fn read(given: &EndpointUrl) -> Result<Url, UrlInvalid> {
    let mut url = Url::parse(given.as_str()).map_err(|_| UrlInvalid::Unparsable)?;
    match url.host() {
        Some(Host::Ipv4(address)) => {
            if given.host() != address.to_string() {
                return Err(UrlInvalid::NonCanonicalIpv4);
            }
        }
        Some(Host::Domain(name)) => {
            let relative = name.strip_suffix('.');
            check_name(relative.unwrap_or(name))?;
            if let Some(name) = relative.map(str::to_owned) {
                url.set_host(Some(&name))
                    .map_err(|_| UrlInvalid::Unparsable)?;
            }
        }
        // All parsers agree on what an IPv6 address is, however it is written.
        Some(Host::Ipv6(_)) => {}
        None => return Err(UrlInvalid::EmptyHost),
    }
    if is_odd_port(given) {
        return Err(UrlInvalid::NonCanonicalPort);
    }
    url.set_fragment(None);
    let _: http::Uri = url.as_str().parse().map_err(|_| UrlInvalid::Unparsable)?;
    Ok(url)
}

/// Names that a resolver could take for others are none
/// ([RFC 1123 §2.1](https://www.rfc-editor.org/rfc/rfc1123#section-2.1); the
/// underscore is widely used nonetheless).
fn check_name(name: &str) -> Result<(), UrlInvalid> {
    if name.is_empty() {
        return Err(UrlInvalid::EmptyHost);
    }
    let is_label = |label: &str| {
        matches!(label.len(), 1..=LABEL_BYTES_MAX)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label) {
        true => Ok(()),
        false => Err(UrlInvalid::BadLabel),
    }
}

/// A port that no server has, or one of those that are reserved for systems in a
/// spelling in which it could be overlooked.
fn is_odd_port(given: &EndpointUrl) -> bool {
    let port = given.authority().strip_prefix(given.host());
    let port = port.and_then(|port| port.strip_prefix(':')).unwrap_or("");
    port.starts_with('0') && port.parse().is_ok_and(|port: u16| port < SYSTEM_PORTS_END)
}

/// [RFC 1035 §2.3.4](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4); of the
/// 255 octets of a name, the length of its first label and its end are not text.
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 253;

/// [RFC 6335 §6](https://www.rfc-editor.org/rfc/rfc6335#section-6).
const SYSTEM_PORTS_END: u16 = 1_024;

#[cfg(test)]
mod tests;
