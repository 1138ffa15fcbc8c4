//! Checks that the documentation agrees with the tests, the code, the metrics and the deployment files.
//!
//! - `book`: docs/SUMMARY.md lists every page, the index of docs/decisions.md every entry
//! - `compose`: docker-compose.yml and the files that it mounts
//! - `errors`: docs/errors.md lists every error, docs/protocol.md every soft error
//! - `links`: links and file names lead to existing files, lines are wrapped
//! - `metrics`: docs/operations/metrics.md, the dashboard and the alerts
//! - `reasons`: the values of the labels of metrics

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod book;
mod compose;
mod errors;
mod links;
mod metrics;
mod reasons;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

/// The sources of the gateway, its crates and its tests.
fn all_sources(root: &Path) -> String {
    let mut sources = String::new();
    for folder in ["tests", "src", "crates"] {
        collect(&root.join(folder), &mut sources);
    }
    sources
}

#[test]
fn every_test_named_by_contributing_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = all_sources(root);
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let is_test_name = |code: &&str| {
        code.matches('_').count() >= 3
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter(is_test_name).collect();
    assert!(named.len() > 10, "only {named:?}");
    for name in named {
        assert!(sources.contains(&format!("fn {name}()")), "there is no test {name}");
    }
}

#[test]
fn every_test_named_by_the_security_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = all_sources(root);
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let table = text.split("## Faults and their tests").nth(1).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 40, "only {} rows found", rows.len());
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "this row names no test: {row}");
        for name in names {
            assert!(sources.contains(&format!("#[test]\nfn {name}()")), "there is no test {name}");
        }
    }
}

#[test]
fn delivery_faults_and_their_tests_match() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    collect(&root.join("tests/it/delivery"), &mut sources);
    collect(&root.join("tests/it/cluster/exact_counts"), &mut sources);
    let text = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| {
            row.trim_end_matches(" |").rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2)
        })
        .collect();
    let lines: Vec<&str> = sources.lines().collect();
    let tests: BTreeSet<&str> = lines
        .windows(2)
        .filter(|pair| pair[0] == "#[test]")
        .map(|pair| pair[1].trim_start_matches("fn ").split('(').next().unwrap())
        .collect();
    assert!(tests.len() > 80, "only {} tests found", tests.len());
    assert_same(("docs/faults.md", &named), ("tests/it/delivery", &tests));
}

/// Asserts that two named sets are equal. A failure shows only the difference, because a set may have fifty elements.
#[track_caller]
fn assert_same<T: Ord + Debug>(one: (&str, &BTreeSet<T>), other: (&str, &BTreeSet<T>)) {
    let only_one: Vec<_> = one.1.difference(other.1).collect();
    let only_other: Vec<_> = other.1.difference(one.1).collect();
    assert!(
        only_one.is_empty() && only_other.is_empty(),
        "only in {}: {only_one:?}; only in {}: {only_other:?}",
        one.0,
        other.0
    );
}

/// Appends every source file below a folder to `text`, without indentation.
fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(&path).unwrap().lines() {
                text.push_str(line.trim());
                text.push('\n');
            }
        }
    }
}
