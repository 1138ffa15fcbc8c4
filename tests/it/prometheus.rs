//! A real Prometheus reads the page of metrics and evaluates the rules of `deploy/prometheus/`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http;

/// It starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Prometheus with the rules of the repository. Killed on drop.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Reads the metrics of one gateway each second.
    #[track_caller]
    fn watch(gateway: &TestGateway) -> Self {
        let folder = TempDir::new().unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/gateway.rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{rules}\"]\n\
             scrape_configs: [{{ job_name: gateway, static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
            gateway.admin
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup promtool installs Prometheus");
        let prometheus = Self { child, address: free, _folder: folder };
        eventually(PATIENCE, || std::net::TcpStream::connect(free).ok());
        prometheus
    }

    /// The answer's data; `None` while it has none.
    fn ask(&self, path: &str) -> Option<Value> {
        let head = format!("GET /api/v1/{path} HTTP/1.0\nconnection: close");
        let answer = http::request(self.address, &head, "");
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }

    /// The value of a query with one result.
    fn value(&self, query: &str) -> Option<String> {
        let data = self.ask(&format!("query?query={query}"))?;
        Some(data["result"][0]["value"][1].as_str()?.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_prometheus_reads_every_metric_and_can_evaluate_every_rule() {
    let gateway = TestGateway::spawn();
    let _client = gateway.ready("42");
    gateway.publish("user:42", "1");
    let prometheus = Prometheus::watch(&gateway);
    eventually(PATIENCE, || (prometheus.value("gateway_publications_delivered_total")? == "1").then_some(()));
    for (query, value) in [
        ("up%7Bjob=%22gateway%22%7D", "1"),
        ("gateway_connections", "1"),
        ("gateway_ready", "1"),
        ("gateway_identifies_total%7Breason=%22accepted%22%7D", "1"),
        ("gateway_probe_latency_seconds_count", "0"),
        ("gateway_build_info", "1"),
    ] {
        assert_eq!(prometheus.value(query).as_deref(), Some(value), "{query}");
    }
    // Each rule has been evaluated, without an error, and there is nothing to be told of a gateway that is well.
    let rules = eventually(PATIENCE, || {
        let groups = prometheus.ask("rules")?["groups"].as_array()?.clone();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert!(rules.len() > 15, "only {} rules were read", rules.len());
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
    }
}
