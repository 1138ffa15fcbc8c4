//! The direction of dependency, read from the sources: nothing imports upwards, and no file
//! grows beyond what can be read at one sitting.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the crate's root may import besides itself. What stands here is the whole architecture.
const MAY_IMPORT: [(&str, &[&str]); 13] = [
    ("main", &["cli"]),
    (
        "cli",
        &["gateway", "http", "session", "hub", "socket", "broker", "settings", "auth", "metrics", "backoff"],
    ),
    ("gateway", &["http", "session", "hub", "socket", "broker", "settings", "auth", "metrics", "backoff"]),
    ("http", &["session", "hub", "socket", "broker", "settings", "auth", "metrics", "backoff"]),
    ("session", &["hub", "socket", "broker", "settings", "auth", "metrics", "backoff"]),
    ("hub", &["socket", "broker", "settings", "auth", "metrics", "backoff"]),
    ("socket", &["settings", "auth", "metrics", "backoff"]),
    ("broker", &["settings", "auth", "metrics", "backoff"]),
    // Compiled for tests only. It plays all that is between the pure parts.
    ("simulation", &["hub", "broker", "metrics"]),
    ("auth", &["settings"]),
    ("settings", &[]),
    ("metrics", &[]),
    ("backoff", &[]),
];

/// The longest file, in lines.
const MAX_LINES: usize = 400;

/// One breach of the rules.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

#[test]
fn nothing_imports_upwards() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    let imports: usize = sources.iter().map(|(file, text)| imports(file, text).len()).sum();
    assert!(imports > 100, "only {imports} imports were found");
    assert_none(sources.iter().flat_map(|(file, text)| upward_imports(file, text)));
}

#[test]
fn every_file_can_be_read_at_one_sitting() {
    let sources = [sources(), sources_below("crates")].concat();
    assert_none(sources.iter().filter_map(|(file, text)| too_long(file, text)));
}

#[test]
fn every_module_of_the_crate_has_its_place() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules: Vec<_> = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .map(|name| name.trim_end_matches(';'))
        .collect();
    for module in &modules {
        assert!(may_import(module).is_some(), "src/lib.rs: module {module} has no place in the architecture");
    }
    assert_eq!(modules.len() + 1, MAY_IMPORT.len(), "a module of the architecture is gone");
}

#[test]
fn the_check_finds_every_way_of_importing_upwards() {
    let text = r##"
//! use crate::gateway::Doc;
use crate::metrics::Metrics;
use crate::{
    metrics::{self, Code},
    session::Session, // a breach
};
/* use crate::cli; /* nested */ use crate::http; */
const TEXT: &str = "use crate::http::Text;";
const RAW: &str = r#"crate::http::"Raw""#;
const QUOTE: char = '"';
fn f<'a>(x: &'a str) -> crate::gateway::Gateway {
    super::super::cli::run()
}
mod inner {
    use super::super::super::http as _;
    use super::super::outbox;
    mod tests { use super::*; }
}
use super::outbox::Outbox;
use crate::socket::guard;
"##;
    let found = upward_imports("src/socket/driver.rs", text);
    let found: Vec<_> = found.iter().map(|breach| (breach.line, breach.what.as_str())).collect();
    assert_eq!(
        found,
        [
            (6, "socket must not import session"),
            (12, "socket must not import gateway"),
            (13, "socket must not import cli"),
            (16, "socket must not import http"),
        ]
    );
}

#[test]
fn the_check_knows_who_is_beside_whom() {
    for (file, import, is_breach) in [
        ("src/socket/mod.rs", "crate::broker::Broker", true),
        ("src/broker/redis/link.rs", "crate::socket::Outbox", true),
        ("src/auth/jwt.rs", "crate::settings::AuthSettings", false),
        ("src/metrics.rs", "crate::settings::Settings", true),
        ("src/gateway.rs", "crate::hub::Hubs", false),
        ("src/gateway.rs", "super::cli::Cli", true),
        ("src/main.rs", "emagine_gateway::cli::Cli", false),
        ("src/main.rs", "emagine_gateway::gateway::Gateway", true),
        ("src/hub/mod.rs", "super::session::Session", true),
        ("src/hub/drain.rs", "super::tell", false),
        ("src/hub/mod.rs", "crate::nowhere::Thing", true),
        ("src/cli/run.rs", "crate::*", true),
    ] {
        let breaches = upward_imports(file, &format!("use {import};"));
        assert_eq!(breaches.len(), usize::from(is_breach), "{file}: {import}: {breaches:?}");
    }
}

#[test]
fn the_check_finds_a_file_that_is_too_long() {
    assert_eq!(too_long("src/x.rs", &"\n".repeat(400)), None);
    assert!(too_long("src/x.rs", &"\n".repeat(401)).is_some());
}

