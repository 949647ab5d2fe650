//! The compiler's own description of a crate, in the format that is read here.

use std::fs;
use std::process::{Command, Stdio};

use crate::need::{Missing, Need};

/// A rustdoc that writes JSON in the format that the workspace's reader of it
/// takes: each release of the compiler writes exactly one, and stable ones write
/// it only where they are allowed what is not stable.
#[derive(Debug)]
pub(crate) struct RustdocJson;

impl Need for RustdocJson {
    fn ensure(&self) -> Result<(), Missing> {
        let read = fs::read_to_string("Cargo.lock")
            .ok()
            .and_then(|lock| format_read(&lock));
        let written = format_written();
        match (read, written) {
            (Some(read), Some(written)) if read == written => Ok(()),
            (read, written) => Err(missing(read, written)),
        }
    }
}

/// The format that the locked reader takes, which is the minor version of the
/// crate that has the format's types.
fn format_read(lock: &str) -> Option<u32> {
    let (_, package) = lock.split_once("name = \"rustdoc-types\"\n")?;
    let (_, version) = package.split_once("version = \"0.")?;
    version.split_once('.')?.0.parse().ok()
}

/// The format that the installed rustdoc describes an empty crate in.
fn format_written() -> Option<u32> {
    let described = Command::new("rustdoc")
        .args(["--crate-name", "empty", "-Z", "unstable-options"])
        .args(["--output-format", "json", "--output", "-", "-"])
        .env("RUSTC_BOOTSTRAP", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    format_of(&String::from_utf8_lossy(&described.ok()?.stdout))
}

fn format_of(description: &str) -> Option<u32> {
    let (_, version) = description.rsplit_once("\"format_version\":")?;
    version.trim_end().trim_end_matches('}').parse().ok()
}

fn missing(read: Option<u32>, written: Option<u32>) -> Missing {
    let [read, written] =
        [read, written].map(|format| format.map_or("none".into(), |format| format.to_string()));
    Missing(format!(
        "`public-api` reads rustdoc's JSON in format {read}, and the installed \
         rustdoc writes {written}; install the Rust of `rust-version` in Cargo.toml"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_that_is_read_is_in_the_lock_file() {
        let lock = "[[package]]\nname = \"rustdoc-types\"\nversion = \"0.57.4\"\n";
        assert_eq!(format_read(lock), Some(57));
        assert_eq!(format_read("[[package]]\nname = \"rustc\"\n"), None);
    }

    #[test]
    fn the_format_that_is_written_closes_the_description() {
        assert_eq!(format_of(r#"{"root":0,"format_version":57}"#), Some(57));
        assert_eq!(format_of("error: unknown option"), None);
    }

    #[test]
    fn another_format_says_what_to_install() {
        assert_eq!(
            missing(Some(57), None).to_string(),
            "`public-api` reads rustdoc's JSON in format 57, and the installed \
             rustdoc writes none; install the Rust of `rust-version` in Cargo.toml"
        );
    }
}
