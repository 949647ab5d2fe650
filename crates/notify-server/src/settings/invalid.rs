//! What is wrong with a setting.

use std::fmt;

/// A setting is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsInvalid {
    /// The setting, with dots; empty if the source as a whole is wrong.
    pub(super) key: String,
    /// What it must be.
    pub(super) rule: String,
    /// The file, the variable or the flag; empty if it was set nowhere.
    pub(super) origin: String,
}

impl fmt::Display for SettingsInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, rule, origin } = self;
        match (key.as_str(), origin.as_str()) {
            ("", origin) => write!(f, "{origin}: {rule}"),
            (key, "") => write!(f, "{key}: {rule}"),
            (key, origin) => write!(f, "{key}: {rule} (set by {origin})"),
        }
    }
}

impl std::error::Error for SettingsInvalid {}
