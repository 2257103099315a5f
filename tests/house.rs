//! How the house stands: no circle of files in any crate, no import that climbs, no file too long.
//!
//! `cargo test --test house -- --nocapture` prints who imports whom, file by file.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, ItemUse, Meta, UseTree, Visibility, punctuated::Punctuated};

/// Where every crate begins, and the crates of the workspace that it may depend on.
const CRATES: [(&str, &[&str], &[&str]); 9] = [
    ("kernels", &["src/lib.rs"], &[]),
    ("policy", &["src/lib.rs"], &["aaren-kernels"]),
    ("envs", &["src/lib.rs"], &[]),
    ("data", &["src/lib.rs"], &["aaren-envs"]),
    ("agents", &["src/lib.rs"], &["aaren-kernels", "aaren-policy", "aaren-envs", "aaren-data"]),
    ("bench", &["src/lib.rs", "src/main.rs"], &["aaren-kernels", "aaren-policy", "aaren-envs", "aaren-data", "aaren-agents"]),
    ("python", &["src/lib.rs"], &["aaren", "aaren-envs", "aaren-policy", "aaren-agents"]),
    ("capi", &["src/lib.rs"], &["aaren-policy", "aaren-agents"]),
    (".", &["src/lib.rs", "src/main.rs"], &["aaren-kernels", "aaren-policy", "aaren-envs", "aaren-data", "aaren-agents"]),
];

/// The rooms of `agents`, and the rooms that each may import.
const ROOMS: [(&str, &[&str]); 18] = [
    ("seeds", &[]),
    ("optim", &[]),
    ("config", &[]),
    ("run", &["config"]),
    ("device", &["config", "run"]),
    ("play", &["seeds", "config", "run", "device"]),
    ("export", &["config", "run", "device", "play"]),
    ("exchange", &["run"]),
    ("sequence", &["seeds", "config", "run", "device"]),
    ("session", &["seeds", "config", "run", "device", "play", "exchange"]),
    ("offline", &["seeds", "optim", "config", "run", "device", "play", "exchange", "sequence", "session"]),
    ("ppo", &["seeds", "optim", "config", "run", "device", "play", "exchange", "session"]),
    ("collect", &["seeds", "optim", "config", "run", "device", "play", "session", "offline", "ppo"]),
    ("inspect", &["config", "run", "device", "play", "sequence", "offline", "ppo"]),
    ("jobs", &["config", "run", "device", "play", "exchange", "sequence", "session", "offline", "ppo"]),
    ("compare", &["config", "run"]),
    ("table", &["config", "run", "jobs", "compare"]),
    ("lib", &[]),
];

/// Files of one crate, and for each the files that it uses something of.
type Graph = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for (folder, roots, _) in CRATES {
        for root in roots {
            let graph = imports(&here().join(folder).join(root));
            println!("{folder}/{root}: {} files", graph.len());
            for (file, used) in &graph {
                println!("  {} -> {}", shown(file), used.iter().map(|file| shown(file)).collect::<Vec<_>>().join(", "));
            }
            for circle in circles_of(&graph) {
                let names = circle.iter().map(|file| shown(file)).collect::<Vec<_>>().join(", ");
                println!("circle of {} files: {names}", circle.len());
                circles.push(names);
            }
        }
    }
    assert!(circles.is_empty(), "files that import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn crates_depend_only_on_those_below_them() {
    for (folder, _, allowed) in CRATES {
        let manifest = fs::read_to_string(here().join(folder).join("Cargo.toml")).unwrap();
        let lines =
            manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1).take_while(|line| !line.starts_with('['));
        for line in lines.filter(|line| line.starts_with("aaren")) {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(allowed.contains(&name), "{folder}/Cargo.toml depends on {name}; it may depend on {allowed:?}");
        }
    }
}

#[test]
fn rooms_of_agents_import_only_those_below_them() {
    let climbing = climbing(&imports(&here().join("agents/src/lib.rs")), &here().join("agents/src"), &ROOMS);
    climbing.iter().for_each(|arrow| println!("{arrow}"));
    assert!(climbing.is_empty(), "imports that climb:\n{}", climbing.join("\n"));
}

