//! The values of the labels `reason` and `result` are the same in docs/operations/metrics.md and in the source.

use std::collections::BTreeSet;

use super::metrics::{exported_labels, read};

/// The source files that count each metric, and the text that precedes each value there.
const REASONS: [(&str, &[(&str, &str)]); 8] = [
    (
        "gateway_upgrades_refused_total",
        &[
            ("src/socket/limits.rs", "reason: "),
            ("src/socket/handshake.rs", "reason: "),
            ("src/session/admission.rs", "reason: "),
            ("src/socket/listener.rs", "upgrades_refused, "),
        ],
    ),
    (
        "gateway_identifies_total",
        &[
            ("src/auth/error.rs", "=> "),
            ("src/session/authenticate.rs", "|_| "),
            ("src/session/authenticate.rs", "OverLimit, "),
        ],
    ),
    (
        "gateway_publications_dropped_total",
        &[
            ("crates/protocol/src/publication.rs", "=> "),
            ("src/broker/link/core.rs", "publications_dropped, "),
            ("src/broker/link/hubs.rs", "publications_dropped, "),
            ("src/broker/redis/receive.rs", "publications_dropped, "),
            ("src/broker/redis/receive.rs", "drop_payload("),
            ("src/hub/core.rs", "count_many(dropped, "),
        ],
    ),
    ("gateway_rejected_total", &[("src/broker/redis/rejected.rs", ".count(")]),
    ("gateway_redis_link_losses_total", &[("src/broker/redis/link_error.rs", "=> ")]),
    ("gateway_gaps_total", &[("crates/protocol/src/event.rs", "GapReason")]),
    ("gateway_admin_refused_total", &[("src/http/key.rs", "=> ")]),
    (
        "gateway_recoveries_total",
        &[
            ("src/broker/recovery.rs", "=> "),
            ("src/hub/core/resume.rs", "Some("),
            ("src/hub/core/resume.rs", "not_recovered(cut, "),
        ],
    ),
];

/// The string literals that follow `prefix` in a source, without its tests.
fn literals(source: &str, prefix: &str) -> BTreeSet<String> {
    let source = source.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    // For an enum, its second list of labels has the reasons.
    let (source, prefix) = match source.split_once(&format!("pub enum {prefix} {{")) {
        Some((_, rest)) => (rest.split("\n}\n\nimpl ").nth(1).unwrap().split("\n}\n").next().unwrap(), "=> "),
        None => (source, prefix),
    };
    let prefix = format!("{prefix}\"");
    let words = source.split(&prefix).skip(1).map(|rest| rest.split('"').next().unwrap());
    let is_word =
        |word: &&str| word.chars().all(|character| character.is_ascii_lowercase() || character == '_');
    words.filter(is_word).map(str::to_owned).collect()
}

#[test]
fn metrics_page_explains_exactly_the_counted_reasons() {
    let page = read("docs/operations/metrics.md");
    let table = page.split("\n| metric | `reason` or `result` |\n").nth(1).unwrap();
    let rows: Vec<_> = table.lines().skip(1).take_while(|line| line.starts_with("| ")).collect();
    let is_reason = |label: &str| ["reason", "result"].contains(&label);
    let labelled = exported_labels().into_iter().filter(|(_, label)| is_reason(label)).map(|(name, _)| name);
    let listed = rows.iter().map(|row| row.split('`').nth(1).unwrap().to_owned());
    assert_eq!(listed.collect::<BTreeSet<_>>(), labelled.collect());
    for (row, (metric, sources)) in rows.iter().zip(REASONS) {
        let mut codes = row.split('`').skip(1).step_by(2);
        assert_eq!(codes.next(), Some(metric));
        let explained: BTreeSet<String> =
            codes.filter(|code| !code.contains('.')).map(str::to_owned).collect();
        let counted = sources.iter().flat_map(|(file, prefix)| {
            let found = literals(&read(file), prefix);
            assert!(!found.is_empty(), "{file} has no literal after {prefix:?}");
            found
        });
        assert_eq!(explained, counted.collect(), "{metric}");
    }
}
