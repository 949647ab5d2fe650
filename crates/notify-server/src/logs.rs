//! Logs, to stderr: text for a person at a terminal, JSON for a machine.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged: what this workspace has to say, and of others only what they
/// warn of. It is not for the environment to change: what libraries say at finer
/// levels may show headers and URLs, and so tokens.
const FILTER: &str = "warn,notify_server=info,notify_hub=info,notify_sse=info,notify_http=info";

/// Begins to log. A second call changes nothing.
pub(crate) fn init(format: Option<LogFormat>) {
    let is_terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(match is_terminal {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal);
    // It fails where logging has begun already, which is as well.
    let _ = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
}