#[test]
fn files_of_agents_are_short() {
    let graph = imports(&here().join("agents/src/lib.rs"));
    let mut lengths: Vec<_> = graph.keys().map(|file| (fs::read_to_string(file).unwrap().lines().count(), shown(file))).collect();
    lengths.sort();
    let median = lengths[lengths.len() / 2].0;
    let (longest, file) = lengths.last().unwrap();
    println!("agents: {} files, median {median} lines, longest {longest} ({file})", lengths.len());
    assert!(median < 150, "the median is {median} lines");
    assert!(*longest <= 450, "{file} has {longest} lines");
}

/// What is published must build where there is no checkout.
#[test]
fn programs_include_nothing_from_outside_of_their_package() {
    for (folder, roots, _) in CRATES {
        let package = here().join(folder).canonicalize().unwrap();
        for file in roots.iter().flat_map(|root| imports(&package.join(root)).into_keys()) {
            let text = fs::read_to_string(&file).unwrap();
            let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            assert!(!product.contains("env!(\"CARGO_MANIFEST_DIR\")"), "{} names the building machine's checkout", shown(&file));
            for included in ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|call| product.split(call).skip(1)) {
                let path = file.parent().unwrap().join(included.split('"').next().unwrap());
                // A link out of the package is fine: cargo puts into the package what it leads to.
                let folder = path.parent().unwrap().canonicalize().unwrap();
                assert!(path.exists() && folder.starts_with(&package), "{} includes {}", shown(&file), path.display());
            }
        }
    }
}

#[test]
fn planted_circles_are_found() {
    let two =
        [("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B; pub struct A(B);"), ("b.rs", "pub struct B(super::a::A);")];
    assert_eq!(planted(&two), ["a.rs b.rs"]);
    let three = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::{self, B as _};"),
        ("b.rs", "pub struct B; fn f() { g!(crate::c::C) }"),
        ("c/mod.rs", "mod inner; pub use inner::*;"),
        ("c/inner.rs", "pub struct C; mod deep { fn f() { use super::super::super::{a}; a::f::<u8>() } }"),
        ("d.rs", "use super::a; fn f() { a::f() }"),
    ];
    assert_eq!(planted(&three), Vec::<String>::new(), "a.rs has no `f` yet");
    let mut three = three.map(|(name, text)| (name, text.to_string()));
    three[1].1 += " pub fn f<T>() {}";
    assert_eq!(planted(&three), ["a.rs b.rs c/inner.rs"]);
    let parent = [
        ("lib.rs", "pub mod a;"),
        ("a.rs", "mod b; pub use b::B; pub struct A; fn f(_: B) {}"),
        ("a/b.rs", "pub struct B(super::A);"),
    ];
    assert_eq!(planted(&parent), ["a/b.rs a.rs"]);
    let macros = [
        ("lib.rs", "#[macro_use] mod a; mod b;"),
        ("a.rs", "macro_rules! m { () => { $crate::b::f() } }"),
        ("b.rs", "pub fn f() { m!() }"),
    ];
    assert_eq!(planted(&macros), ["a.rs b.rs"]);
}

#[test]
fn declarations_exports_and_tests_are_no_imports() {
    let tree = [
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests; pub use a::A; pub use b::*;"),
        ("a.rs", "use crate::B; pub struct A(B); #[cfg(test)] mod tests { use crate::c::X; }"),
        ("b.rs", "pub struct B; impl B { #[cfg(all(test, unix))] fn f() { crate::a::f() } #[cfg(not(test))] fn g() {} }"),
        ("tests.rs", "use crate::a::A;"),
    ];
    assert_eq!(planted(&tree), Vec::<String>::new());
    let folder = plant(&tree);
    let graph = imports(&folder.path().join("lib.rs"));
    assert_eq!(graph.len(), 3, "{graph:?}");
    let of = |name: &str| graph[&folder.path().join(name)].iter().cloned().collect::<Vec<_>>();
    assert_eq!((of("lib.rs"), of("a.rs"), of("b.rs")), (vec![], vec![folder.path().join("b.rs")], vec![]));
}

