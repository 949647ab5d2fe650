//! What can be set about the transport, and what is wrong with it.

use std::fmt;
use std::time::Duration;

use crate::egress::Policy;

/// The settings of an [`HttpTransport`](crate::HttpTransport).
///
/// # Examples
///
/// ```
/// use notify_http::{HttpConfig, HttpTransport};
///
/// let mut config = HttpConfig::default();
/// config.user_agent = "acme-render/3".to_owned();
/// let transport = HttpTransport::new(config)?;
/// # Ok::<(), notify_http::HttpConfigInvalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The `user-agent` header; `notify/<version>` by default.
    pub user_agent: String,
    /// The longest that one connection may take to be made, name resolution and
    /// TLS handshake included; 5 s by default. A name server has half of it to
    /// answer. The deadline of the request holds as well.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept; 15 s by default.
    pub pool_idle_timeout: Duration,
    /// The most unused connections that are kept, over all hosts together; 256 by
    /// default. The one that has been unused for longest is closed first. Each
    /// occupies a descriptor. 0 keeps none.
    pub idle_connections_max: usize,
    /// Certificates to trust in addition to the system's roots, as PEM: those of
    /// a private authority. None by default.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// Where requests may go; by default to what is public and nowhere else.
    pub egress: Policy,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("notify/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            pool_idle_timeout: Duration::from_secs(15),
            idle_connections_max: 256,
            extra_roots_pem: None,
            egress: Policy::default(),
        }
    }
}

/// No transport can be made from this [`HttpConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpConfigInvalid {
    /// `user_agent` is empty or can't be a header's value.
    UserAgent,
    /// `connect_timeout` is zero: every attempt would fail.
    ConnectTimeout,
    /// `extra_roots_pem` is not PEM, or has no certificate in it, or one that
    /// can't be read.
    ExtraRoots,
    /// TLS or the HTTP client could not be set up on this system.
    Unavailable(String),
}

impl fmt::Display for HttpConfigInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserAgent => f.write_str("user_agent: must be a header's value and not empty"),
            Self::ConnectTimeout => f.write_str("connect_timeout: must be longer than zero"),
            Self::ExtraRoots => f.write_str("extra_roots_pem: must be certificates in PEM"),
            Self::Unavailable(why) => write!(f, "no HTTP client on this system: {why}"),
        }
    }
}

impl std::error::Error for HttpConfigInvalid {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HttpTransport;

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut HttpConfig), why: HttpConfigInvalid) {
        let mut config = HttpConfig::default();
        change(&mut config);
        assert_eq!(HttpTransport::new(config).map(drop), Err(why));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        check_refused(
            |config| config.user_agent.clear(),
            HttpConfigInvalid::UserAgent,
        );
        check_refused(
            |config| config.user_agent = "two\r\nlines: yes".to_owned(),
            HttpConfigInvalid::UserAgent,
        );
        check_refused(
            |config| config.connect_timeout = Duration::ZERO,
            HttpConfigInvalid::ConnectTimeout,
        );
        let broken =
            b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
        for pem in [&b""[..], b"no PEM", &broken[..40], &broken[..]] {
            check_refused(
                |config| config.extra_roots_pem = Some(pem.to_vec()),
                HttpConfigInvalid::ExtraRoots,
            );
        }
    }

    #[test]
    fn the_user_agent_names_the_version() {
        let user_agent = HttpConfig::default().user_agent;
        assert_eq!(user_agent, format!("notify/{}", env!("CARGO_PKG_VERSION")));
    }
}
