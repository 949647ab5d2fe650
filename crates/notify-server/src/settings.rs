//! Settings: flags over environment over `notify.toml` over defaults.
//!
//! Every source becomes a tree of text and values; the trees are laid over each
//! other; and the one that results is read into [`ServerConfig`]. So a setting
//! has one name and one rule, wherever it was written. What the sources say
//! comes in as arguments: nothing here reads a file or the environment.
//!
//! An error names the setting and where it was set, and never shows a value: it
//! could be a secret.

mod env;
mod invalid;
mod server;
mod tree;

use std::collections::BTreeMap;
use std::net::IpAddr;

use notify_hub::{EgressConfig, NotifierConfig, StreamLimits};
use serde::Deserialize;

pub(crate) use invalid::SettingsInvalid;
use server::ServerKeys;
pub(crate) use server::{API_KEY_BYTES_MIN, LogFormat, PublicUrl, ServerConfig};
use tree::{RuleBroken, Tree};

/// How the server tries again unless told otherwise: for 17 hours and a half.
const RETRY_SCHEDULE_DEFAULT: [&str; 8] = ["5s", "30s", "2m", "10m", "30m", "2h", "5h", "10h"];

/// What each source says, lowest first.
#[derive(Default)]
pub(crate) struct Sources {
    /// The settings file: its name, for errors, and its text.
    pub(crate) file: Option<(String, String)>,
    /// The environment; what does not begin with `NOTIFY_` is passed over.
    pub(crate) env: Vec<(String, String)>,
    /// What flags set: the setting, the flag, the value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

impl ServerConfig {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`SettingsInvalid`] names the setting and where it was set.
    pub(crate) fn load(sources: Sources) -> Result<Self, SettingsInvalid> {
        let mut origins = Origins::default();
        let mut tree = Tree::default();
        if let Some((name, text)) = &sources.file {
            tree = Tree::from_toml(text).map_err(|broken| broken.into_error(name))?;
            origins.file = Some(name.clone());
        }
        for variable in env::settings(&sources.env) {
            let path = variable.path();
            tree.set(&path, variable.value);
            origins.of.insert(path.join("."), variable.name);
        }
        for (key, flag, value) in sources.flags {
            tree.set(&[key.to_owned()], value);
            origins.of.insert(key.to_owned(), flag.to_owned());
        }
        read(tree).map_err(|broken| origins.explain(broken))
    }
}

fn read(mut tree: Tree) -> Result<ServerConfig, RuleBroken> {
    settle_retries(&mut tree)?;
    let server: ServerKeys = read_keys(tree.split_off(ServerKeys::NAMES))?;
    let mut notifier: NotifierConfig = read_keys(tree)?;
    // The server sees to this one, and the library would rightly say that it
    // does not.
    let default = StreamLimits::default().open_max;
    let streams_open_max = std::mem::replace(&mut notifier.streams.open_max, default);
    notifier
        .check()
        .map_err(|invalid| RuleBroken::new(invalid.field, invalid.rule))?;
    server.with_notifier(notifier, streams_open_max)
}

fn read_keys<'de, T: Deserialize<'de>>(tree: Tree) -> Result<T, RuleBroken> {
    serde_path_to_error::deserialize(tree).map_err(|error| {
        let path = error.path().to_string();
        error.into_inner().at(&path)
    })
}

/// A list of waits, or a count and a base: never both, and the list by default.
fn settle_retries(tree: &mut Tree) -> Result<(), RuleBroken> {
    let counted: Vec<&str> = ["max_retries", "retry_base_ms"]
        .into_iter()
        .filter(|key| tree.has(key))
        .collect();
    if tree.has("retry_schedule") {
        return match counted.as_slice() {
            [] => Ok(()),
            counted => Err(RuleBroken::new(
                "retry_schedule",
                format!("can't be set together with {}", counted.join(" and ")),
            )),
        };
    }
    if counted.is_empty() {
        let waits = RETRY_SCHEDULE_DEFAULT.map(|wait| Tree::Text(wait.to_owned()));
        tree.insert("retry_schedule", Tree::List(waits.into()));
    }
    Ok(())
}

/// Lets webhooks go to this machine, by address or as `localhost`, and to any port
/// that needs no privilege.
pub(crate) fn allow_loopback(egress: &mut EgressConfig) {
    egress
        .allow_cidrs
        .extend(["127.0.0.0/8", "::1/128"].map(str::to_owned));
    egress.allow_ports.push("1024-65535".to_owned());
    egress.allow_hosts.push("localhost".to_owned());
}

/// Whether only this machine can reach what listens here.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.to_canonical().is_loopback(),
    }
}

/// Where each setting came from, for errors.
#[derive(Default)]
struct Origins {
    file: Option<String>,
    of: BTreeMap<String, String>,
}

impl Origins {
    fn explain(&self, broken: RuleBroken) -> SettingsInvalid {
        // `egress.allow_ports[0]` was set as `egress.allow_ports`; a table that
        // should be none was set by one of its keys.
        let key = broken.key.split('[').next().unwrap_or_default();
        let below = format!("{key}.");
        let set_by = self.of.get(key).or_else(|| {
            let mut keys = self.of.iter();
            keys.find_map(|(path, origin)| path.starts_with(&below).then_some(origin))
        });
        match set_by.or(self.file.as_ref()) {
            Some(origin) => broken.into_error(origin),
            None => broken.into_error(""),
        }
    }
}

#[cfg(test)]
mod tests;
