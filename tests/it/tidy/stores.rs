//! Stores fetch and apply: whatever is decided about what is kept, the ledger decides.

use super::sources::{read, sources};
use super::{check_none, root};

/// What only somebody names who decides.
const RULES: &[&str] = &[
    "EventKind",
    "DeadReason",
    "lane::",
    "fan_out",
    "is_terminal",
    "is_finished",
];

/// Where rows are put into words and read back.
const CODECS: &[&str] = &["notify-sqlite/src/rows", "notify-hub/src/memory/tables.rs"];

#[test]
fn no_store_decides_what_is_kept() {
    let crates = root().join("crates");
    let is_store = |file: &&std::path::PathBuf| {
        let memory = crates.join("notify-hub/src/memory");
        let is_ours = file.starts_with(crates.join("notify-sqlite/src"))
            || file.starts_with(&memory)
            || **file == memory.with_extension("rs");
        let is_test =
            file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs");
        let is_codec = CODECS
            .iter()
            .any(|codec| file.starts_with(crates.join(codec)));
        is_ours && !is_test && !is_codec
    };
    let files = sources();
    let stores: Vec<_> = files.iter().filter(is_store).collect();
    assert!(stores.len() > 10, "the stores are nowhere: {stores:?}");
    check_none(stores.into_iter().flat_map(|file| {
        let named = named(&read(file));
        named
            .into_iter()
            .map(|rule| format!("{} names {rule}", file.display()))
    }));
}

#[test]
fn a_rule_in_a_store_is_noticed_and_talk_of_it_is_not() {
    assert_eq!(
        named("if record.kind() == EventKind::Progress {"),
        ["EventKind"]
    );
    assert_eq!(named("let plan = lane::plan(&rows);"), ["lane::"]);
    assert!(named("/// As lane::plan has it.\n//! EventKind\n").is_empty());
}

/// What is named in code, comments aside.
fn named(text: &str) -> Vec<&'static str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<&str> = code.collect();
    let is_named = |rule: &&&str| code.iter().any(|line| line.contains(**rule));
    RULES.iter().filter(is_named).copied().collect()
}
