//! The exported metrics, docs/operations/metrics.md, the dashboard and the alerts use the same names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use emagine_gateway::metrics::Metrics;
use serde_json::Value;

use super::assert_same;

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The name of every exported metric in a query; histograms without `_bucket`.
fn exported_metrics() -> BTreeSet<String> {
    let text = exposition();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect()
}

/// Every exported metric with each of its labels, without the `le` of histograms.
pub(crate) fn exported_labels() -> BTreeSet<(String, String)> {
    let text = exposition();
    let samples = text.lines().filter_map(|line| line.rsplit_once('}')?.0.split_once('{'));
    let labels = samples.flat_map(|(name, labels)| {
        labels.split(',').map(move |label| (name.to_owned(), label.split('=').next().unwrap().to_owned()))
    });
    labels.filter(|(_, label)| label != "le").collect()
}

/// The values of these labels on `/metrics` of a gateway that has just started, each with its metric.
pub(crate) fn exported_values(labels: &[&str]) -> BTreeSet<(String, String)> {
    let text = exposition();
    let samples = text.lines().filter_map(|line| line.rsplit_once('}')?.0.split_once('{'));
    let pairs = samples.filter_map(|(name, label)| Some((name, label.split_once('=')?)));
    pairs
        .filter(|(_, (label, _))| labels.contains(label))
        .map(|(name, (_, value))| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// `/metrics` of a gateway that has just started.
fn exposition() -> String {
    Metrics::default().render()
}

/// Every metric name in a text.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
    let begins = ["gateway_", "process_"].into_iter().flat_map(|prefix| text.match_indices(prefix));
    begins
        .map(|(at, _)| at)
        .filter(|at| !text[..*at].ends_with(is_part))
        .map(|at| text[at..].split(|character| !is_part(character)).next().unwrap())
        .map(|name| name.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// The values of `key` in all its lines.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let lines = yaml.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix(key)?.strip_prefix(": ")
    });
    lines.collect()
}

