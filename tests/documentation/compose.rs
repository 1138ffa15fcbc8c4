//! What docker-compose.yml mounts is there, and where the images look for it; what asks a service asks one of the file's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// The mounts of a service: what is mounted, where, and how.
fn mounts<'a>(compose: &'a Value, service: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let mounts = texts(&compose["services"][service]["volumes"]).into_iter().map(|mount| {
        let mut parts = mount.splitn(3, ':');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(""))
    });
    mounts.collect()
}

/// The file of the repository that a service sees at `path`.
#[track_caller]
fn seen_at(compose: &Value, service: &str, path: &str) -> PathBuf {
    let found = mounts(compose, service).into_iter().find_map(|(source, target, _)| {
        let rest = Path::new(path).strip_prefix(target).ok()?;
        let source = root().join(source.strip_prefix("./")?);
        Some(if rest == Path::new("") { source } else { source.join(rest) })
    });
    let file = found.unwrap_or_else(|| panic!("{service} has nothing at {path}"));
    assert!(file.exists(), "{service}: {path} is to be {}", file.display());
    file
}

#[test]
fn everything_that_is_mounted_exists_and_only_volumes_are_written() {
    let compose = yaml("docker-compose.yml");
    let mut files = 0;
    for service in compose["services"].as_object().unwrap().keys() {
        for (source, target, how) in mounts(&compose, service) {
            assert!(target.starts_with('/'), "{service}: {target}");
            if let Some(path) = source.strip_prefix("./") {
                assert!(root().join(path).exists(), "{service}: {source} does not exist");
                assert_eq!(how, "ro", "{service}: {source}");
                files += 1;
            } else {
                assert!(compose["volumes"].get(source).is_some(), "{service}: no volume {source}");
            }
        }
    }
    assert!(files >= 4, "only {files} were found");
}

#[test]
fn prometheus_reads_its_configuration_and_rules_and_asks_every_replica() {
    let compose = yaml("docker-compose.yml");
    // Where the image looks, and where it writes.
    let config = seen_at(&compose, "prometheus", "/etc/prometheus/prometheus.yml");
    assert!(mounts(&compose, "prometheus").iter().any(|(_, target, _)| *target == "/prometheus"));
    let config: Value = serde_saphyr::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    let rules = texts(&config["rule_files"]);
    assert!(!rules.is_empty());
    for rules in rules {
        seen_at(&compose, "prometheus", &format!("/etc/prometheus/{rules}"));
    }
    let jobs = config["scrape_configs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1);
    // The alerts ask for this name.
    assert_eq!(jobs[0]["job_name"], "gateway");
    let discovery = &jobs[0]["dns_sd_configs"][0];
    for name in texts(&discovery["names"]) {
        let admin = &compose["services"][name]["environment"]["GATEWAY__SERVER__ADMIN_ADDR"];
        assert_eq!(*admin, format!("0.0.0.0:{}", discovery["port"]), "{name} is asked where it answers");
    }
}

#[test]
fn grafana_finds_its_data_and_its_dashboard() {
    let compose = yaml("docker-compose.yml");
    let read = |path: &str| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(seen_at(&compose, "grafana", path)).unwrap()).unwrap()
    };
    // Where the image looks.
    let sources = read("/etc/grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    let address = source["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (service, port) = address.split_once(':').unwrap();
    assert!(compose["services"][service].is_object(), "there is no service {service}");
    // Prometheus' own port.
    assert_eq!(port, "9090");
    let providers = read("/etc/grafana/provisioning/dashboards/gateway.yml");
    let folder = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let home = &compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(Path::new(home.as_str().unwrap()).parent(), Some(Path::new(folder)));
    let dashboard = fs::read_to_string(seen_at(&compose, "grafana", home.as_str().unwrap())).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut named = Vec::new();
    sources_of(&dashboard, &mut named);
    assert!(named.len() > 10, "only {} panels and queries name a source", named.len());
    // A variable, whose value is the first source of its kind.
    assert!(named.iter().all(|uid| *uid == "${datasource}"), "{named:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variable = variables.iter().find(|one| one["name"] == "datasource").unwrap();
    assert_eq!((&variable["type"], &variable["query"]), (&"datasource".into(), &source["type"]));
    assert_eq!(source["isDefault"], true);
}

/// Every `datasource.uid` of a dashboard.
fn sources_of<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.extend(value.get("datasource").and_then(|source| source.get("uid")));
    let items = value.as_object().into_iter().flat_map(|fields| fields.values());
    items.chain(value.as_array().into_iter().flatten()).for_each(|inner| sources_of(inner, found));
}

#[test]
fn monitoring_is_started_only_when_asked_for_and_reached_from_this_machine_only() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let is_monitoring = ["prometheus", "grafana"].contains(&name.as_str());
        assert_eq!(
            texts(&service["profiles"]),
            if is_monitoring { vec!["monitoring"] } else { vec![] },
            "{name}"
        );
        for port in texts(&service["ports"]) {
            assert_eq!(port.starts_with("127.0.0.1:"), is_monitoring, "{name}: {port}");
        }
        let needs = &service["depends_on"];
        let needs = needs.as_object().map(|all| all.keys().map(String::as_str).collect());
        for needed in needs.unwrap_or_else(|| texts(&service["depends_on"])) {
            assert!(compose["services"][needed].is_object(), "{name} needs {needed}");
        }
    }
}
