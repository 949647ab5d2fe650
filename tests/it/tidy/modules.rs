//! Which modules a crate has, and which of them each imports.
//!
//! Read from the sources as Rust is written. What only tests import is left out,
//! and so is what a macro's arguments name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, UseTree};

use super::sources::{read, sources};

/// A module by its names, from the crate's root down.
pub(super) type Name = Vec<String>;

/// What each module of a crate imports of the others.
pub(super) type Imports = BTreeMap<Name, BTreeSet<Name>>;

/// The modules of the crate whose sources lie in `src`.
pub(super) fn imports_below(src: &Path) -> Imports {
    let files = sources()
        .into_iter()
        .filter_map(|file| Some((module_of(file.strip_prefix(src).ok()?), read(&file))));
    // Only tests import the modules that are theirs.
    imports(files.filter(|(name, _)| !name.iter().any(|part| part == "tests")))
}

/// The same of modules that are given as text.
pub(super) fn imports(files: impl Iterator<Item = (Name, String)>) -> Imports {
    let mut modules = Modules::default();
    for (name, source) in files {
        let file = syn::parse_file(&source).expect("what compiles can be parsed");
        Reader::of(&mut modules, name).visit_file(&file);
    }
    let resolved = modules.0.iter().map(|(name, module)| {
        let paths = module.paths.iter();
        let imported = paths.map(|path| modules.resolve(name, path, HOPS_MAX));
        (name.clone(), imported.collect())
    });
    resolved.collect()
}

fn module_of(file: &Path) -> Name {
    let module = file.with_extension("");
    let names = module
        .iter()
        .map(|name| name.to_string_lossy().into_owned());
    let names: Name = names.collect();
    match names.as_slice() {
        [root] if root == "lib" || root == "main" => Name::new(),
        _ => names,
    }
}

/// Every module, with what it writes about others.
#[derive(Default)]
struct Modules(BTreeMap<Name, Module>);

#[derive(Default)]
struct Module {
    /// The paths that it names, as written.
    paths: Vec<Name>,
    /// What its `use` lines give a name here, for others to import from here.
    given: BTreeMap<String, Name>,
}

/// A name may be handed on from module to module.
const HOPS_MAX: usize = 8;

impl Modules {
    /// The module that `path` leads to from the module `from`, where what it
    /// names is not handed on from yet another.
    fn resolve(&self, from: &[String], path: &[String], hops: usize) -> Name {
        let mut at = from.to_vec();
        for part in path {
            match part.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                part => {
                    at.push(part.to_owned());
                    if self.0.contains_key(&at) {
                        continue;
                    }
                    at.pop();
                    let given = self.0.get(&at).and_then(|module| module.given.get(part));
                    return match given {
                        Some(path) if hops > 0 => self.resolve(&at, path, hops - 1),
                        _ => at,
                    };
                }
            }
        }
        at
    }
}

/// Reads one file.
struct Reader<'a> {
    modules: &'a mut Modules,
    /// The module that is being read.
    name: Name,
}

impl<'a> Reader<'a> {
    fn of(modules: &'a mut Modules, name: Name) -> Self {
        modules.0.entry(name.clone()).or_default();
        Self { modules, name }
    }

    fn module(&mut self) -> &mut Module {
        self.modules.0.entry(self.name.clone()).or_default()
    }

    fn read_use(&mut self, before: &[String], tree: &UseTree) {
        let with = |part: String| [before, &[part]].concat();
        match tree {
            UseTree::Path(path) => self.read_use(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.imported(name.ident.to_string(), before, &name.ident),
            UseTree::Rename(name) => self.imported(name.rename.to_string(), before, &name.ident),
            UseTree::Glob(_) => self.module().paths.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|it| self.read_use(before, it)),
        }
    }

    fn imported(&mut self, name: String, before: &[String], last: &syn::Ident) {
        let path = [before, &[last.to_string()]].concat();
        let module = self.module();
        module.paths.push(path.clone());
        module.given.insert(name, path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_some() && !is_for_tests(&item.attrs) {
            self.name.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.name.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.read_use(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Name = path
            .segments
            .iter()
            .map(|it| it.ident.to_string())
            .collect();
        self.module().paths.push(parts);
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|it| it == "test")
    })
}
