//! Links of the documentation have a target, files that it names exist, and its lines are wrapped.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every Markdown page with its path.
fn pages() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, pages: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir()
                && !name.starts_with('.')
                && !["target", "node_modules", "corpus"].contains(&name)
            {
                collect(&path, pages);
            } else if name.ends_with(".md") {
                pages.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut pages = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut pages);
    pages.sort();
    pages
}

/// A page without its code blocks.
fn prose(page: &str) -> String {
    page.split("\n```").step_by(2).collect()
}

/// The anchors that GitHub generates for the headings of a page.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(page).lines().filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|&it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        let anchor: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
        let suffixed = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(suffixed).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// The targets of the links of a page.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let without_code: String = prose.split('`').step_by(2).collect();
    let targets = without_code.split("](").skip(1);
    targets.map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn links_lead_to_existing_pages_and_headings() {
    let mut checked = 0;
    for (file, page) in pages() {
        for link in links(&page).iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: the target of the link {link} does not exist", file.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&target).unwrap());
                assert!(
                    found.contains(anchor),
                    "{}: the target of the link {link} has no such heading",
                    file.display()
                );
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} links found");
}

/// Checks paths in code spans, such as `src/hub/`. Paths with a star, a brace or an ellipsis are patterns.
#[test]
fn every_file_that_a_page_names_exists() {
    const ROOTS: [&str; 10] = [
        "src/",
        "crates/",
        "tests/",
        "docs/",
        "deploy/",
        "scripts/",
        "config/",
        "examples/",
        "clients/",
        "fuzz/",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for (file, page) in pages() {
        let prose = prose(&page);
        for code in prose.split('`').skip(1).step_by(2) {
            let is_path = ROOTS.iter().any(|root| code.starts_with(root))
                && !code.contains([' ', '*', '{', '<', '…', '$']);
            if is_path {
                // The path is relative to the repository or to the page.
                let exists = root.join(code).exists() || file.with_file_name(code).exists();
                assert!(exists, "{}: the file {code} does not exist", file.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "only {checked} paths found");
}

#[test]
fn headings_become_anchors_as_on_github() {
    let page = "# A `b` c\n## What, now?\n## What, now?\n```sh\n# no heading\n```\n### x_y-z (1 & 2)\n";
    let expected = ["a-b-c", "what-now", "what-now-1", "x_y-z-1--2"].map(str::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
    assert_eq!(links("[a](b.md#c) `[d](e)` [f](#g)\n```\n[h](i)\n```\n"), ["b.md#c", "#g"]);
}

#[test]
fn prose_is_wrapped_at_100_columns() {
    for (file, page) in pages() {
        let mut is_code = false;
        for (index, line) in page.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            let may_be_longer = is_code || line.starts_with('|');
            let length = line.chars().count();
            assert!(
                may_be_longer || length <= 100,
                "{}:{} has {length} characters",
                file.display(),
                index + 1
            );
        }
    }
}
