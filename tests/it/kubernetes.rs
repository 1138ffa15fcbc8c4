//! `deploy/kubernetes/` is what Kubernetes and the gateway understand.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::snippets;
use crate::support::process::{Ended, run_in};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/gateway.yaml");

/// The resources by their kinds; of two of a kind the first.
fn resources() -> HashMap<String, Value> {
    let text = fs::read_to_string(FILE).unwrap();
    let mut resources = HashMap::new();
    for resource in text.split("\n---\n").skip(1) {
        let resource: Value = serde_saphyr::from_str(resource).unwrap();
        resources.entry(resource["kind"].as_str().unwrap().to_owned()).or_insert(resource);
    }
    resources
}

fn seconds(setting: &Value) -> u64 {
    setting.as_str().unwrap().trim_end_matches('s').parse().unwrap()
}

#[test]
fn every_resource_is_valid_by_the_schemas_of_kubernetes() {
    snippets::set_up();
    let validate = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/kubernetes-validate");
    let output = Command::new(validate).args(["--strict", FILE]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for kind in [
        "configmap",
        "secret",
        "deployment",
        "service",
        "poddisruptionbudget",
        "horizontalpodautoscaler",
        "networkpolicy",
    ] {
        assert!(said.contains(&format!("passed for resource {kind}/gateway ")), "{kind}: {said}");
    }
}

#[test]
fn the_gateway_accepts_the_settings_once_the_secrets_are_replaced() {
    let resources = resources();
    let secrets = resources["Secret"]["stringData"].as_object().unwrap();
    let placeholders = secrets.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()));
    let checked = check(&resources, &placeholders.collect());
    assert_eq!(checked.code, Some(78), "{}", checked.out);
    for key in ["auth.secret", "broker.password_file", "admin.api_key"] {
        let named = format!("{key} must not be a placeholder");
        assert!(checked.err.contains(&named), "{key}: {}", checked.err);
    }
    let real = secrets.keys().map(|name| (name.clone(), "0123456789abcdef0123456789abcdef".to_owned()));
    let checked = check(&resources, &real.collect());
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.out.contains("# profile: production"), "{}", checked.out);
}

/// What `check` says of the settings with these secrets.
fn check(resources: &HashMap<String, Value>, secrets: &HashMap<String, String>) -> Ended {
    let folder = TempDir::new().unwrap();
    for (name, text) in secrets {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let mounted = "/etc/gateway/secrets";
    let here = folder.path().to_str().unwrap();
    let key = secrets["admin-api-key"].clone();
    let data = resources["ConfigMap"]["data"].as_object().unwrap();
    let environment: Vec<(String, String)> = data
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().replace(mounted, here)))
        .chain([("GATEWAY__ADMIN__API_KEY".to_owned(), key)])
        .collect();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    run_in(&["check"], &environment)
}

#[test]
fn the_times_and_ports_of_the_parts_fit_together() {
    let resources = resources();
    let settings = &resources["ConfigMap"]["data"];
    let pod = &resources["Deployment"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let drain = |key: &str| seconds(&settings[format!("GATEWAY__DRAIN__{key}")]);
    assert!(grace > drain("TIMEOUT"), "the kubelet would kill it in its drain");
    let readiness = &container["readinessProbe"];
    let until_seen =
        readiness["periodSeconds"].as_u64().unwrap() + readiness["timeoutSeconds"].as_u64().unwrap();
    assert!(drain("DELAY") > until_seen);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(readiness["httpGet"]["path"], "/readyz");
    for (port, setting) in [(&container["ports"][0], "PUBLIC"), (&container["ports"][1], "ADMIN")] {
        let address = settings[format!("GATEWAY__SERVER__{setting}_ADDR")].as_str().unwrap();
        assert!(address.ends_with(&format!(":{}", port["containerPort"])), "{address}");
    }
    let most: u64 = settings["GATEWAY__SERVER__MAX_CONNECTIONS"].as_str().unwrap().parse().unwrap();
    let target =
        resources["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["target"]["averageValue"].clone();
    let target: u64 = target.as_str().unwrap().parse().unwrap();
    assert!(3 * target <= 2 * most, "two of three replicas must be able to carry all clients");
}
