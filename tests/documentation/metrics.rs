//! Metrics, the page that explains them, the dashboard and the alerts know the same names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use emagine_gateway::metrics::Metrics;
use serde_json::Value;

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every metric, by the name that a query uses; histograms without `_bucket`.
fn on_the_page() -> BTreeSet<String> {
    let page = page();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect()
}

/// Metrics with the labels that they have; `le` is every histogram's.
pub(crate) fn labels_on_the_page() -> BTreeSet<(String, String)> {
    let page = page();
    let samples = page.lines().filter_map(|line| line.rsplit_once('}')?.0.split_once('{'));
    let labels = samples.flat_map(|(name, labels)| {
        labels.split(',').map(move |label| (name.to_owned(), label.split('=').next().unwrap().to_owned()))
    });
    labels.filter(|(_, label)| label != "le").collect()
}

/// The page of a gateway that has just been started.
fn page() -> String {
    Metrics::default().render()
}

/// Every name of a metric in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '_';
    let begins = ["gateway_", "process_"].into_iter().flat_map(|prefix| text.match_indices(prefix));
    begins
        .map(|(at, _)| at)
        .filter(|at| !text[..*at].ends_with(is_part))
        .map(|at| text[at..].split(|character| !is_part(character)).next().unwrap())
        .map(|name| name.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// Whatever stands behind `key: ` on a line.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let lines = yaml.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix(key)?.strip_prefix(": ")
    });
    lines.collect()
}

#[test]
fn every_metric_is_explained_and_every_explained_one_exists() {
    let registered = |path| read(path).matches("all.register").count();
    let page = on_the_page();
    assert_eq!(page.len(), registered("src/metrics/page.rs") + registered("src/metrics/process.rs"));
    let operations = read("docs/operations.md");
    let section = operations.split("\n## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let first_columns: String = rows.map(|row| row.split(" | ").next().unwrap()).collect();
    assert_eq!(named(&first_columns), page);
    let labels: BTreeSet<(String, String)> = first_columns
        .split('`')
        .filter_map(|code| code.strip_suffix('}')?.split_once('{'))
        .flat_map(|(name, labels)| labels.split(',').map(move |label| (name.to_owned(), label.to_owned())))
        .collect();
    assert_eq!(labels, labels_on_the_page(), "a label is part of the contract");
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_exist() {
    let page = on_the_page();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/gateway.json")).unwrap();
    for file in [
        "deploy/grafana/gateway.json",
        "deploy/prometheus/gateway.rules.yml",
        "deploy/prometheus/gateway.test.yml",
    ] {
        let names = named(&read(file));
        assert!(names.len() > 15, "{file}: only {names:?}");
        let rules = read("deploy/prometheus/gateway.rules.yml");
        let recorded: BTreeSet<_> = values(&rules, "record").into_iter().map(str::to_owned).collect();
        let unknown: Vec<_> = names.difference(&page).filter(|name| !recorded.contains(*name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let shown: BTreeSet<_> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .flat_map(|target| named(target["expr"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, page, "the dashboard shows every metric");
}

#[test]
fn every_alert_has_a_test_and_an_entry_in_the_runbook() {
    let (rules, tests) =
        (read("deploy/prometheus/gateway.rules.yml"), read("deploy/prometheus/gateway.test.yml"));
    let operations = read("docs/operations.md");
    let alerts = values(&rules, "alert");
    assert!(alerts.len() > 15, "only {alerts:?}");
    let runbooks = values(&rules, "runbook_url");
    let docs = "https://docs.example.com/emagine-gateway/operations.md";
    let expected: Vec<_> = alerts.iter().map(|alert| format!("{docs}#{}", alert.to_lowercase())).collect();
    assert_eq!(runbooks, expected);
    let entries: Vec<_> = operations.lines().filter_map(|line| line.strip_prefix("### Gateway")).collect();
    let named: Vec<_> = alerts.iter().map(|alert| alert.strip_prefix("Gateway").unwrap()).collect();
    assert_eq!(entries, named, "docs/operations.md has an entry for each alert, in their order");
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

/// A rule that waits for a reason that nobody gives would be silent for ever.
#[test]
fn every_label_value_that_an_alert_asks_for_is_given_somewhere() {
    let mut sources = String::new();
    super::collect(&root().join("src"), &mut sources);
    super::collect(&root().join("crates"), &mut sources);
    let rules = read("deploy/prometheus/gateway.rules.yml");
    let mut asked = 0;
    for label in ["reason=~", "reason!~", "reason=", "reason!=", "result=", "result!=", "code=", "route=~"] {
        for (at, _) in rules.match_indices(&format!("{label}\"")) {
            let values = rules[at + label.len() + 1..].split('"').next().unwrap();
            for value in values.split('|') {
                let beginning = value.trim_end_matches(".*");
                let is_given = [format!("\"{beginning}"), format!("({beginning}, \"")];
                assert!(is_given.iter().any(|given| sources.contains(given)), "nobody gives {label}{value}");
                asked += 1;
            }
        }
    }
    assert!(asked > 15, "only {asked} were found");
}

/// A counter whose first sample is 1 hides the first incident from `increase`.
#[test]
fn every_labelled_counter_exists_at_zero_with_all_its_values() {
    let page = page();
    let has = |sample: &str| assert!(page.lines().any(|line| line == format!("{sample} 0")), "no {sample}");
    let operations = read("docs/operations.md");
    let table = operations.split("\n| metric | `reason` or `result` |\n").nth(1).unwrap();
    for row in table.lines().skip(1).take_while(|line| line.starts_with("| ")) {
        let mut codes = row.split('`').skip(1).step_by(2);
        let metric = codes.next().unwrap();
        let label = if operations.contains(&format!("{metric}{{result}}`")) { "result" } else { "reason" };
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
    assert_eq!(codes, sent, "the page has the codes that are sent, and no others");
    codes.iter().for_each(|code| has(&format!("gateway_websocket_closes_total{{code=\"{code}\"}}")));
    let openapi: Value = serde_saphyr::from_str(&read("docs/openapi.yaml")).unwrap();
    let mut requests = BTreeSet::from([("other".to_owned(), "404".to_owned())]);
    for (route, methods) in openapi["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().values() {
            let statuses = method["responses"].as_object().into_iter().flat_map(|all| all.keys());
            requests.extend(statuses.map(|status| (route.clone(), status.clone())));
        }
    }
    let on_page: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("gateway_admin_requests_total{route=\"")?.split_once("\",status=\"")
        })
        .map(|(route, status)| (route.to_owned(), status.split('"').next().unwrap().to_owned()))
        .collect();
    assert_eq!(on_page, requests);
}
