//! Checks the imports between the top-level modules of `src/`. Cargo keeps `crates/protocol` free of them.

use std::collections::{BTreeMap, BTreeSet};

/// The top-level modules, highest first, and the modules that each may import besides itself.
const MAY_IMPORT: [(&str, &str); 12] = [
    ("main", "cli"),
    ("cli", "gateway http http_client session hub socket broker settings auth metrics backoff timeout"),
    ("gateway", "http http_client session hub socket broker settings auth metrics backoff timeout"),
    ("http", "session hub socket broker settings auth metrics backoff timeout"),
    ("session", "hub socket broker settings auth metrics backoff timeout"),
    ("hub", "socket broker settings auth metrics backoff timeout shrink"),
    ("socket", "settings auth metrics backoff timeout shrink"),
    ("broker", "settings auth metrics backoff timeout tls shrink"),
    ("simulation", "session hub broker settings metrics"), // for tests only
    ("auth", "settings http_client metrics backoff timeout"),
    ("http_client", "settings tls"),
    ("settings metrics backoff timeout tls shrink", ""),
];

#[test]
fn imports_point_down_and_form_no_cycle() {
    let module = |path: &str| path[4..path.len() - 3].trim_end_matches("/mod").replace('/', "::");
    let sources: BTreeMap<_, _> = files("src").map(|(path, text)| (module(&path), text)).collect();
    let modules: BTreeSet<_> = sources.keys().map(|module| top_module(module)).collect();
    assert_eq!(modules, MAY_IMPORT.iter().flat_map(|(modules, _)| modules.split(' ')).collect());
    assert!(imports(&sources).len() > 500, "too few imports were found");
    assert_eq!(violations(&sources), BTreeSet::new());
}

#[test]
fn upward_imports_and_cycles_are_detected() {
    let sources = [
        ("socket::a", "use crate::{\n    metrics,\n    http::{self, A},\n};\nuse super::b; // crate::cli"),
        ("socket::b", "fn f(x: super::super::hub::B) {}\nmod tests {\n    use super::super::{c::C, A};\n}"),
        ("socket::c", "//! The last.\nuse crate::socket::a as _;\nuse super::Socket;"),
    ];
    let upward = [("socket::a", "http::A"), ("socket::a", "http::self"), ("socket::b", "hub::B")];
    let cycles = [("socket::a", "socket::b"), ("socket::b", "socket::c"), ("socket::c", "socket::a")];
    let owned = |pairs: [(&str, &str); 3]| pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(violations(&owned(sources).into()), owned(upward).into_iter().chain(owned(cycles)).collect());
}

#[test]
fn no_file_has_more_than_400_lines() {
    let mut files = ["src", "crates", "tests"].into_iter().flat_map(files);
    assert_eq!(files.find(|(_, text)| text.lines().count() > 400).map(|(path, _)| path), None);
}

fn files(folder: &str) -> Box<dyn Iterator<Item = (String, String)>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path().display().to_string());
    Box::new(paths.flat_map(|path| match std::fs::read_to_string(&path) {
        Ok(text) if path.ends_with(".rs") && path != "src/lib.rs" => Box::new([(path, text)].into_iter()),
        _ => files(&path),
    }))
}

fn top_module(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Finds upward imports and import cycles. Parent and child may import each other.
fn violations(sources: &BTreeMap<String, String>) -> BTreeSet<(String, String)> {
    let names = |modules: &str, name: &str| modules.split(' ').any(|one| one == name);
    let may_import = |a: &str, b: &str| MAY_IMPORT.iter().any(|(from, to)| names(from, a) && names(to, b));
    let is_within = |low: &str, high: &str| format!("{low}::").starts_with(&format!("{high}::"));
    let file = |path: &str| sources.keys().filter(|file| is_within(path, file)).max_by_key(|file| file.len());
    let mut found = imports(sources);
    let pairs = found.iter().filter_map(|(from, to)| Some((from.clone(), file(to)?.clone())));
    let mut cycles: BTreeSet<_> = pairs.collect();
    cycles.retain(|(a, b)| top_module(a) == top_module(b) && !is_within(a, b) && !is_within(b, a));
    found.retain(|(from, to)| {
        top_module(from) != top_module(to) && !may_import(top_module(from), top_module(to))
    });
    for _ in sources {
        // A file without imports, or that no file imports, is in no cycle.
        let (from, to): (BTreeSet<_>, BTreeSet<_>) = cycles.iter().cloned().unzip();
        cycles.retain(|pair| to.contains(&pair.0) && from.contains(&pair.1));
    }
    found.extend(cycles);
    found
}

/// Lists each file's module with each path in it that begins with `crate` or `super`.
fn imports(sources: &BTreeMap<String, String>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (module, text) in sources {
        let (code, tests) = text.split_once("\nmod tests {").unwrap_or((text, ""));
        for (own, code) in [(module.clone(), code), (format!("{module}::tests"), tests)] {
            let mut code: String =
                code.lines().filter_map(|line| line.split("//").next()).map(str::trim).collect();
            code = code.replace("use emagine_gateway::", "use crate::").replace(", ", ",");
            let own: Vec<_> = own.split_inclusive("::").collect();
            for kept in 0..own.len() {
                let parent = format!("crate::{}", own[..kept].concat());
                code = code.replace(&"super::".repeat(own.len() - kept), &parent);
            }
            found.extend(code.split("crate::").skip(1).flat_map(paths).map(|path| (module.clone(), path)));
        }
    }
    found
}

/// Parses the paths at the beginning of the code: `a::{b, c}` is two paths.
fn paths(code: &str) -> Vec<String> {
    let (mut paths, mut path, mut groups) = (Vec::new(), String::new(), Vec::new());
    for sign in code.chars() {
        match sign {
            '{' => groups.push(path.clone()),
            ',' | '}' if !groups.is_empty() => {
                paths.push(path);
                groups.truncate(groups.len() - usize::from(sign == '}'));
                path = groups.last().cloned().unwrap_or_default();
            }
            _ if sign.is_alphanumeric() || "_:*".contains(sign) => path.push(sign),
            _ => break,
        }
    }
    paths.push(path);
    paths.into_iter().filter(|path| path.ends_with(|sign| sign != ':')).collect()
}
