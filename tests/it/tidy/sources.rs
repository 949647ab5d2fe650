//! What every package and every source file owes its reader.

use std::fs;
use std::path::{Path, PathBuf};

use super::arrows::packages;
use super::{check_none, root};

/// Beyond this a file holds more than one concern.
const SOURCE_LINES_MAX: usize = 500;

/// Words that mark unfinished work, in two halves, so that this file doesn't
/// hold what it looks for.
const UNFINISHED: &[(&str, &str)] = &[
    ("TO", "DO"),
    ("FIX", "ME"),
    ("to", "do!"),
    ("unimpl", "emented!"),
    ("db", "g!"),
];

/// Where things lie on the machine of one person, in two halves likewise.
const MACHINE_FOLDERS: &[(&str, &str)] = &[("/wo", "rk/"), ("/ho", "me/"), ("/ro", "ot/")];

#[test]
fn every_package_takes_the_workspace_lints() {
    let without = packages().into_iter().filter(|package| {
        let manifest = read(&package.folder.join("Cargo.toml"));
        !manifest.contains("[lints]\nworkspace = true")
    });
    check_none(without.map(|package| package.name));
}

#[test]
fn every_module_says_at_its_head_what_it_is() {
    let silent = sources()
        .into_iter()
        .filter(|file| !read(file).starts_with("//! "));
    check_none(silent.map(|file| shown(&file)));
}

#[test]
fn no_file_of_a_crate_is_too_long_to_read() {
    let crates = root().join("crates");
    let long = sources()
        .into_iter()
        .filter(|file| file.starts_with(&crates))
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > SOURCE_LINES_MAX);
    check_none(long.map(|(lines, file)| format!("{}: {lines} lines", shown(&file))));
}

#[test]
fn nothing_is_left_unfinished() {
    let words = UNFINISHED
        .iter()
        .map(|(head, tail)| format!("{head}{tail}"));
    let words: Vec<String> = words.collect();
    check_none(lines_of(&rust_files(), |line| {
        words.iter().any(|word| line.contains(word))
    }));
}

#[test]
fn no_test_is_ignored() {
    let attribute = concat!("#[", "ignore");
    check_none(lines_of(&rust_files(), |line| line.contains(attribute)));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let folders = MACHINE_FOLDERS
        .iter()
        .map(|(head, tail)| format!("{head}{tail}"));
    let folders: Vec<String> = folders.collect();
    check_none(lines_of(&files(&root()), |line| {
        folders.iter().any(|folder| names_folder(line, folder))
    }));
}

#[test]
fn a_folder_counts_only_where_a_path_begins() {
    let folder = "/usr/";
    assert!(names_folder("/usr/bin", folder));
    assert!(names_folder("cd \"/usr/bin\"", folder));
    assert!(names_folder("file:///usr/bin", folder));
    assert!(!names_folder("https://example.com/usr/bin", folder));
    assert!(!names_folder("./usr/bin", folder));
}

/// Whether an absolute path below `folder` begins somewhere in `line`.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|before| !before.is_alphanumeric() && !"._-~*})".contains(before))
    })
}

/// The lines that `is_breach`, each with its place.
fn lines_of(files: &[PathBuf], is_breach: impl Fn(&str) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in files {
        for (line, number) in read(file).lines().zip(1..) {
            if is_breach(line) {
                breaches.push(format!("{}:{number}: {}", shown(file), line.trim()));
            }
        }
    }
    breaches
}

/// The Rust files of every package's `src`, and all of a package without one.
pub(super) fn sources() -> Vec<PathBuf> {
    let folders = packages().into_iter().map(|package| {
        let source = package.folder.join("src");
        if source.is_dir() {
            source
        } else {
            package.folder
        }
    });
    let files = folders.flat_map(|folder| files(&folder));
    files.filter(|file| is_rust(file)).collect()
}

/// Every Rust file of the project.
fn rust_files() -> Vec<PathBuf> {
    let files = files(&root()).into_iter();
    files.filter(|file| is_rust(file)).collect()
}

/// Every file below `folder` that belongs to the project.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path = entry.expect("its entries too").path();
            if path.ends_with(".git") || path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

/// A file's text; what isn't UTF-8 is replaced, since no rule is about it.
pub(super) fn read(file: &Path) -> String {
    let bytes = fs::read(file).expect("a file of the project can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A file's path as people name it.
fn shown(file: &Path) -> String {
    let root = root();
    file.strip_prefix(&root)
        .unwrap_or(file)
        .display()
        .to_string()
}
