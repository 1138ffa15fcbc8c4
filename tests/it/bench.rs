//! The load generator: short runs of each scenario with few sockets. The counts must be exact; the speed does not
//! matter.

mod mistakes;
mod published;
mod replicas;

use std::path::Path;

use serde_json::Value;

#[cfg(target_os = "linux")]
use crate::support::deadline::eventually;
use crate::support::gateway::TestGateway;
use crate::support::process::{Ended, Process, run};
#[cfg(target_os = "linux")]
use crate::support::process::{SOON, command_of};
use crate::support::redis_server::RedisServer;

const SOCKETS: u64 = 24;

/// Runs a scenario with few sockets and further arguments.
fn bench(scenario: &str, further: &[&str]) -> Ended {
    let sockets = SOCKETS.to_string();
    let mut arguments = vec!["bench", scenario, "--sockets", &sockets];
    if !further.contains(&"--seconds") {
        arguments.extend(["--seconds", "0.5"]);
    }
    // A machine that runs all tests at once may stall for longer than the default probe timeout.
    arguments.extend(["--set", "broker.probe_timeout=10s"]);
    arguments.extend(further);
    run(&arguments)
}

/// Runs a scenario with `--json`; it must succeed.
#[track_caller]
fn report(scenario: &str, further: &[&str]) -> Value {
    read(scenario, &bench(scenario, &[further, &["--json"]].concat()))
}

/// Parses the printed report.
#[track_caller]
fn read(scenario: &str, ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{scenario}: {}{}", ended.out, ended.err);
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["scenario"], scenario);
    assert_eq!(report["arguments"]["sockets"], SOCKETS);
    assert!(report["saturated"].is_boolean() && report["warnings"].is_array(), "{report}");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    for server in [&report["gateway"], &report["baseline"]].into_iter().filter(|server| server.is_object()) {
        let generator = &server["generator"];
        assert!(generator["busiest_thread"].as_f64().unwrap() >= 0.0, "{report}");
        assert!(generator["late_p99_ms"].as_f64().unwrap() >= 0.0, "{report}");
    }
    report
}

/// Returns a figure, which must be a non-negative number.
#[track_caller]
fn figure(server: &Value, key: &str) -> f64 {
    let figure = server[key].as_f64().unwrap_or_else(|| panic!("no {key} in {server}"));
    assert!(figure >= 0.0, "{key} is {figure}");
    figure
}

/// Asserts that exactly the expected messages were delivered.
#[track_caller]
fn assert_exact(server: &Value) {
    let deliveries = figure(server, "deliveries");
    assert_eq!(deliveries, figure(server, "deliveries_expected"), "{server}");
    assert!(deliveries > 0.0);
}

#[track_caller]
fn assert_ordered(server: &Value, latency: &str) {
    let values = ["p50", "p99", "p99_9", "max"].map(|name| figure(server, &format!("{latency}_{name}_ms")));
    assert!(values.is_sorted() && values[3] > 0.0, "{latency}: {values:?}");
}

#[test]
fn signals_reach_every_other_socket_beside_messages() {
    let report = report("signal", &["--baseline", "--typists", "8", "--rate", "16"]);
    for server in [&report["gateway"], &report["baseline"]] {
        assert_eq!((figure(server, "signals"), figure(server, "delivered_percent")), (8.0, 100.0));
        figure(server, "cpu_us_per_delivery");
        ["latency", "message", "message_disturbed"].iter().for_each(|name| assert_ordered(server, name));
    }
}

#[test]
fn every_message_to_the_inbox_is_acknowledged_and_deleted() {
    let report = report("send", &["--baseline", "--redis", "--rate", "100"]);
    for server in [&report["gateway"], &report["baseline"]] {
        assert!(figure(server, "sends") == 50.0 && figure(server, "cpu_us_per_send") >= 0.0);
        assert_exact(server);
        assert_ordered(server, "latency");
    }
    assert!((0.0..=50.0).contains(&figure(&report["gateway"], "inbox_entries_max")));
}