#[test]
fn a_planted_climb_is_found() {
    let tree = [
        ("lib.rs", "mod low; mod high;"),
        ("low/mod.rs", "mod file;"),
        ("low/file.rs", "use crate::high::High;"),
        ("high.rs", "use crate::low; pub struct High;"),
    ];
    let folder = plant(&tree);
    let rooms: [(&str, &[&str]); 3] = [("lib", &[]), ("low", &[]), ("high", &["low"])];
    let found = climbing(&imports(&folder.path().join("lib.rs")), folder.path(), &rooms);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("low/file.rs") && found[0].contains("high.rs"), "{found:?}");
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(here()).unwrap_or(file).to_string_lossy().replace("./", "")
}

fn plant(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.as_ref()).unwrap();
    }
    folder
}

fn planted(files: &[(impl AsRef<str>, impl AsRef<str>)]) -> Vec<String> {
    let folder = plant(files);
    let name = |file: &PathBuf| file.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned();
    let circles = circles_of(&imports(&folder.path().join("lib.rs")));
    circles.iter().map(|circle| circle.iter().map(name).collect::<Vec<_>>().join(" ")).collect()
}

/// Imports between rooms, the entries of `src`, that `rooms` does not allow.
fn climbing(graph: &Graph, src: &Path, rooms: &[(&str, &[&str])]) -> Vec<String> {
    let room = |file: &Path| {
        let first = file.strip_prefix(src).unwrap().components().next().unwrap();
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string()
    };
    let mut found = Vec::new();
    for (file, used) in graph {
        let from = room(file);
        let allowed = rooms.iter().find(|(name, _)| *name == from);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{from} is a new room: say what it may import"));
        for other in used {
            let to = room(other);
            if to != from && !allowed.contains(&to.as_str()) {
                found.push(format!("{} imports {}, but {from} may import {allowed:?} only", shown(file), shown(other)));
            }
        }
    }
    found
}

/// Strongly connected components of more than one file.
fn circles_of(graph: &Graph) -> Vec<BTreeSet<PathBuf>> {
    let reached = |start: &PathBuf| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(file) = open.pop() {
            open.extend(graph[file].iter().filter(|next| seen.insert((*next).clone())));
        }
        seen
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (file, reached(file))).collect();
    let circle = |file| reached[file].iter().filter(|other| reached[other].contains(file)).cloned().collect();
    reached
        .keys()
        .map(|file| circle(*file))
        .filter(|circle: &BTreeSet<_>| circle.len() > 1)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The files of the crate that begins at `root`, without its tests.
fn imports(root: &Path) -> Graph {
    let mut source = Source::default();
    source.add(root, None, "crate");
    source.graph()
}

/// The modules of a crate. Names are resolved as the compiler does it, but for visibility.
#[derive(Default)]
struct Source {
    modules: Vec<Module>,
    /// Where macros are defined that are called by their bare name.
    macros: BTreeMap<String, usize>,
}

struct Module {
    file: PathBuf,
    parent: usize,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Every path of its code.
    paths: Vec<Vec<String>>,
}

/// `use path as name`, or `use path::*` where there is no name.
struct Use {
    path: Vec<String>,
    name: Option<String>,
    exported: bool,
}

enum Found {
    Module(usize),
    /// Something that this module defines.
    Item(usize),
}

