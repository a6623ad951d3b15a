//! The rooms know only whom their doors say they know.
//!
//! Goal: a dependency that points the wrong way fails here, with file and path, before anyone has to argue about it.
//! Method: every source file is parsed; each path that leads out of its room (`crate::room::…`, `super::…` past the
//! room's own root, or a foreign crate) is held against the two tables below. Items under `#[cfg(test)]` are left
//! out: a unit test may borrow a clock or a fake from anywhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use Knows::{Everything, Ports};

/// How much of another room a room may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// Whatever the door exports.
    Everything(&'static str),
    /// Its `ports` module alone.
    Ports(&'static str),
}

/// Who may know whom. A room that is not listed here fails the test: adding a room means adding a line.
const ROOMS: &[(&str, &[Knows])] = &[
    ("domain", &[]),
    ("design", &[]),
    ("config", &[Everything("domain")]),
    ("telemetry", &[Everything("domain")]),
    ("redis_link", &[]),
    ("admission", &[Everything("domain")]),
    ("verification", &[Everything("domain"), Everything("admission")]),
    ("intake", &[Everything("domain")]),
    ("issuing", &[Everything("domain"), Ports("verification")]),
    ("tokens", &[Everything("domain"), Ports("verification"), Ports("issuing")]),
    (
        "evidence",
        &[Everything("domain"), Everything("admission"), Ports("verification"), Everything("issuing")],
    ),
    (
        "registry",
        &[
            Everything("domain"),
            Everything("admission"),
            Ports("verification"),
            Ports("intake"),
            Ports("issuing"),
            Ports("evidence"),
        ],
    ),
    ("retries", &[Everything("domain"), Ports("verification")]),
    (
        "cache",
        &[Everything("domain"), Everything("admission"), Ports("verification"), Everything("redis_link")],
    ),
    (
        "audit",
        &[
            Everything("domain"),
            Everything("admission"),
            Ports("verification"),
            Ports("issuing"),
            Ports("evidence"),
        ],
    ),
    (
        "limits",
        &[Everything("domain"), Everything("admission"), Ports("verification"), Everything("redis_link")],
    ),
    ("identity", &[Everything("domain"), Everything("admission"), Everything("config")]),
    ("admin", &[Everything("domain")]),
    (
        "gateway",
        &[
            Everything("domain"),
            Everything("admission"),
            Everything("verification"),
            Everything("intake"),
            Everything("issuing"),
            Everything("evidence"),
            Everything("identity"),
            Everything("telemetry"),
        ],
    ),
];

/// The rooms that may know everybody: one wires, the other speaks to the operator. The generated messages live in
/// `gateway`, so these two are the only others that can name them.
const KNOW_EVERYBODY: &[&str] = &["app", "cli"];

/// Crates that belong to rooms. `app` and `cli` wire and may name them all; a crate that is not listed is free.
const CRATES: &[(&str, &[&str])] = &[
    ("tonic", &["gateway", "admin", "telemetry", "identity"]),
    ("tonic_prost", &["gateway"]),
    ("tonic_types", &["gateway"]),
    ("tonic_health", &["gateway", "admin"]),
    ("tonic_reflection", &["gateway", "admin"]),
    ("prost", &["gateway"]),
    ("prost_types", &["gateway"]),
    ("redb", &["registry"]),
    ("sqlx", &["registry"]),
    ("encoding_rs", &["registry"]),
    ("coset", &["tokens"]),
    ("base45", &["tokens"]),
    ("redis", &["redis_link", "cache", "limits"]),
    ("quick_cache", &["cache"]),
    ("governor", &["limits"]),
    ("rustls", &["identity", "redis_link"]),
    ("tokio_rustls", &["identity"]),
    ("x509_parser", &["identity"]),
    ("rcgen", &["identity"]),
    ("axum", &["admin"]),
    ("prometheus", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("clap", &[]),
    ("miette", &[]),
    ("indicatif", &[]),
    ("comfy_table", &[]),
];

/// What the pure rooms never touch: async, I/O, threads, clocks, storage.
const PURE: &[&str] = &["domain"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
    "futures_util",
    "rustix",
    "arc_swap",
    "serde_json",
    "toml",
    "csv",
    "rand",
];

#[test]
fn every_dependency_points_inward() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let violations = violations_under(&source);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn every_room_has_a_door_that_says_what_it_may_know() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in rooms_under(&source) {
        let door = fs::read_to_string(source.join(&room).join("mod.rs")).expect("the door can be read");
        let doc: String = door.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(doc.contains("May know:"), "src/{room}/mod.rs does not say what the room may know");
        assert!(doc.contains("Must not know:"), "src/{room}/mod.rs does not say what the room must not know");
    }
}

/// An identifier that can be serialised can leave: in the domain only the closed sets of words may name serde.
#[test]
fn no_word_of_the_domain_but_closed_sets_can_be_serialised() {
    let domain = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain");
    for file in sources_under(&domain) {
        let text = fs::read_to_string(&file).expect("the file can be read");
        assert!(
            file.ends_with("closed_set.rs") || !text.contains("serde"),
            "{} names serde: an identifier must not be serialisable",
            file.display()
        );
    }
}

#[test]
fn a_planted_violation_of_each_rule_is_found() {
    let planted = [
        ("domain/a.rs", "use crate::registry::Store;", "domain must not know registry"),
        ("domain/b.rs", "fn f() { let _ = std::fs::read(\"x\"); }", "domain must not touch std::fs"),
        (
            "domain/c.rs",
            "use std::{fmt, time::{Duration, Instant}};",
            "domain must not touch std::time::Instant",
        ),
        ("domain/d.rs", "async fn f() { tokio::task::yield_now().await; }", "domain must not touch tokio"),
        ("cache/a.rs", "use crate::{domain::time::Clock, audit::Journal};", "cache must not know audit"),
        ("cache/deep/b.rs", "use super::super::super::registry::Store;", "cache must not know registry"),
        ("cache/c.rs", "mod inner { use super::super::super::limits::Rates; }", "cache must not know limits"),
        (
            "limits/a.rs",
            "use crate::verification::Verifier;",
            "limits may know only the ports of verification",
        ),
        ("audit/a.rs", "fn f(x: &crate::gateway::proto::Claim) {}", "audit must not know gateway"),
        ("audit/b.rs", "fn f() { println!(\"{}\", crate::cache::size()); }", "audit must not know cache"),
        ("admission/a.rs", "use crate::verification::ports::Facts;", "admission must not know verification"),
        ("gateway/a.rs", "use crate::limits::Rates;", "gateway must not know limits"),
        ("registry/a.rs", "fn f(x: tonic::Status) {}", "registry must not use the crate tonic"),
        ("gateway/b.rs", "use redis::Client;", "gateway must not use the crate redis"),
        ("attic/a.rs", "", "attic is no room of the table"),
    ];
    for (file, text, expected) in planted {
        let house = tempfile::tempdir().expect("a folder for the planted house");
        let path = house.path().join(file);
        fs::create_dir_all(path.parent().expect("a room")).expect("the room can be made");
        fs::write(&path, text).expect("the file can be written");
        let found = violations_under(house.path());
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "planted in {file}: {text:?}\nexpected: {expected}\nfound: {found:?}"
        );
    }
}

