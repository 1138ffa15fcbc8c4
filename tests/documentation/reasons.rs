//! The values of the labels `reason` and `result` are the same in docs/operations/metrics.md and on `/metrics`.

use std::collections::BTreeSet;

use super::assert_same;
use super::metrics::{exported_values, read};

/// The files that refuse upgrades, and the text that precedes each reason there. Only these reasons are texts; all other
/// values are enums.
const UPGRADE_REFUSALS: [(&str, &str); 5] = [
    ("src/socket/limits.rs", "reason: "),
    ("src/socket/handshake.rs", "reason: "),
    ("src/session/admission.rs", "reason: "),
    ("src/session/event_request.rs", "reason: "),
    ("src/socket/request.rs", "reason: "),
];

/// The string literals that follow `prefix` in a source, without its tests.
fn literals(source: &str, prefix: &str) -> BTreeSet<String> {
    let source = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let prefix = format!("{prefix}\"");
    source.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn metrics_page_explains_exactly_the_exported_values() {
    let page = read("docs/operations/metrics.md");
    let table = page.split("\n| metric | `reason` or `result` |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with("| "));
    let explained: BTreeSet<(String, String)> = rows
        .flat_map(|row| {
            let mut codes = row.split('`').skip(1).step_by(2);
            let metric = codes.next().unwrap();
            codes.filter(|code| !code.contains('.')).map(move |value| (metric.to_owned(), value.to_owned()))
        })
        .collect();
    let exported = exported_values(&["reason", "result"]);
    assert_same(("docs/operations/metrics.md", &explained), ("/metrics", &exported));
}

#[test]
fn every_refused_upgrade_has_an_exported_reason() {
    let used = UPGRADE_REFUSALS.iter().flat_map(|(file, prefix)| {
        let found = literals(&read(file), prefix);
        assert!(!found.is_empty(), "{file} has no literal after {prefix:?}");
        found
    });
    let exported = exported_values(&["reason"]).into_iter();
    let exported = exported.filter(|(metric, _)| metric == "gateway_upgrades_refused_total");
    let exported = exported.map(|(_, value)| value).collect();
    assert_same(("the sources", &used.collect()), ("/metrics", &exported));
}