impl Source {
    fn add(&mut self, file: &Path, parent: Option<usize>, name: &str) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add_items(file, syntax.items, parent, name);
    }

    fn add_items(&mut self, file: &Path, items: Vec<Item>, parent: Option<usize>, name: &str) {
        let index = self.modules.len();
        let new = (BTreeMap::new(), BTreeSet::new(), Vec::new(), Vec::new());
        let module =
            Module { file: file.into(), parent: parent.unwrap_or(0), children: new.0, items: new.1, uses: new.2, paths: new.3 };
        self.modules.push(module);
        if let Some(parent) = parent {
            self.modules[parent].children.insert(name.into(), index);
        }
        for item in items {
            self.add_item(index, item);
        }
    }

    fn add_item(&mut self, index: usize, item: Item) {
        let (attributes, name) = match &item {
            Item::Const(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Enum(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Fn(item) => (&item.attrs, Some(item.sig.ident.to_string())),
            Item::Impl(item) => (&item.attrs, None),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref().map(ToString::to_string)),
            Item::Mod(item) => (&item.attrs, None),
            Item::Static(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Struct(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Trait(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Type(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Union(item) => (&item.attrs, Some(item.ident.to_string())),
            Item::Use(item) => (&item.attrs, None),
            _ => return,
        };
        if attributes.iter().any(|attribute| is_for_tests(&attribute.meta)) {
            return;
        }
        if let (Item::Macro(_), Some(name)) = (&item, &name) {
            self.macros.insert(name.clone(), index);
        }
        self.modules[index].items.extend(name);
        let file = self.modules[index].file.clone();
        match item {
            Item::Mod(module) => {
                let name = module.ident.to_string();
                match module.content {
                    Some((_, items)) => self.add_items(&file, items, Some(index), &name),
                    None => self.add(&file_of(&file, &name), Some(index), &name),
                }
            }
            Item::Use(used) => {
                let exported = !matches!(used.vis, Visibility::Inherited);
                flatten(&used.tree, &mut Vec::new(), exported, &mut self.modules[index].uses);
            }
            item => {
                let module = &mut self.modules[index];
                scan(item.into_token_stream(), &mut module.paths, &mut module.uses);
            }
        }
    }

    fn graph(&self) -> Graph {
        let mut graph: Graph = self.modules.iter().map(|module| (module.file.clone(), BTreeSet::new())).collect();
        for (index, module) in self.modules.iter().enumerate() {
            let arrows = graph.get_mut(&module.file).unwrap();
            let mut arrow = |to: usize| {
                if self.modules[to].file != module.file {
                    arrows.insert(self.modules[to].file.clone());
                }
            };
            for used in &module.uses {
                // A module is not imported by its name, but by what is taken from it.
                if let Some(Found::Item(to)) = self.resolve(index, &used.path, &mut HashSet::new())
                    && !(used.exported && self.is_below(to, index))
                {
                    arrow(to);
                }
            }
            for path in &module.paths {
                if let Some(Found::Item(to)) = self.resolve(index, path, &mut HashSet::new()) {
                    arrow(to);
                } else if let [name] = &path[..]
                    && let Some(to) = name.strip_suffix('!').and_then(|name| self.macros.get(name))
                {
                    arrow(*to);
                }
            }
        }
        graph
    }

    fn is_below(&self, mut module: usize, above: usize) -> bool {
        while module != above && module != 0 {
            module = self.modules[module].parent;
        }
        module == above
    }

    fn resolve(&self, from: usize, path: &[String], seen: &mut HashSet<(usize, String, bool)>) -> Option<Found> {
        let mut at = from;
        for (depth, name) in path.iter().enumerate() {
            at = match name.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => self.modules[at].parent,
                name => match self.look_up(at, name, depth + 1 < path.len(), seen)? {
                    Found::Module(module) => module,
                    item => return Some(item),
                },
            };
        }
        Some(Found::Module(at))
    }

    /// What `name` is in a module; a module comes first where something is taken `from_it`.
    fn look_up(&self, at: usize, name: &str, from_it: bool, seen: &mut HashSet<(usize, String, bool)>) -> Option<Found> {
        if !seen.insert((at, name.into(), from_it)) {
            return None;
        }
        let module = &self.modules[at];
        let child = module.children.get(name).map(|child| Found::Module(*child));
        let item = module.items.contains(name).then_some(Found::Item(at));
        if let Some(found) = if from_it { child.or(item) } else { item.or(child) } {
            return Some(found);
        }
        for used in module.uses.iter().filter(|used| used.name.as_deref() == Some(name)) {
            if let Some(found) = self.resolve(at, &used.path, seen) {
                return Some(found);
            }
        }
        module.uses.iter().filter(|used| used.name.is_none()).find_map(|used| match self.resolve(at, &used.path, seen)? {
            Found::Module(other) => self.look_up(other, name, from_it, seen),
            Found::Item(_) => None, // variants of an enum
        })
    }
}

fn file_of(parent: &Path, name: &str) -> PathBuf {
    let folder = match parent.file_stem().unwrap().to_str().unwrap() {
        "lib" | "main" | "mod" => parent.parent().unwrap().to_path_buf(),
        _ => parent.with_extension(""),
    };
    let file = folder.join(name).with_extension("rs");
    if file.exists() { file } else { folder.join(name).join("mod.rs") }
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, exported: bool, uses: &mut Vec<Use>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, exported, uses);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, exported, uses)),
        UseTree::Glob(_) => uses.push(Use { path: before.clone(), name: None, exported }),
        UseTree::Name(_) | UseTree::Rename(_) => {
            let (last, name) = match tree {
                UseTree::Name(leaf) => (leaf.ident.to_string(), None),
                UseTree::Rename(leaf) => (leaf.ident.to_string(), Some(leaf.rename.to_string())),
                _ => unreachable!(),
            };
            let mut path = before.clone();
            if last != "self" || path.is_empty() {
                path.push(last);
            }
            uses.push(Use { name: Some(name.unwrap_or_else(|| path.last().unwrap().clone())), path, exported });
        }
    }
}

