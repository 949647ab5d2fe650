//! Within a crate: modules side by side that import each other, at once or around
//! a ring, are one concern in several places, or hold another that wants a home of
//! its own.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Imports, Name, imports, imports_below};
use super::{check_none, root};

/// The rings that there are: a crate, and the modules of one. None may be added.
const KNOWN: &[(&str, &[&str])] = &[("notify-core", &["event::content", "event::read"])];

#[test]
fn no_modules_of_a_crate_import_each_other() {
    let known = KNOWN.iter().map(|(package, ring)| {
        let ring = ring.iter().map(|&module| module.to_owned());
        (package.to_string(), ring.collect::<Vec<_>>())
    });
    let mut known: BTreeSet<_> = known.collect();
    let mut breaches = Vec::new();
    for package in crates() {
        let sources = root().join("crates").join(&package).join("src");
        let imports = side_by_side(&imports_below(&sources));
        assert!(!imports.is_empty(), "{package} was not read");
        for ring in rings(&imports) {
            let modules = ring.iter().map(|name| name.join("::")).collect();
            if !known.remove(&(package.clone(), modules)) {
                breaches.push(format!("{package}: {}", shown(&ring, &imports)));
            }
        }
    }
    breaches.extend(known.into_iter().map(|(package, ring)| {
        let ring = ring.join(", ");
        format!("{package}: {ring} are no ring any more; take them from the table")
    }));
    check_none(breaches);
}

fn crates() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("crates")).expect("there are crates");
    let names = folders.map(|folder| folder.expect("a folder of the project can be read"));
    names
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What modules with the same parent import of each other: where `a::b` imports
/// `a::c::d`, `a::b` imports `a::c`.
fn side_by_side(imports: &Imports) -> Imports {
    let mut siblings = Imports::new();
    for (from, imported) in imports {
        for to in imported {
            let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (from.get(..=shared), to.get(..=shared)) {
                siblings
                    .entry(from.to_vec())
                    .or_default()
                    .insert(to.to_vec());
            }
        }
    }
    siblings
}

/// The modules that can each be reached from all the others, ring by ring.
fn rings(imports: &Imports) -> BTreeSet<BTreeSet<&Name>> {
    let reached: BTreeMap<&Name, BTreeSet<&Name>> = imports
        .keys()
        .map(|module| (module, reached_from(module, imports)))
        .collect();
    let rings = reached.iter().map(|(module, reached_from_it)| {
        let back = |other: &&&Name| reached.get(**other).is_some_and(|it| it.contains(module));
        reached_from_it.iter().filter(back).copied().collect()
    });
    rings
        .filter(|ring: &BTreeSet<_>| !ring.is_empty())
        .collect()
}

fn reached_from<'a>(module: &Name, imports: &'a Imports) -> BTreeSet<&'a Name> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<&Name> = imports.get(module).into_iter().flatten().collect();
    while let Some(next) = ahead.pop() {
        if reached.insert(next) {
            ahead.extend(imports.get(next).into_iter().flatten());
        }
    }
    reached
}

fn shown(ring: &BTreeSet<&Name>, imports: &Imports) -> String {
    let arrows = ring.iter().flat_map(|from| {
        let imported = imports.get(*from).into_iter().flatten();
        let within = imported.filter(|to| ring.contains(to));
        within.map(move |to| format!("{} imports {}", from.join("::"), to.join("::")))
    });
    arrows.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check_rings(modules: &[(&str, &str)], expected: &[&[&str]]) {
    let files = modules.iter().map(|(name, source)| {
        let name = name.split("::").filter(|part| !part.is_empty());
        (name.map(str::to_owned).collect(), (*source).to_owned())
    });
    let imports = side_by_side(&imports(files));
    let found = rings(&imports).into_iter().map(|ring| {
        let names = ring.into_iter().map(|name| name.join("::"));
        names.collect::<Vec<_>>()
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn two_modules_are_a_ring_however_they_import_each_other() {
    for there in [
        "use crate::{b::{self, X}, c};",
        "fn f() -> crate::b::X { crate::b::x() }",
    ] {
        for back in [
            "use super::a;",
            "use crate::a::Y as Z;",
            "fn g(a: super::a::Y) {}",
        ] {
            let modules = [("", ""), ("a", there), ("b", back), ("c", "")];
            check_rings(&modules, &[&["a", "b"]]);
        }
    }
}

#[test]
fn a_name_is_imported_from_where_it_comes() {
    let front = "mod a; mod b; pub use b::X;";
    let modules = [("", front), ("a", "use crate::X;"), ("b", "use crate::a;")];
    check_rings(&modules, &[&["a", "b"]]);
    let front = "mod a; mod b; pub use other::X;";
    let modules = [("", front), ("a", "use crate::X;"), ("b", "use crate::a;")];
    check_rings(&modules, &[]);
}

#[test]
fn a_ring_may_be_long_or_lie_deeper() {
    let modules = [
        ("", ""),
        ("a", "use crate::b::c;"),
        ("b", ""),
        ("b::c", "use super::d;"),
        ("b::d", "use crate::e;"),
        ("e", "use crate::a;"),
    ];
    check_rings(&modules, &[&["a", "b", "e"]]);
    let modules = [
        ("b", ""),
        ("b::c", "use super::d;"),
        ("b::d", "use super::c::X;"),
    ];
    check_rings(&modules, &[&["b::c", "b::d"]]);
}

#[test]
fn what_tests_parents_and_others_import_makes_no_ring() {
    let for_tests = "#[cfg(test)] mod tests { use crate::b::X; }";
    check_rings(&[("a", for_tests), ("b", "use crate::a;")], &[]);
    let modules = [
        ("a", "use b::X; use std::fmt;"),
        ("a::b", "use super::Y;"),
        ("std", "use crate::a;"),
    ];
    check_rings(&modules, &[]);
}
