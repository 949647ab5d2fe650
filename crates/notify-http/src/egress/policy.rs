//! What is allowed: the rules, and the verdict on a URL and on an address.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use notify_core::EndpointUrl;
use notify_core::transport::{AddressRefused, VetError};
use url::{Host, Url};

use super::{addresses, names, spelling};

/// Where webhooks may go.
///
/// The default lets pass what a service on the Internet needs and nothing else: http
/// and https, ports 80, 443, 8080 and 8443, names that do not look internal, public
/// addresses. What is allowed here is added to that; what is denied is denied even
/// so.
///
/// # Examples
///
/// ```
/// use notify_http::egress::Policy;
///
/// let policy = Policy::default();
/// assert!(policy.vet("https://customer.example/hooks").is_ok());
/// assert!(policy.vet("http://10.0.0.7:9000/").is_err());
///
/// let at_home = policy.allow_cidrs(["10.0.0.0/24"])?.allow_ports(["9000"])?;
/// assert!(at_home.vet("http://10.0.0.7:9000/").is_ok());
/// assert!(at_home.vet("http://169.254.169.254/").is_err());
/// # Ok::<(), notify_http::egress::PolicyInvalid>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
    ports: Vec<RangeInclusive<u16>>,
    hosts: Vec<AllowedHost>,
    requires_https: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    Is(String),
    /// Every name that ends so; the text begins with a dot.
    IsBelow(String),
}

/// The ports that are open by default.
const PORTS: [u16; 4] = [80, 443, 8_080, 8_443];

const FORBIDDEN_IP: AddressRefused = AddressRefused {
    rule: "forbidden ip",
};

impl Policy {
    /// Adds address ranges (`10.0.0.0/8`, `fd00::/8`) that are allowed though they
    /// are not public. An IPv6 range that carries IPv4 addresses (`64:ff9b::/96`)
    /// allows those whose IPv4 address is allowed too.
    ///
    /// # Errors
    /// [`PolicyInvalid`] for the first that is no range, or whose address is not the
    /// range's first.
    pub fn allow_cidrs<I>(mut self, ranges: I) -> Result<Self, PolicyInvalid>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        read_each("egress.allow_cidrs", ranges, range, &mut self.allowed)?;
        Ok(self)
    }

    /// Adds ports (`9000`) and ranges of them (`1024-65535`) that are open too.
    ///
    /// # Errors
    /// [`PolicyInvalid`] for the first that is neither.
    pub fn allow_ports<I>(mut self, ports: I) -> Result<Self, PolicyInvalid>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        read_each("egress.allow_ports", ports, port_range, &mut self.ports)?;
        Ok(self)
    }

    /// Adds names that are allowed though they look internal: this one
    /// (`hooks.internal`), or all below one (`*.hooks.internal`). What they resolve
    /// to is judged as ever.
    ///
    /// # Errors
    /// [`PolicyInvalid`] for the first that is no name.
    pub fn allow_hosts<I>(mut self, hosts: I) -> Result<Self, PolicyInvalid>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        read_each("egress.allow_hosts", hosts, allowed_host, &mut self.hosts)?;
        Ok(self)
    }

    /// Adds address ranges that are denied, whatever else is allowed.
    ///
    /// # Errors
    /// As of [`Policy::allow_cidrs`].
    pub fn deny_cidrs<I>(mut self, ranges: I) -> Result<Self, PolicyInvalid>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        read_each("egress.denied_cidrs", ranges, range, &mut self.denied)?;
        Ok(self)
    }

    /// Whether plain http is refused.
    #[must_use]
    pub fn require_https(mut self, is_required: bool) -> Self {
        self.requires_https = is_required;
        self
    }

    /// The canonical URL of a text that names an allowed one, as far as it can be
    /// judged without resolving a name.
    ///
    /// # Errors
    /// [`VetError::Invalid`] if it is no receiver's URL, [`VetError::Refused`] with
    /// the rule that it breaks if it may not be gone to.
    pub fn vet(&self, text: &str) -> Result<EndpointUrl, VetError> {
        let read = spelling::read(&EndpointUrl::parse(text)?)?;
        let url = EndpointUrl::parse(read.as_str())?;
        match self.check_url(&read) {
            Ok(()) => Ok(url),
            Err(refused) => Err(VetError::Refused { url, refused }),
        }
    }

    /// Whether a connection to this address is allowed.
    ///
    /// # Errors
    /// [`AddressRefused`] if it is not.
    pub fn check_address(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let carried = match address {
            IpAddr::V6(address) => addresses::carried(address).map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let is_in = |ranges: &[IpNet], address: IpAddr| {
            let mut ranges = ranges.iter();
            ranges.any(|range| range.contains(&address))
        };
        let is_allowed = |address: IpAddr| {
            !is_in(&self.denied, address)
                && (addresses::is_public(address) || is_in(&self.allowed, address))
        };
        match is_allowed(address) && carried.is_none_or(is_allowed) {
            true => Ok(()),
            false => Err(FORBIDDEN_IP),
        }
    }

    /// The verdict on a URL that was read, but for what its name resolves to.
    pub(crate) fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        let refused = |rule| Err(AddressRefused { rule });
        if self.requires_https && url.scheme() != "https" {
            return refused("scheme must be https://");
        }
        if !url
            .port_or_known_default()
            .is_some_and(|port| self.is_open(port))
        {
            return refused("port not allowed");
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(name)) => match names::broken_rule(name) {
                Some(rule) if !self.hosts.iter().any(|host| host.matches(name)) => refused(rule),
                _ => Ok(()),
            },
            None => refused("empty host"),
        }
    }

    fn is_open(&self, port: u16) -> bool {
        PORTS.contains(&port) || self.ports.iter().any(|range| range.contains(&port))
    }
}