#[test]
fn what_is_permitted_is_not_reported() {
    let permitted = [
        ("cache/a.rs", "use crate::verification::ports::Facts; use super::b::Slot; use crate::cache::c::X;"),
        ("cache/b.rs", "#[cfg(test)] mod tests { use crate::app::SystemClock; use crate::registry::Store; }"),
        ("cli/a.rs", "use crate::gateway::proto::Claim; use crate::registry::Store; use redis::Client;"),
        ("domain/a.rs", "use std::time::Duration; use super::time::Clock; use crate::domain::claim::Claim;"),
    ];
    for (file, text) in permitted {
        let house = tempfile::tempdir().expect("a folder for the planted house");
        let path = house.path().join(file);
        fs::create_dir_all(path.parent().expect("a room")).expect("the room can be made");
        fs::write(&path, text).expect("the file can be written");
        assert_eq!(violations_under(house.path()), Vec::<String>::new(), "{file}: {text}");
    }
}

/// Lists everything under a source folder that points the wrong way.
fn violations_under(source: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for room in rooms_under(source) {
        if !KNOW_EVERYBODY.contains(&room.as_str()) && !ROOMS.iter().any(|(name, _)| *name == room) {
            found.push(format!("src/{room}: {room} is no room of the table in tests/it/architecture.rs"));
            continue;
        }
        for file in sources_under(&source.join(&room)) {
            found.extend(violations_in(source, &room, &file));
        }
    }
    found
}

/// Lists what one file of a room names that the room must not know.
fn violations_in(source: &Path, room: &str, file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(source).expect("a file of the source folder");
    let text = fs::read_to_string(file).expect("the file can be read");
    let syntax = syn::parse_file(&text).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    let mut paths = PathsOut { module: module_of(inside), paths: BTreeSet::new() };
    paths.visit_file(&syntax);
    let judge = |path: &Vec<String>| fault_of(room, path).map(|fault| (path.join("::"), fault));
    let faults: BTreeSet<_> = paths.paths.iter().filter_map(judge).collect();
    faults.into_iter().map(|(path, fault)| format!("src/{}: `{path}`: {fault}", inside.display())).collect()
}