#[test]
fn fanout_delivers_to_every_socket_as_the_baseline_does() {
    let report = report("fanout", &["--baseline", "--redis"]);
    for server in [&report["gateway"], &report["baseline"]] {
        assert_eq!(figure(server, "deliveries"), figure(server, "publications") * SOCKETS as f64);
        assert_exact(server);
        assert_ordered(server, "latency");
    }
    assert_eq!((&report["published_by"], &report["tokens"]), (&Value::from("Redis"), &Value::from("jwt")));
    assert!(figure(&report["gateway"], "redis_cpu_us_per_publication") > 0.0);
    let ratio = figure(&report["ratio_to_baseline"], "latency_p50_ms");
    let expected =
        figure(&report["gateway"], "latency_p50_ms") / figure(&report["baseline"], "latency_p50_ms");
    assert!((ratio - expected).abs() < 1e-6, "{ratio} {expected}");
}

#[cfg(target_os = "linux")]
#[test]
fn server_costs_are_read_from_the_kernel() {
    let report = report("fanout", &["--baseline"]);
    for server in [&report["gateway"], &report["baseline"]] {
        assert!(figure(server, "cpu_us_per_delivery") > 0.0);
        figure(server, "cpu_user_us_per_delivery");
        figure(server, "cpu_system_us_per_delivery");
        figure(server, "rss_bytes_per_connection");
    }
    assert!(figure(&report["ratio_to_baseline"], "cpu_us_per_delivery") > 0.0);
}

#[test]
fn an_open_loop_publishes_at_the_configured_rate() {
    let report = report("fanout", &["--rate", "40", "--threads", "2", "--message-bytes", "500"]);
    assert_eq!(figure(&report["gateway"], "publications"), 20.0);
    assert_eq!(figure(&report["gateway"], "deliveries"), 20.0 * SOCKETS as f64);
    assert_eq!(report["published_by"], "the admin port");
    assert!(report["baseline"].is_null() && report["ratio_to_baseline"].is_null());
}

#[test]
fn compressed_messages_are_counted_like_plain_ones() {
    assert_exact(&report("fanout", &["--deflate", "--in-flight", "3"])["gateway"]);
}

#[test]
fn channels_divide_the_sockets_or_give_each_several() {
    for (channels, receivers) in [("1", SOCKETS), ("4", SOCKETS / 4), ("100", 1)] {
        let report = report("fanout", &["--redis", "--baseline", "--channels", channels, "--in-flight", "3"]);
        for server in [&report["gateway"], &report["baseline"]] {
            assert_exact(server);
            assert_eq!(figure(server, "deliveries"), figure(server, "publications") * receivers as f64);
        }
    }
}

#[test]
fn a_fraction_of_the_capacity_is_published_after_a_trial() {
    let report = report("unicast", &["--capacity-share", "0.01", "--seconds", "1"]);
    let gateway = &report["gateway"];
    assert_exact(gateway);
    assert_ordered(gateway, "latency");
    let published = (figure(gateway, "capacity_per_second") * 0.01).round().max(1.0);
    assert_eq!(figure(gateway, "publications"), published);
}

#[test]
fn a_sweep_repeats_the_scenario_for_each_value() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("plot.svg");
    let plot = file.to_str().unwrap();
    for (sweep, argument, values) in [
        ("sockets=2,8", "sockets", [2, 8]),
        ("channels=1,50", "channels", [1, 50]),
        ("message-bytes=64,2000", "message_bytes", [64, 2_000]),
    ] {
        let ended = bench("fanout", &["--baseline", "--sweep", sweep, "--plot", plot, "--json"]);
        assert_eq!(ended.code, Some(0), "{sweep}: {}{}", ended.out, ended.err);
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(report["values"], Value::from(values.to_vec()));
        for (step, value) in values.iter().enumerate() {
            let step = &report["steps"][step];
            assert_eq!(step["arguments"][argument], *value);
            assert_exact(&step["gateway"]);
            assert_exact(&step["baseline"]);
        }
        let svg = std::fs::read_to_string(&file).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
    }
    let ended = bench("fanout", &["--baseline", "--sweep", "channels=1,50"]);
    for text in ["channels", "CPU per delivery, µs", "  baseline", "  ratio"] {
        assert!(ended.out.contains(text), "no {text} in {}", ended.out);
    }
}

