//! Within the program: two modules at its top that import each other are one concern
//! in two places, or hold a third that wants a home of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{read, sources};
use super::{check_none, root};

/// What each module at the top of a crate imports of the others.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_two_modules_of_the_program_import_each_other() {
    let mut crates: BTreeMap<String, Imports> = BTreeMap::new();
    let folder = root().join("crates");
    let program = folder.join("notify-server");
    for file in sources().into_iter().filter(|it| it.starts_with(&program)) {
        let Ok(path) = file.strip_prefix(&folder) else {
            continue;
        };
        let mut parts = path.iter().filter_map(|part| part.to_str());
        let (Some(package), _src, Some(module)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let module = module.trim_end_matches(".rs").to_owned();
        let of_crate = crates.entry(package.to_owned()).or_default();
        let imports = of_crate.entry(module).or_default();
        imports.extend(imported(&read(&file)));
    }
    check_none(crates.iter().flat_map(|(package, imports)| {
        let pairs = mutual(imports).into_iter();
        pairs.map(move |(a, b)| format!("{package}: {a} and {b} import each other"))
    }));
}

#[test]
fn modules_are_found_however_they_are_imported() {
    let source = "use crate::{a, b::{C, d}, e};\nuse crate::f::G;\ncrate::h::i();\nuse x::y;";
    let imports = imported(source);
    for module in ["a", "b", "e", "f", "h"] {
        assert!(imports.contains(module), "{module} in {imports:?}");
    }
    assert!(!imports.contains("x") && !imports.contains("y"));
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let imports = Imports::from([
        ("a".to_owned(), of(&["b", "c"])),
        ("b".to_owned(), of(&["a"])),
        ("c".to_owned(), of(&[])),
    ]);
    assert_eq!(mutual(&imports), [("a", "b")]);
}

/// The names that follow `crate::`, and perhaps some that stand deeper.
fn imported(source: &str) -> BTreeSet<String> {
    let code: Vec<&str> = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let group = rest.strip_prefix('{');
        let group = group.and_then(|rest| rest.split(';').next());
        for path in group.unwrap_or(rest).split(',') {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let path = path.trim_start();
            let end = path.find(|c| !is_part(c)).unwrap_or(path.len());
            names.extend(path.get(..end).map(str::to_owned));
            if group.is_none() {
                break;
            }
        }
    }
    names
}

fn mutual(imports: &Imports) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    for (a, of_a) in imports {
        for b in of_a.iter().filter(|b| *b > a) {
            if imports.get(b).is_some_and(|of_b| of_b.contains(a)) {
                pairs.push((a.as_str(), b.as_str()));
            }
        }
    }
    pairs
}