#[test]
fn metrics_page_explains_exactly_the_exported_metrics() {
    let calls = |path, call| read(path).split_whitespace().collect::<String>().matches(call).count();
    let registered = calls("src/metrics/page.rs", "all.register") + calls("src/metrics/process.rs", "add(\"");
    let exported = exported_metrics();
    assert_eq!(exported.len(), registered, "a name is used twice, or a labelled counter has no values");
    let page = read("docs/operations/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let first_columns: String = rows.map(|row| row.split(" | ").next().unwrap()).collect();
    assert_same(("docs/operations/metrics.md", &metric_names(&first_columns)), ("/metrics", &exported));
    let labels: BTreeSet<(String, String)> = first_columns
        .split('`')
        .filter_map(|code| code.strip_suffix('}')?.split_once('{'))
        .flat_map(|(name, labels)| labels.split(',').map(move |label| (name.to_owned(), label.to_owned())))
        .collect();
    assert_same(("docs/operations/metrics.md", &labels), ("/metrics", &exported_labels()));
}

#[test]
fn dashboard_and_alerts_use_only_exported_metrics() {
    let exported = exported_metrics();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/gateway.json")).unwrap();
    for file in [
        "deploy/grafana/gateway.json",
        "deploy/prometheus/gateway.rules.yml",
        "deploy/prometheus/gateway.test.yml",
    ] {
        let names = metric_names(&read(file));
        assert!(names.len() > 15, "{file}: only {names:?}");
        let rules = read("deploy/prometheus/gateway.rules.yml");
        let recorded: BTreeSet<_> = values(&rules, "record").into_iter().map(str::to_owned).collect();
        let unknown: Vec<_> = names.difference(&exported).filter(|name| !recorded.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let shown: BTreeSet<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .flat_map(|target| metric_names(target["expr"].as_str().unwrap()))
        .collect();
    assert_same(("the dashboard", &shown), ("/metrics", &exported));
}

#[test]
fn every_alert_has_tests_and_a_runbook_entry() {
    let (rules, tests) =
        (read("deploy/prometheus/gateway.rules.yml"), read("deploy/prometheus/gateway.test.yml"));
    let page = read("docs/operations/alerts.md");
    let alerts = values(&rules, "alert");
    assert!(alerts.len() > 15, "only {alerts:?}");
    let runbooks = values(&rules, "runbook_url");
    let docs = "https://docs.example.com/emagine-gateway/operations/alerts.md";
    let expected: Vec<_> = alerts.iter().map(|alert| format!("{docs}#{}", alert.to_lowercase())).collect();
    assert_eq!(runbooks, expected);
    let entries: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## Gateway")).collect();
    let named: Vec<_> = alerts.iter().map(|alert| alert.strip_prefix("Gateway").unwrap()).collect();
    assert_eq!(entries, named, "docs/operations/alerts.md has an entry for each alert, in their order");
    for alert in &alerts {
        for kind in ["fires", "is silent"] {
            assert!(tests.contains(&format!("- name: {alert} {kind}\n")), "no test: {alert} {kind}");
        }
    }
    let dashboard = read("deploy/grafana/gateway.json");
    for word in dashboard.split(|character: char| !character.is_ascii_alphanumeric()) {
        let is_alert = word.starts_with("Gateway") && word.len() > "Gateway".len();
        assert!(!is_alert || alerts.contains(&word), "the dashboard names {word}");
    }
}

/// An alert on a label value that the source never uses would never fire.
#[test]
fn alerts_match_only_label_values_that_the_source_uses() {
    let mut sources = String::new();
    super::collect(&root().join("src"), &mut sources);
    super::collect(&root().join("crates"), &mut sources);
    let rules = read("deploy/prometheus/gateway.rules.yml");
    let mut checked = 0;
    for label in ["reason=~", "reason!~", "reason=", "reason!=", "result=", "result!=", "code=", "route=~"] {
        for (at, _) in rules.match_indices(&format!("{label}\"")) {
            let values = rules[at + label.len() + 1..].split('"').next().unwrap();
            for value in values.split('|') {
                let beginning = value.trim_end_matches(".*");
                let literals = [format!("\"{beginning}"), format!("({beginning}, \"")];
                let is_used = literals.iter().any(|literal| sources.contains(literal));
                assert!(is_used, "the source never uses {label}{value}");
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "only {checked} were found");
}

/// A counter whose first sample is 1 hides the first incident from `increase`.
#[test]
fn labelled_counters_start_at_zero_for_every_value() {
    let text = exposition();
    let has = |sample: &str| assert!(text.lines().any(|line| line == format!("{sample} 0")), "no {sample}");
    let page = read("docs/operations/metrics.md");
    let table = page.split("\n| metric | `reason` or `result` |\n").nth(1).unwrap();
    for row in table.lines().skip(1).take_while(|line| line.starts_with("| ")) {
        let mut codes = row.split('`').skip(1).step_by(2);
        let metric = codes.next().unwrap();
        let label = if page.contains(&format!("{metric}{{result}}`")) { "result" } else { "reason" };
        codes
            .filter(|code| !code.contains('.'))
            .for_each(|value| has(&format!("{metric}{{{label}=\"{value}\"}}")));
    }
    let protocol = read("docs/protocol.md");
    let closes = protocol.split("\n## Close codes\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let codes: Vec<_> =
        closes.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    let codes: Vec<u16> = codes.into_iter().filter_map(|code| code.parse().ok()).collect();
    assert!(codes.len() > 10, "only {codes:?}");
    let sent: Vec<u16> = protocol::close::CloseCode::ALL.into_iter().map(|code| code.code()).collect();
    assert_eq!(codes, sent, "docs/protocol.md has exactly the codes that are sent");
    codes.iter().for_each(|code| has(&format!("gateway_websocket_closes_total{{code=\"{code}\"}}")));
    let openapi: Value = serde_saphyr::from_str(&read("docs/openapi.yaml")).unwrap();
    let mut requests = BTreeSet::from([("other".to_owned(), "404".to_owned())]);
    for (route, methods) in openapi["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().values() {
            let statuses = method["responses"].as_object().into_iter().flat_map(|all| all.keys());
            requests.extend(statuses.map(|status| (route.clone(), status.clone())));
        }
    }
    let exported: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("gateway_admin_requests_total{route=\"")?.split_once("\",status=\"")
        })
        .map(|(route, status)| (route.to_owned(), status.split('"').next().unwrap().to_owned()))
        .collect();
    assert_same(("/metrics", &exported), ("docs/openapi.yaml", &requests));
}
