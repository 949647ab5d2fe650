//! What a URL comes to on the wire.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use notify_core::EndpointUrl;
use notify_core::endpoint::UrlInvalid;
use notify_core::transport::AddressRefused;
use rustls::pki_types::ServerName;
use url::{Position, Url};

use crate::connection::Outgoing;
use crate::egress::{self, Policy};

/// A URL as it is requested.
#[derive(Debug)]
pub(crate) struct Target {
    /// Who shares a connection: scheme, host and port.
    pub(crate) origin: Arc<str>,
    /// The whole of it.
    pub(crate) uri: http::Uri,
    /// What HTTP/1.1 asks a server for.
    path: http::Uri,
    host: HeaderValue,
    /// Who has to prove to be there; `None` without TLS.
    pub(crate) server_name: Option<ServerName<'static>>,
}

/// What can't be requested is refused like an address: no attempt of its receiver.
fn refused(invalid: UrlInvalid) -> AddressRefused {
    AddressRefused {
        rule: invalid.rule(),
    }
}

impl Target {
    /// Judges the URL again, since a store may hold what was accepted under other
    /// rules, and reads it.
    ///
    /// # Errors
    /// [`AddressRefused`] if it can't or may not be requested.
    pub(crate) fn parse(url: &EndpointUrl, policy: &Policy) -> Result<Self, AddressRefused> {
        let read = egress::read(url).map_err(refused)?;
        policy.check_url(&read)?;
        Self::of(&read).ok_or_else(|| refused(UrlInvalid::Unparsable))
    }

    fn of(url: &Url) -> Option<Self> {
        let uri: http::Uri = url.as_str().parse().ok()?;
        let host = uri.host()?;
        let server_name = match url.scheme() {
            "https" => Some(host.trim_start_matches('[').trim_end_matches(']')),
            _ => None,
        };
        let server_name = server_name.map(|name| ServerName::try_from(name.to_owned()));
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Some(Self {
            origin: url[..Position::BeforePath].into(),
            path: path.parse().ok()?,
            host: url[Position::BeforeHost..Position::BeforePath]
                .parse()
                .ok()?,
            server_name: server_name.transpose().ok()?,
            uri,
        })
    }

    /// Whom to look up: a name, or a literal address without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Addresses a request as the connection's version of HTTP has it.
    pub(crate) fn address(&self, request: &mut Outgoing, is_http2: bool) {
        if is_http2 {
            *request.uri_mut() = self.uri.clone();
            request.headers_mut().remove(HOST);
        } else {
            *request.uri_mut() = self.path.clone();
            request.headers_mut().insert(HOST, self.host.clone());
        }
    }
}

/// The targets of late, so that a URL is not read and judged again for each attempt:
/// the policy of a transport does not change.
pub(crate) struct Targets {
    policy: Arc<Policy>,
    known: Mutex<HashMap<EndpointUrl, Arc<Target>>>,
}

/// The most targets that are known. When there are more, all are forgotten: what is
/// in use is soon known again.
const KNOWN_MAX: usize = 1_024;

impl Targets {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            known: Mutex::default(),
        }
    }

    /// # Errors
    /// As of [`Target::parse`].
    pub(crate) fn of(&self, url: &EndpointUrl) -> Result<Arc<Target>, AddressRefused> {
        // The map is whole after each call, so a lock that another thread poisoned
        // by panicking is still good.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(url) {
            return Ok(Arc::clone(target));
        }
        let target = Arc::new(Target::parse(url, &self.policy)?);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(url.clone(), Arc::clone(&target));
        Ok(target)
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn target(url: &str) -> Target {
        let policy = Policy::default().allow_cidrs(["127.0.0.0/8", "::1/128"]);
        Target::parse(&EndpointUrl::parse(url).unwrap(), &policy.unwrap()).unwrap()
    }

    #[track_caller]
    fn check_addressed(url: &str, host: &str, path: &str) {
        let target = target(url);
        let mut request = Request::new(Bytes::new().into());
        target.address(&mut request, false);
        assert_eq!(request.uri(), path, "{url}");
        assert_eq!(request.headers()[HOST], host, "{url}");
        target.address(&mut request, true);
        assert_eq!(request.uri().path_and_query().unwrap(), path, "{url}");
        assert_eq!(request.uri().authority().unwrap(), host, "{url}");
        assert!(request.headers().is_empty(), "{url}");
    }

    #[test]
    fn a_request_is_addressed_as_its_version_has_it() {
        check_addressed("http://a.example", "a.example", "/");
        check_addressed("https://a.example/?x=y", "a.example", "/?x=y");
        check_addressed("http://127.0.0.1:8080/é", "127.0.0.1:8080", "/%C3%A9");
        check_addressed("https://[::1]:8443/x", "[::1]:8443", "/x");
    }

    #[test]
    fn one_server_has_one_origin() {
        assert_eq!(&*target("http://a.example./a").origin, "http://a.example");
        assert_eq!(&*target("http://127.0.0.1/b?c").origin, "http://127.0.0.1");
        let https = target("https://127.0.0.1/a");
        assert_eq!(&*https.origin, "https://127.0.0.1");
        assert_eq!(https.server_name.unwrap().to_str(), "127.0.0.1");
        let literal = target("https://[2606:4700::1111]/").server_name.unwrap();
        assert_eq!(literal.to_str(), "2606:4700::1111");
    }

    #[test]
    fn few_targets_are_remembered_whatever_is_asked_for() {
        let targets = Targets::new(Arc::default());
        for number in 0..3 * KNOWN_MAX {
            let url = EndpointUrl::parse(&format!("http://a.example/{number}")).unwrap();
            targets.of(&url).unwrap();
            assert!(targets.known.lock().unwrap().len() <= KNOWN_MAX);
        }
    }
}
