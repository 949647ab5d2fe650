//! The model that stores are compared with says every rule for itself: it takes
//! plain data from the core, and nothing that decides.

use super::sources::{read, sources};
use super::{check_none, root};

/// What the model may import of the core: data, and the modules that it lies in.
const PLAIN: &[&str] = &[
    "delivery",
    "Attempt",
    "DeadReason",
    "DeliveryState",
    "endpoint",
    "Endpoint",
    "EventFilter",
    "event",
    "EventDraft",
    "EventRecord",
    "Fingerprint",
    "job",
    "EventKind",
    "DeliveryId",
    "EndpointId",
    "EndpointUrl",
    "Epoch",
    "EventId",
    "IdempotencyKey",
    "JobId",
    "JobStatus",
    "Keyring",
    "Secret",
    "Timestamp",
];

/// Rules that come with plain data, as methods.
const RULES: &[&str] = &["is_terminal", ".failure("];

#[test]
fn the_model_takes_only_plain_data_from_the_core() {
    let folder = root().join("crates/notify-conformance/src");
    let model: Vec<_> = sources()
        .into_iter()
        .filter(|file| *file == folder.join("model.rs") || file.starts_with(folder.join("model")))
        .collect();
    assert!(model.len() > 1, "the model is nowhere: {model:?}");
    check_none(model.iter().flat_map(|file| {
        let breaches = breaches(&read(file)).into_iter();
        breaches.map(|breach| format!("{} names {breach}", file.display()))
    }));
}

#[test]
fn a_rule_of_the_core_is_noticed_however_it_is_named() {
    let plain = "use notify_core::delivery::{Attempt, DeadReason};\n//! `notify_core` is\n";
    assert!(breaches(plain).is_empty());
    for rule in [
        "use notify_core::lane;",
        "use notify_core::{\n    JobId,\n    endpoint::fan_out,\n};",
        "let plan = notify_core::lane::plan(&rows, None, now);",
        "if status.is_terminal() {",
    ] {
        assert!(!breaches(rule).is_empty(), "{rule}");
    }
}

/// What a source names that is no plain data.
fn breaches(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut breaches = Vec::new();
    let mut parts = code.split("notify_core");
    let mut before = parts.next().unwrap_or_default();
    for after in parts {
        let import = after.split(';').next().unwrap_or_default();
        if !before.ends_with("use ") {
            breaches.push(format!("notify_core{}", import.trim_end()));
        }
        let words = import.split(|c: char| !c.is_alphanumeric() && c != '_');
        let strange = words.filter(|word| !word.is_empty() && !PLAIN.contains(word));
        breaches.extend(strange.map(String::from));
        before = after;
    }
    let rules = RULES.iter().filter(|rule| code.contains(**rule));
    breaches.extend(rules.map(|rule| (*rule).to_owned()));
    breaches
}
