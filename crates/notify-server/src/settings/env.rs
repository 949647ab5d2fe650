//! Settings from the environment: `NOTIFY_` and the setting's name in upper
//! case, with `__` for a dot.

/// Variables that begin like settings and are not: three are read by other
/// commands, and systemd gives the last to the services that it starts.
const NOT_SETTINGS: [&str; 4] = [
    "NOTIFY_URL",
    "NOTIFY_TOKEN",
    "NOTIFY_SECRET",
    "NOTIFY_SOCKET",
];

const PREFIX: &str = "NOTIFY_";

/// A variable that is a setting, known or not.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl Variable {
    /// The setting's name, part by part.
    pub(super) fn path(&self) -> Vec<String> {
        let name = self.name.strip_prefix(PREFIX).unwrap_or_default();
        let parts = name.split("__");
        parts.map(str::to_ascii_lowercase).collect()
    }
}

/// The variables that are settings, in the order of their names.
pub(super) fn settings(env: &[(String, String)]) -> Vec<Variable> {
    let settings = env
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str()));
    let mut variables: Vec<Variable> = settings
        .map(|(name, value)| Variable {
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_underscore_is_a_dot() {
        let env = [
            ("NOTIFY_STORE__MIN_FREE_BYTES", "1"),
            ("NOTIFY_LISTEN", "2"),
            ("NOTIFY_URL", "3"),
            ("NOTIFY_TOKEN", "4"),
            ("NOTIFY_SECRET", "5"),
            ("PATH", "6"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let paths: Vec<String> = settings(&env).iter().map(|v| v.path().join(".")).collect();
        assert_eq!(paths, ["listen", "store.min_free_bytes"]);
    }
}
