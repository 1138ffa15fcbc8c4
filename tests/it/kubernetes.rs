//! Checks `deploy/kubernetes/` against the schemas of Kubernetes and the gateway's settings.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::snippets;
use crate::support::process::run_in;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/gateway.yaml");
const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/redis-cluster.yaml");

fn all() -> Vec<Value> {
    resources_of(FILE)
}

fn resources_of(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.split("\n---\n").skip(1).map(|resource| serde_saphyr::from_str(resource).unwrap()).collect()
}

/// Maps each kind to its first resource.
fn resources() -> HashMap<String, Value> {
    let mut resources = HashMap::new();
    for resource in all() {
        resources.entry(resource["kind"].as_str().unwrap().to_owned()).or_insert(resource);
    }
    resources
}

fn seconds(setting: &Value) -> u64 {
    setting.as_str().unwrap().trim_end_matches('s').parse().unwrap()
}

#[test]
fn every_resource_matches_the_kubernetes_schemas() {
    snippets::set_up();
    let validate = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/kubernetes-validate");
    let output = Command::new(validate).args(["--strict", FILE, CLUSTER]).output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output_text}");
    for resource in [
        "configmap/gateway-settings-1",
        "deployment/gateway",
        "service/gateway",
        "service/gateway-admin",
        "service/gateway-pods",
        "poddisruptionbudget/gateway",
        "horizontalpodautoscaler/gateway",
        "networkpolicy/gateway",
        "service/redis-cluster",
        "statefulset/redis-cluster",
        "job/redis-cluster-init",
        "poddisruptionbudget/redis-cluster",
        "networkpolicy/redis-cluster",
    ] {
        assert!(
            output_text.contains(&format!("passed for resource {resource} ")),
            "{resource}: {output_text}"
        );
    }
}

#[test]
fn the_gateway_accepts_the_settings() {
    let resources = resources();
    let folder = TempDir::new().unwrap();
    let mounts = &resources["Deployment"]["spec"]["template"]["spec"]["volumes"][0]["secret"]["items"];
    for (index, item) in mounts.as_array().unwrap().iter().enumerate() {
        // The format of `openssl rand -base64 36`.
        let secret = format!("{index}kq8yTqFz3mG0wJ5bD1hXvN7cR2sLpE9uA6iOtYxZ4gBfM\n");
        fs::write(folder.path().join(item["path"].as_str().unwrap()), secret).unwrap();
    }
    let mounted = "/etc/gateway/secrets";
    let here = folder.path().to_str().unwrap();
    let data = resources["ConfigMap"]["data"].as_object().unwrap();
    let environment: Vec<(String, String)> = data
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().replace(mounted, here)))
        .collect();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let checked = run_in(&["check"], &environment);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.out.contains("# profile: production"), "{}", checked.out);
    assert!(checked.out.contains("\napi_key = \"***\"\n"), "{}", checked.out);
}

#[test]
fn timeouts_and_ports_of_the_manifest_agree() {
    let resources = resources();
    let settings = &resources["ConfigMap"]["data"];
    let pod = &resources["Deployment"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    let drain = |key: &str| seconds(&settings[format!("GATEWAY__DRAIN__{key}")]);
    assert!(grace > drain("TIMEOUT"), "the kubelet would kill the pod during its drain");
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

/// Settings are read at the start, and Kubernetes restarts no pod after a change of a ConfigMap.
#[test]
fn a_changed_setting_restarts_the_pods() {
    let resources = resources();
    let settings = &resources["ConfigMap"];
    assert_eq!(settings["immutable"], true, "a changed ConfigMap needs a new name");
    let name = settings["metadata"]["name"].as_str().unwrap();
    assert!(name.strip_prefix("gateway-settings-").unwrap().parse::<u32>().is_ok(), "{name}");
    let container = &resources["Deployment"]["spec"]["template"]["spec"]["containers"][0];
    let sources = container["envFrom"].as_array().unwrap();
    assert_eq!((sources.len(), &sources[0]["configMapRef"]["name"]), (1, &settings["metadata"]["name"]));
}

#[test]
fn the_manifests_contain_no_secret() {
    let resources = [all(), resources_of(CLUSTER)].concat();
    assert!(resources.iter().all(|resource| resource["kind"] != "Secret"));
}

#[test]
fn the_redis_cluster_has_its_nodes_and_files() {
    let resources = resources_of(CLUSTER);
    let of_kind = |kind: &str| resources.iter().find(|resource| resource["kind"] == kind).unwrap();
    let (service, set, job) = (of_kind("Service"), of_kind("StatefulSet"), of_kind("Job"));
    assert_eq!(
        (&service["metadata"]["name"], &set["spec"]["serviceName"]),
        (&json!("redis-cluster"), &json!("redis-cluster"))
    );
    let nodes: Vec<_> = (0..set["spec"]["replicas"].as_u64().unwrap())
        .map(|number| format!("redis-cluster-{number}.redis-cluster"))
        .collect();
    let init = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(init["env"][0], json!({"name": "CLUSTER_NODES", "value": nodes.join(" ")}));
    let text = fs::read_to_string(CLUSTER).unwrap();
    assert!(text.contains(&format!("redis+cluster://{}", nodes[..3].join(","))), "the URL of the seeds");
    for file in ["redis.conf", "cluster.conf", "cluster-init", "redis-cli"] {
        let path = format!("deploy/redis/{file}");
        assert!(text.contains(&format!("--from-file={path}")), "{file}");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{file}");
    }
}

#[test]
fn each_pod_is_individually_addressable() {
    let all = all();
    let pods = all.iter().find(|resource| resource["metadata"]["name"] == "gateway-pods").unwrap();
    assert_eq!((&pods["kind"], &pods["spec"]["clusterIP"]), (&"Service".into(), &"None".into()));
    assert_eq!(pods["spec"]["publishNotReadyAddresses"], true, "draining pods are addressable too");
    assert_eq!(pods["spec"]["ports"][0]["port"], 8081);
}

/// 7 KiB for each socket (docs/performance.md), the outbound bytes of all sockets, and 256 MiB for everything else.
#[test]
fn the_bounds_of_a_pod_fit_into_its_memory() {
    let resources = resources();
    let setting = |key: &str| -> u64 {
        let text = &resources["ConfigMap"]["data"][format!("GATEWAY__SERVER__{key}")];
        text.as_str().unwrap().parse().unwrap()
    };
    let container = &resources["Deployment"]["spec"]["template"]["spec"]["containers"][0];
    let memory = container["resources"]["limits"]["memory"].as_str().unwrap();
    let memory: u64 = memory.strip_suffix("Gi").unwrap().parse::<u64>().unwrap() << 30;
    let needed = setting("MAX_CONNECTIONS") * 7 * 1024 + setting("MAX_OUTBOUND_BYTES") + (256 << 20);
    assert!(needed <= memory, "{needed} of {memory}");
}

/// One alert rule contains the expected number of replicas.
#[test]
fn the_alert_expects_the_minimum_number_of_replicas() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/gateway.rules.yml");
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(rules).unwrap()).unwrap();
    let least = &resources()["HorizontalPodAutoscaler"]["spec"]["minReplicas"];
    assert_eq!(rules["groups"][0]["rules"][0]["expr"], format!("vector({least})"));
}
