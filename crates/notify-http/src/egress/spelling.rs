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
            if let Some(name) = without_root(name)? {
                let name = name.to_owned();
                url.set_host(Some(&name))
                    .map_err(|_| UrlInvalid::Unparsable)?;
            }
        }
        // All parsers agree on what an IPv6 address is, however it is written.
        Some(Host::Ipv6(_)) => {}
        None => return Err(UrlInvalid::EmptyHost),
    }
    url.set_fragment(None);
    let _: http::Uri = url.as_str().parse().map_err(|_| UrlInvalid::Unparsable)?;
    Ok(url)
}

/// The name without the dot at its end, which stands for the root of all names; or
/// `None` if it has none.
fn without_root(name: &str) -> Result<Option<&str>, UrlInvalid> {
    let relative = name.strip_suffix('.');
    let labels = relative.unwrap_or(name);
    if labels.is_empty() {
        return Err(UrlInvalid::EmptyHost);
    }
    if labels.split('.').any(str::is_empty) {
        return Err(UrlInvalid::Unparsable);
    }
    Ok(relative)
}

#[cfg(test)]
mod tests;