#[track_caller]
fn assert_none(breaches: impl Iterator<Item = Breach>) {
    let breaches: Vec<_> = breaches.map(|breach| breach.to_string()).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every source file of the gateway.
fn sources() -> Vec<(String, String)> {
    sources_below("src")
}

/// Every source file below a folder, by its path from the repository's root.
fn sources_below(folder: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    files.sort();
    files
}

fn may_import(module: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT.iter().find(|(name, _)| *name == module).map(|(_, imports)| *imports)
}

/// The path of a file's module: `src/hub/mod.rs` is `[hub]`, `src/hub/drain.rs` is `[hub, drain]`.
fn module_of(file: &str) -> Vec<&str> {
    let path = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let mut parts: Vec<_> = path.split('/').collect();
    parts.pop_if(|last| matches!(*last, "mod" | "lib"));
    parts
}

fn upward_imports(file: &str, text: &str) -> Vec<Breach> {
    let Some(&own) = module_of(file).first() else {
        // The library's root names the modules and uses none.
        return Vec::new();
    };
    let allowed = may_import(own).unwrap_or_default();
    imports(file, text)
        .into_iter()
        .filter(|(_, module)| module != own && !allowed.contains(&module.as_str()))
        .map(|(line, module)| Breach {
            file: file.to_owned(),
            line,
            what: format!("{own} must not import {module}"),
        })
        .collect()
}

/// Which modules of the crate's root a file names, and in which line.
fn imports(file: &str, text: &str) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    // The binary's root is a crate of its own.
    let depth = if file == "src/main.rs" { 1 } else { module_of(file).len() };
    let mut found = Vec::new();
    let mut inline = Inline::default();
    let mut at = 0;
    while at < tokens.len() {
        inline.step(&tokens, at);
        let starts_path = at == 0 || tokens[at - 1].text != "::";
        let climbs = tokens[at..].iter().step_by(2).take_while(|token| token.text == "super").count();
        let is_path = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if starts_path && is_path && matches!(tokens[at].text.as_str(), "crate" | "emagine_gateway") {
            first_names(&tokens[at + 2..], &mut found);
        } else if starts_path && is_path && climbs > 0 {
            if climbs >= depth + inline.depth() {
                first_names(&tokens[at + 2 * climbs..], &mut found);
            }
            at += 2 * climbs - 1;
        }
        at += 1;
    }
    found
}

/// Which inline modules (`mod tests { … }`) surround the current token.
#[derive(Default)]
struct Inline {
    braces: usize,
    opened_at: Vec<usize>,
}

impl Inline {
    fn step(&mut self, tokens: &[Token], at: usize) {
        match tokens[at].text.as_str() {
            "{" => {
                if at >= 2 && tokens[at - 2].text == "mod" {
                    self.opened_at.push(self.braces);
                }
                self.braces += 1;
            }
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                self.opened_at.pop_if(|opened| *opened == self.braces);
            }
            _ => {}
        }
    }

    fn depth(&self) -> usize {
        self.opened_at.len()
    }
}

/// The names right behind `crate::`: one, or those of a group.
fn first_names(tokens: &[Token], found: &mut Vec<(usize, String)>) {
    let Some(first) = tokens.first() else { return };
    if first.text != "{" {
        return found.push((first.line, first.text.clone()));
    }
    let (mut depth, mut is_first) = (0, false);
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                is_first = depth == 1;
            }
            "}" => depth -= 1,
            "," => is_first = depth == 1,
            name => {
                if std::mem::take(&mut is_first) {
                    found.push((token.line, name.to_owned()));
                }
            }
        }
        if depth == 0 {
            return;
        }
    }
}

fn too_long(file: &str, text: &str) -> Option<Breach> {
    let lines = text.lines().count();
    let what = format!("{lines} lines are more than {MAX_LINES}");
    (lines > MAX_LINES).then(|| Breach { file: file.to_owned(), line: lines, what })
}

struct Token {
    line: usize,
    text: String,
}

/// The words and signs of a source text, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let (bytes, mut tokens, mut line, mut at) = (text.as_bytes(), Vec::new(), 1, 0);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => end_of_comment(bytes, at),
            b'"' => end_of_text(bytes, at),
            b'r' if is_raw_text(&bytes[at..]) => {
                let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
                let end = [b"\"", &b"#".repeat(hashes)[..]].concat();
                find(bytes, at + hashes + 2, &end) + end.len()
            }
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => find(bytes, at + 3, b"'") + 1,
            // A lifetime, unless a quote closes one character.
            b'\'' => {
                let character = text[at + 1..].chars().next().map_or(0, char::len_utf8);
                if bytes.get(at + 1 + character) == Some(&b'\'') { at + character + 2 } else { at + 1 }
            }
            b':' if bytes[at..].starts_with(b"::") => {
                tokens.push(Token { line, text: "::".to_owned() });
                at + 2
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                let length =
                    bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
                let end = at + length.count();
                tokens.push(Token { line, text: text[at..end].to_owned() });
                end
            }
            byte if byte.is_ascii_punctuation() => {
                tokens.push(Token { line, text: char::from(byte).to_string() });
                at + 1
            }
            _ => at + 1,
        };
        let end = end.min(bytes.len());
        line += bytes[at..end].iter().filter(|&&byte| byte == b'\n').count();
        at = end;
    }
    tokens
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].windows(what.len()).position(|window| window == what).map_or(bytes.len(), |at| from + at)
}

fn is_raw_text(bytes: &[u8]) -> bool {
    bytes[1..].iter().find(|&&byte| byte != b'#') == Some(&b'"')
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}