#[test]
fn unicast_delivers_each_message_once() {
    let report = report("unicast", &["--redis", "--baseline", "--in-flight", "4"]);
    for server in [&report["gateway"], &report["baseline"]] {
        assert_eq!(figure(server, "deliveries"), figure(server, "publications"));
        assert_exact(server);
    }
}

#[test]
fn mixed_delivers_to_users_and_to_small_and_big_channels() {
    let report = report("mixed", &["--redis", "--baseline"]);
    assert_exact(&report["gateway"]);
    assert_exact(&report["baseline"]);
    assert!(figure(&report["gateway"], "deliveries") > figure(&report["gateway"], "publications"));
}

#[test]
fn connect_reports_the_time_to_ready_and_keeps_a_rate() {
    let report = report("connect", &["--baseline", "--redis", "--rate", "200"]);
    for key in ["redis_cpu_us_per_connection", "redis_bytes_per_connection"] {
        assert!(figure(&report["gateway"], key) > 0.0, "{key}");
    }
    for server in [&report["gateway"], &report["baseline"]] {
        assert_ordered(server, "connect");
        assert!(figure(server, "connects_per_second") > 0.0);
    }
}

#[test]
fn idle_answers_heartbeats() {
    let settings = ["--set", "session.heartbeat_interval=100ms"];
    let report = report("idle", &[&["--baseline", "--seconds", "2"], &settings[..]].concat());
    for server in [&report["gateway"], &report["baseline"]] {
        assert!(figure(server, "heartbeats") > 0.0);
        #[cfg(target_os = "linux")]
        for key in ["cpu_us_per_heartbeat", "cpu_us_per_second_without_sockets"] {
            figure(server, key);
        }
    }
}

#[test]
fn after_a_reconnect_storm_every_client_recovers_its_messages() {
    for broker in [&["--redis"][..], &[]] {
        let report = report("storm", &[broker, &["--baseline"]].concat());
        let gateway = &report["gateway"];
        assert_exact(gateway);
        assert_eq!(figure(gateway, "recovered"), SOCKETS as f64);
        assert_eq!(figure(gateway, "not_recovered"), 0.0);
        assert!(figure(gateway, "all_back_ms") > 0.0 && figure(gateway, "all_resumed_ms") > 0.0);
        assert_exact(&report["baseline"]);
    }
}

#[test]
fn waves_report_the_memory_before_and_after_them() {
    let gateway = &report("waves", &["--redis", "--in-flight", "16"])["gateway"];
    for key in ["rss_before", "rss_peak", "rss_after_wave_1", "rss_after_wave_8", "rss_after_to_before"] {
        assert!(figure(gateway, key) > 0.0, "{key}");
    }
}

#[test]
fn slow_readers_do_not_delay_other_clients() {
    let report = report("slow", &["--stalled", "10", "--rate", "50"]);
    let gateway = &report["gateway"];
    assert_exact(gateway);
    assert_eq!(figure(gateway, "stalled_readers"), 2.0);
    for latency in ["latency", "stalled", "afterwards"] {
        assert_ordered(gateway, latency);
    }
    figure(gateway, "queued_bytes");
}

#[test]
fn a_burst_reaches_every_client_and_delays_no_watcher() {
    let further = ["--redis", "--baseline", "--seconds", "1", "--burst-every", "0.4", "--threads", "2"];
    let report = report("burst", &further);
    assert_eq!(report["arguments"]["message_bytes"], 65_536);
    for server in [&report["gateway"], &report["baseline"]] {
        assert_exact(server);
        assert_eq!(figure(server, "deliveries"), 100.0);
        // Every fortieth of a hundred messages is a burst instead.
        assert_eq!(figure(server, "bursts"), 2.0);
        assert_eq!(figure(server, "burst_deliveries"), 2.0 * SOCKETS as f64);
        assert_ordered(server, "latency");
        assert_ordered(server, "disturbed");
        assert!(figure(server, "burst_p50_ms") <= figure(server, "burst_everywhere_ms"));
        assert!(server["delay_by_burst_max_ms"].is_number(), "{server}");
    }
    assert_ordered(&report["gateway"], "afterwards");
}