impl AllowedHost {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Is(host) => name == host,
            Self::IsBelow(suffix) => name.ends_with(&**suffix),
        }
    }
}

/// An entry of a [`Policy`] is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInvalid {
    /// The setting, as the program names it: `egress.allow_cidrs`.
    pub field: &'static str,
    /// The entry as it was given.
    pub entry: String,
    /// What it must be.
    pub rule: &'static str,
}

impl fmt::Display for PolicyInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, entry, rule } = self;
        write!(f, "{field}: {entry:?} is not {rule}")
    }
}

impl std::error::Error for PolicyInvalid {}

/// Reads every entry, or says what the first wrong one must be.
fn read_each<T>(
    field: &'static str,
    entries: impl IntoIterator<Item: AsRef<str>>,
    read: fn(&str) -> Result<T, &'static str>,
    into: &mut Vec<T>,
) -> Result<(), PolicyInvalid> {
    for entry in entries {
        let entry = entry.as_ref();
        into.push(read(entry).map_err(|rule| PolicyInvalid {
            field,
            entry: entry.to_owned(),
            rule,
        })?);
    }
    Ok(())
}

fn range(entry: &str) -> Result<IpNet, &'static str> {
    let read = entry.split_once('/').and_then(|(address, prefix)| {
        let prefix = number(prefix)?.try_into().ok()?;
        IpNet::new(address.parse().ok()?, prefix).ok()
    });
    let range = read.ok_or("an address range such as 10.0.0.0/8")?;
    // Whoever writes 10.1.2.3/8 may mean less than all of 10.0.0.0/8.
    match range.addr() == range.network() {
        true => Ok(range),
        false => Err("an address range, which begins with its first address, such as 10.0.0.0/8"),
    }
}

fn port_range(entry: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
    let port = |text| number(text).filter(|&port| port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err("a port or a range such as 1024-65535"),
    }
}

/// In digits and nothing else.
fn number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn allowed_host(entry: &str) -> Result<AllowedHost, &'static str> {
    let (name, is_below) = match entry.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (entry, false),
    };
    let read = EndpointUrl::parse(&format!("http://{name}/")).and_then(|url| {
        // Nothing but a host.
        let host = (url.authority() == name && url.host() == name).then(|| spelling::read(&url));
        host.unwrap_or(Err(notify_core::endpoint::UrlInvalid::Unparsable))
    });
    let read = read.map_err(|_| "a host's name such as hooks.internal")?;
    match read.host() {
        Some(Host::Domain(name)) if is_below => Ok(AllowedHost::IsBelow(format!(".{name}"))),
        Some(Host::Domain(name)) => Ok(AllowedHost::Is(name.to_owned())),
        _ => Err("a host's name such as hooks.internal; addresses go into egress.allow_cidrs"),
    }
}

#[cfg(test)]
mod tests;
