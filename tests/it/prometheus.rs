//! A real Prometheus scrapes the metrics and evaluates the rules of `deploy/prometheus/`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http;
use crate::support::redis_server::RedisServer;

/// Prometheus starts slowly on a busy machine, and an alert fires after up to a minute.
const PROMETHEUS_TIMEOUT: Duration = Duration::from_secs(150);

/// A Prometheus with the configuration and the rules of the repository. Killed on drop.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes these gateways.
    #[track_caller]
    fn start(gateways: &[&TestGateway]) -> Self {
        let folder = TempDir::new().unwrap();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
        let config = fs::read_to_string(format!("{shipped}/prometheus.yml")).unwrap();
        let mut config: Value = serde_saphyr::from_str(&config).unwrap();
        config["rule_files"] = json!([format!("{shipped}/gateway.rules.yml")]);
        // A file of targets replaces Docker's DNS. There is no load balancer.
        let [gateway, haproxy] = &mut config["scrape_configs"].as_array_mut().unwrap()[..] else {
            panic!("the configuration must have exactly these two jobs")
        };
        gateway.as_object_mut().unwrap().remove("dns_sd_configs").unwrap();
        gateway["file_sd_configs"] = json!([{"files": [folder.path().join("targets.json")]}]);
        haproxy["static_configs"] = json!([]);
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config.to_string()).unwrap();
        discover(&folder, gateways);
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/setup promtool installs Prometheus");
        let prometheus = Self { child, address: free, folder };
        eventually(PROMETHEUS_TIMEOUT, || std::net::TcpStream::connect(free).ok());
        prometheus
    }

    /// Replaces the discovered gateways.
    fn discover(&self, gateways: &[&TestGateway]) {
        discover(&self.folder, gateways);
    }

    /// Waits until an alert fires; returns its labels.
    fn wait_for_alert(&self, alert: &str) -> Value {
        eventually(PROMETHEUS_TIMEOUT, || {
            let alerts = self.query_api("alerts")?["alerts"].as_array()?.clone();
            let found = alerts.into_iter().find(|one| one["labels"]["alertname"] == alert)?;
            (found["state"] == "firing").then(|| found["labels"].clone())
        })
    }

    /// Queries the API; `None` while the answer has no data.
    fn query_api(&self, path: &str) -> Option<Value> {
        let head = format!("GET /api/v1/{path} HTTP/1.0\nconnection: close");
        let answer = http::request(self.address, &head, "");
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }

    /// Returns the value of a query with exactly one result.
    fn value(&self, query: &str) -> Option<String> {
        let data = self.query_api(&format!("query?query={query}"))?;
        Some(data["result"][0]["value"][1].as_str()?.to_owned())
    }
}

/// Replaces the file atomically, because Prometheus may read it at any time.
fn discover(folder: &TempDir, gateways: &[&TestGateway]) {
    let addresses: Vec<_> = gateways.iter().map(|gateway| gateway.admin.to_string()).collect();
    let file = folder.path().join("targets.json");
    fs::write(file.with_extension("new"), json!([{"targets": addresses}]).to_string()).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_reads_every_metric_and_evaluates_every_rule() {
    let [gateway, second, third] = [(); 3].map(|()| TestGateway::spawn());
    let mut client = gateway.ready_client("42");
    // The first publication may be held until the subscription is live; then its latency is not measured.
    for message in ["1", "2"] {
        gateway.publish("user:42", message);
        client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    }
    let prometheus = Prometheus::start(&[&gateway, &second, &third]);
    let own = |metric: &str| format!("{metric}%7Binstance=%22{}%22%7D", gateway.admin);
    let delivered = own("gateway_publications_delivered_total");
    eventually(PROMETHEUS_TIMEOUT, || (prometheus.value(&delivered)? == "2").then_some(()));
    eventually(PROMETHEUS_TIMEOUT, || (prometheus.value("sum(up)")? == "3").then_some(()));
    for (query, value) in [
        ("sum(up%7Bjob=%22gateway%22%7D)", "3"),
        ("sum(gateway_connections)", "1"),
        ("sum(gateway_ready)", "3"),
        ("sum(gateway_identifies_total%7Bresult=%22accepted%22%7D)", "1"),
        ("sum(gateway_admin_requests_total%7Broute=%22/v1/publish%22%7D)", "2"),
        ("sum(gateway_delivery_latency_seconds_count)%3E=bool%201", "1"),
        ("sum(gateway_probe_latency_seconds_count)", "0"),
        ("count(process_start_time_seconds)", "3"),
        ("sum(gateway_build_info)", "3"),
    ] {
        assert_eq!(prometheus.value(query).as_deref(), Some(value), "{query}");
    }
    // Every rule must evaluate without an error, and no alert may fire for healthy gateways. One alert fires until all
    // three are scraped.
    let rules = eventually(PROMETHEUS_TIMEOUT, || {
        let groups = prometheus.query_api("rules")?["groups"].as_array()?.clone();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
        let is_quiet = |rule: &Value| rule["type"] == "recording" || rule["state"] == "inactive";
        rules.iter().all(|rule| rule["health"] != "unknown" && is_quiet(rule)).then_some(rules)
    });
    assert!(rules.len() > 20, "only {} rules were read", rules.len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// Discovery drops a killed replica, which also ends its `up` series.
#[test]
fn a_killed_replica_fires_an_alert_although_discovery_drops_it() {
    let [first, second, third] = [(); 3].map(|()| TestGateway::spawn());
    let prometheus = Prometheus::start(&[&first, &second, &third]);
    eventually(PROMETHEUS_TIMEOUT, || (prometheus.value("sum(gateway_ready)")? == "3").then_some(()));
    first.signal("KILL");
    prometheus.discover(&[&second, &third]);
    assert_eq!(prometheus.wait_for_alert("GatewayDown")["instance"], first.admin.to_string());
    prometheus.wait_for_alert("GatewayReplicasMissing");
    second.signal("KILL");
    third.signal("KILL");
    prometheus.discover(&[]);
    prometheus.wait_for_alert("GatewayAllDown");
}

/// The counter is already 1 at the first scrape, so Prometheus sees no increase.
#[test]
fn the_first_gap_after_a_start_fires_an_alert() {
    let mut redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let prometheus = Prometheus::start(&[]);
    let _client = gateway.ready_client("42");
    redis.kill();
    gateway.wait_not_ready("redis");
    redis.restart();
    gateway.wait_metric_above(r#"gaps_total{reason="history_lost"}"#, 0);
    prometheus.discover(&[&gateway]);
    let labels = prometheus.wait_for_alert("GatewayGaps");
    assert_eq!(
        (&labels["instance"], &labels["reason"]),
        (&gateway.admin.to_string().into(), &"history_lost".into())
    );
}