#[test]
fn a_running_gateway_can_be_measured() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let (process, sockets) = (std::process::id().to_string(), SOCKETS.to_string());
    let ended = gateway.command(&[
        "bench",
        "fanout",
        "--running",
        "--pid",
        &process,
        "--sockets",
        &sockets,
        "--seconds",
        "0.5",
        "--rate",
        "20",
        "--json",
    ]);
    let report = read("fanout", &ended);
    assert_exact(&report["gateway"]);
    assert_eq!((&report["published_by"], &report["tokens"]), (&"Redis".into(), &"insecure".into()));
}

#[test]
fn a_plot_is_drawn() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("plot.svg");
    let ended = bench("fanout", &["--rate", "20", "--baseline", "--plot", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for text in ["latency p99.9, ms", "deliveries expected", "ratio", "load generator (baseline)"] {
        assert!(ended.out.contains(text), "no {text} in {}", ended.out);
    }
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<polyline").count(), 3);
    for name in ["text", "polyline", "line", "rect"] {
        let (open, closed) = (svg.matches(&format!("<{name} ")).count(), svg.matches("/>").count());
        assert!(open > 0 && closed > 0, "{name}");
    }
    assert!(!svg.contains("NaN"), "{svg}");
}

#[test]
fn progress_is_written_without_a_terminal() {
    let mut bench = Process::start(&["bench", "fanout", "--sockets", "2", "--seconds", "600", "--json"], &[]);
    let line = bench.wait_for_stderr("gateway: publishing [");
    assert!(line.contains(" % 2 sockets, ") && line.ends_with(" deliveries"), "{line:?}");
    // It also stops its gateway.
    bench.signal("TERM");
    bench.wait();
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_also_stops_gateway_baseline_and_redis() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        // The baseline runs first, so both kinds of server are covered. Redis runs in both cases.
        for (further, server) in
            [(&["--baseline"][..], " bench baseline-server"), (&[], "emagine-gateway run ")]
        {
            let arguments = ["bench", "fanout", "--sockets", "2", "--seconds", "600", "--redis"];
            let mut bench = Process::start(&[&arguments[..], further].concat(), &[]);
            let children = eventually(SOON, || {
                let children = bench.children();
                let has = |name: &str| children.iter().any(|(_, command)| command.contains(name));
                (has(server) && has("redis-server")).then_some(children)
            });
            assert_eq!(children.len(), 2, "{children:?}");
            bench.signal(signal);
            let ended = bench.wait();
            assert_eq!((ended.code, ended.err.as_str()), (Some(code), ""), "{ended:?}");
            eventually(SOON, || children.iter().all(|(id, _)| command_of(*id).is_none()).then_some(()));
        }
    }
}

#[test]
fn publishing_by_http_is_compared_with_redis() {
    let further = ["--redis", "--publish-http", "--http-connections", "2", "--in-flight", "8"];
    let report = report("unicast", &further);
    assert_eq!(report["published_by"], "the admin port");
    assert_exact(&report["gateway"]);
    assert_exact(&report["baseline"]);
    assert!(report["gateway"]["cpu_us_beyond_redis"].is_number(), "{report}");
}

#[test]
fn a_cluster_is_compared_with_one_server() {
    for further in [&[][..], &["--durable"]] {
        let report = report("unicast", &[&["--redis-cluster", "2", "--rate", "100"], further].concat());
        assert_eq!(report["published_by"], "a Redis Cluster");
        for server in [&report["gateway"], &report["baseline"]] {
            assert_exact(server);
            assert!(figure(server, "publications_per_cpu_second") > 0.0);
        }
        assert!(report["ratio_to_baseline"]["publications_per_cpu_second"].is_number(), "{report}");
    }
}