/// Judges one path: absolute, beginning with `crate`, `std` or the name of a foreign crate.
fn fault_of(room: &str, path: &[String]) -> Option<String> {
    let text = path.join("::");
    let begins = |prefix: &&&str| text == **prefix || text.starts_with(&format!("{prefix}::"));
    if PURE.contains(&room)
        && let Some(impure) = IMPURE.iter().find(begins)
    {
        return Some(format!("{room} must not touch {impure}"));
    }
    let first = path.first()?.as_str();
    if first == "crate" {
        return fault_between_rooms(room, path.get(1)?, path.get(2).map(String::as_str));
    }
    if KNOW_EVERYBODY.contains(&room) {
        return None;
    }
    let (_, owners) = CRATES.iter().find(|(name, _)| *name == first)?;
    (!owners.contains(&room)).then(|| format!("{room} must not use the crate {first}"))
}

/// Judges a path from one room into another.
fn fault_between_rooms(room: &str, other: &str, module: Option<&str>) -> Option<String> {
    let is_room = ROOMS.iter().any(|(name, _)| *name == other) || KNOW_EVERYBODY.contains(&other);
    if room == other || !is_room || KNOW_EVERYBODY.contains(&room) {
        return None;
    }
    let (_, knows) = ROOMS.iter().find(|(name, _)| *name == room)?;
    let granted = knows.iter().find(|grant| match grant {
        Everything(name) | Ports(name) => *name == other,
    });
    match granted {
        None => Some(format!("{room} must not know {other}")),
        Some(Everything(_)) => None,
        Some(Ports(_)) if module == Some("ports") => None,
        Some(Ports(_)) => Some(format!("{room} may know only the ports of {other}")),
    }
}

/// Collects the absolute paths a file names.
struct PathsOut {
    /// The module the walk is in, from the crate's root.
    module: Vec<String>,
    /// What was found.
    paths: BTreeSet<Vec<String>>,
}

impl PathsOut {
    /// Notes a path, made absolute; one that stays inside its own module tree below the root is noted as such.
    fn note(&mut self, segments: &[String]) {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let absolute = if supers > 0 {
            let above = self.module.len().saturating_sub(supers);
            let rest = segments[supers..].iter();
            std::iter::once("crate".to_owned())
                .chain(self.module[..above].iter().cloned())
                .chain(rest.cloned())
                .collect()
        } else {
            segments.to_vec()
        };
        self.paths.insert(absolute);
    }

    /// Notes every leaf of a use tree.
    fn note_tree(&mut self, prefix: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.note_tree(prefix, &path.tree);
                prefix.pop();
            }
            syn::UseTree::Name(name) => self.note_leaf(prefix, name.ident.to_string()),
            syn::UseTree::Rename(name) => self.note_leaf(prefix, name.ident.to_string()),
            syn::UseTree::Glob(_) => self.note(&prefix.clone()),
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.note_tree(prefix, item);
                }
            }
        }
    }

    fn note_leaf(&mut self, prefix: &[String], name: String) {
        let mut path = prefix.to_vec();
        if name != "self" {
            path.push(name);
        }
        self.note(&path);
    }

    /// Notes the paths inside a macro's tokens, which have no syntax of their own.
    fn note_tokens(&mut self, tokens: &str) {
        let words: Vec<&str> =
            tokens.split(|c: char| c.is_whitespace() || "(){}[],;&<>!".contains(c)).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let mut index = 0;
        while index < words.len() {
            let mut path = vec![words[index].to_owned()];
            while words.get(index + 1) == Some(&"::") && index + 2 < words.len() {
                path.push(words[index + 2].to_owned());
                index += 2;
            }
            if path.len() > 1 {
                self.note(&path);
            }
            index += 1;
        }
    }
}

impl<'ast> Visit<'ast> for PathsOut {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes_of(item).iter().any(is_test_only) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_tree(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.note(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.note_tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

/// Says whether an attribute keeps its item out of the built library.
fn is_test_only(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

/// Returns the attributes of the items that a room may hide behind `cfg(test)`.
fn attributes_of(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns the module path of a source file: `cache/deep/b.rs` is `cache::deep::b`, `cache/mod.rs` is `cache`.
fn module_of(inside: &Path) -> Vec<String> {
    let mut module: Vec<String> = inside
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    module.pop_if(|last| last == "mod");
    module
}

/// Returns the folders of a source folder: the rooms.
fn rooms_under(source: &Path) -> Vec<String> {
    let entries = fs::read_dir(source).expect("the source folder can be read").flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut rooms: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    rooms.sort();
    rooms
}

/// Returns every Rust file of a room but those whose name says that they hold tests only.
fn sources_under(room: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(room).expect("the room can be read").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                found.extend(sources_under(&path));
            }
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
