//! The contents of the book (docs/SUMMARY.md) list every page, and the index of the decisions every entry.
//!
//! `links` checks that each entry exists; `scripts/book` builds the book and checks its links.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The chapters of the book in their order, as paths from docs/.
fn chapters(summary: &str) -> Vec<&str> {
    summary.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect()
}

/// The Markdown pages in a folder of docs/ and below it, as paths from docs/.
fn pages(docs: &Path, folder: &str) -> BTreeSet<String> {
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(docs.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            pages.extend(self::pages(docs, &format!("{name}/")));
        } else if name.ends_with(".md") && name != "SUMMARY.md" {
            pages.insert(name);
        }
    }
    pages
}

#[test]
fn the_book_contains_every_page_of_docs_once() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut listed = BTreeSet::new();
    for chapter in chapters(&summary) {
        assert!(listed.insert(chapter.to_owned()), "docs/SUMMARY.md lists {chapter} twice");
    }
    let in_docs = listed.into_iter().filter(|chapter| !chapter.starts_with("../")).collect();
    crate::assert_same(("docs/SUMMARY.md", &in_docs), ("docs/", &pages(&docs, "")));
}

#[test]
fn the_index_lists_every_decision_once() {
    let page = include_str!("../../docs/decisions.md");
    let (entries, index) = page.split_once("\n## Index\n").unwrap();
    let mut entries: Vec<&str> = entries.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let rows = index.lines().filter_map(|line| line.split_once(" | [")?.1.split("](").next());
    let mut listed: Vec<&str> = rows.collect();
    assert!(entries.len() > 100, "only {} entries found", entries.len());
    entries.sort_unstable();
    listed.sort_unstable();
    assert_eq!(entries, listed);
}