/// The paths of some code, those inside of macro calls too, and its local `use`s. A macro called by its bare name ends with an
/// exclamation mark.
fn scan(tokens: TokenStream, paths: &mut Vec<Vec<String>>, uses: &mut Vec<Use>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == wanted);
    let colons = |at: usize| is(at, ':') && is(at + 1, ':');
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) if at > 0 && is(at - 1, '#') => {
                at += 1;
                if syn::parse2(group.stream()).is_ok_and(|meta| is_for_tests(&meta)) {
                    while at < tokens.len() && !is(at, ';') && !is(at, ',') && !is_block(&tokens[at]) {
                        at += 1;
                    }
                    at += 1;
                }
            }
            TokenTree::Group(group) => {
                scan(group.stream(), paths, uses);
                at += 1;
            }
            TokenTree::Ident(name) if name == "use" => {
                let end = (at..tokens.len()).find(|at| is(*at, ';')).unwrap_or(tokens.len() - 1);
                if let Ok(used) = syn::parse2::<ItemUse>(tokens[at..=end].iter().cloned().collect()) {
                    flatten(&used.tree, &mut Vec::new(), false, uses);
                }
                at = end + 1;
            }
            TokenTree::Ident(name) => {
                let is_member = at > 0 && is(at - 1, '.') && !(at > 1 && is(at - 2, '.')); // a range has two dots
                let is_below_a_type = at > 1 && colons(at - 2);
                let mut path = vec![name.to_string()];
                at += 1;
                while colons(at) && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_))) {
                    path.push(tokens[at + 2].to_string());
                    at += 3;
                }
                let is_binding = path.len() == 1 && is(at, ':') && !colons(at) && path[0].starts_with(char::is_lowercase);
                if path.len() == 1 && is(at, '!') && !is(at + 1, '=') {
                    path[0].push('!');
                }
                if !is_member && !is_below_a_type && !is_binding {
                    paths.push(path);
                }
            }
            _ => at += 1,
        }
    }
}

fn is_block(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_for_tests(attribute: &Meta) -> bool {
    matches!(attribute, Meta::List(list) if list.path.is_ident("cfg") && list.parse_args().is_ok_and(|meta| needs_test(&meta)))
}

/// Whether a condition holds in tests alone.
fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, syn::Token![,]>::parse_terminated).unwrap_or_default();
            (list.path.is_ident("all") && parts.iter().any(needs_test))
                || (list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(needs_test))
        }
        Meta::NameValue(_) => false,
    }
}
