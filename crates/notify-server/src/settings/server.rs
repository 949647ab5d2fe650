//! The settings that the server has in addition to the library's.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use notify_hub::{NotifierConfig, SecretText};
use serde::Deserialize;

use super::tree::RuleBroken;

/// The shortest API key, in bytes.
pub(crate) const API_KEY_BYTES_MIN: usize = 16;

/// Everything that can be set about `notify serve`. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerConfig {
    /// Where to listen. Port 0 means any free one.
    pub(crate) listen: SocketAddr,
    /// Where customers reach the server.
    pub(crate) public_url: Option<PublicUrl>,
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// What operators show.
    pub(crate) api_key: Option<SecretText>,
    /// How logs are written; by default text on a terminal, else JSON.
    pub(crate) log_format: Option<LogFormat>,
    /// Open streams altogether.
    pub(crate) streams_open_max: usize,
    /// The library's settings, but for those that the server itself sees to.
    pub(crate) notifier: NotifierConfig,
}

/// The server's own keys, as they are written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServerKeys {
    listen: ListenAddress,
    public_url: Option<PublicUrl>,
    data_dir: String,
    api_key: Option<SecretText>,
    log_format: Option<LogFormat>,
}

impl ServerKeys {
    /// The names of its fields.
    pub(super) const NAMES: &[&str] =
        &["listen", "public_url", "data_dir", "api_key", "log_format"];

    pub(super) fn with_notifier(
        self,
        notifier: NotifierConfig,
        streams_open_max: usize,
    ) -> Result<ServerConfig, RuleBroken> {
        let api_key_bytes = self.api_key.as_ref().map(|key| key.expose().len());
        if api_key_bytes.is_some_and(|bytes| bytes < API_KEY_BYTES_MIN) {
            let rule = format!("must be at least {API_KEY_BYTES_MIN} bytes long");
            return Err(RuleBroken::new("api_key", rule));
        }
        if self.data_dir.is_empty() {
            return Err(RuleBroken::new("data_dir", "must be a directory's path"));
        }
        Ok(ServerConfig {
            listen: self.listen.0,
            public_url: self.public_url,
            data_dir: self.data_dir.into(),
            api_key: self.api_key,
            log_format: self.log_format,
            streams_open_max,
            notifier,
        })
    }
}

impl Default for ServerKeys {
    fn default() -> Self {
        Self {
            listen: ListenAddress(SocketAddr::from(([127, 0, 0, 1], 8080))),
            public_url: None,
            data_dir: "./notify-data".to_owned(),
            api_key: None,
            log_format: None,
        }
    }
}

/// An address to listen at, as text.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ListenAddress(SocketAddr);

impl TryFrom<String> for ListenAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let address = text.parse().map(Self);
        address.map_err(|_| "must be an address and a port, such as 127.0.0.1:8080")
    }
}

/// Where customers reach the server: `http(s)://host[:port][/path]`, without a
/// slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PublicUrl(String);

impl TryFrom<String> for PublicUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const RULE: &str = "must be a URL such as https://jobs.example.com, without a query";
        let uri: Uri = text.parse().map_err(|_| RULE)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_user = uri.authority().is_some_and(|a| a.as_str().contains('@'));
        if !is_http || has_user || text.contains(['?', '#']) {
            return Err(RULE);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}
