//! docker-compose.yml mounts existing files where the images read them, and its services refer to each other correctly.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// The mounts of a service: source, target and options.
fn mounts<'a>(compose: &'a Value, service: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let mounts = texts(&compose["services"][service]["volumes"]).into_iter().map(|mount| {
        let mut parts = mount.splitn(3, ':');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(""))
    });
    mounts.collect()
}

/// The file of the repository that is mounted in a service at `path`.
#[track_caller]
fn mounted_file(compose: &Value, service: &str, path: &str) -> PathBuf {
    let found = mounts(compose, service).into_iter().find_map(|(source, target, _)| {
        let rest = Path::new(path).strip_prefix(target).ok()?;
        let source = root().join(source.strip_prefix("./")?);
        Some(if rest == Path::new("") { source } else { source.join(rest) })
    });
    let file = found.unwrap_or_else(|| panic!("{service}: nothing is mounted at {path}"));
    assert!(file.exists(), "{service}: {}, which is mounted at {path}, does not exist", file.display());
    file
}

#[test]
fn mounted_files_exist_and_only_volumes_are_writable() {
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
    assert!(files >= 4, "only {files} mounted files found");
}

#[test]
fn prometheus_finds_its_configuration_and_scrapes_every_replica() {
    let compose = yaml("docker-compose.yml");
    // The image reads its configuration at the first path and writes to the second.
    let config = mounted_file(&compose, "prometheus", "/etc/prometheus/prometheus.yml");
    assert!(mounts(&compose, "prometheus").iter().any(|(_, target, _)| *target == "/prometheus"));
    let config: Value = serde_saphyr::from_str(&fs::read_to_string(config).unwrap()).unwrap();
    let rules = texts(&config["rule_files"]);
    assert!(!rules.is_empty());
    for rules in rules {
        mounted_file(&compose, "prometheus", &format!("/etc/prometheus/{rules}"));
    }
    let jobs = config["scrape_configs"].as_array().unwrap();
    // The alerts refer to these job names.
    assert_eq!(
        (jobs.len(), &jobs[0]["job_name"], &jobs[1]["job_name"]),
        (2, &"gateway".into(), &"haproxy".into())
    );
    let balancer = jobs[1]["static_configs"][0]["targets"][0].as_str().unwrap();
    let (service, port) = balancer.split_once(':').unwrap();
    assert!(compose["services"][service].is_object(), "there is no service {service}");
    let haproxy = fs::read_to_string(root().join("deploy/haproxy/haproxy.cfg")).unwrap();
    let monitoring = haproxy.split("\nfrontend monitoring\n").nth(1).unwrap();
    assert!(monitoring.contains(&format!("bind :{port}\n")) && monitoring.contains("prometheus-exporter"));
    let discovery = &jobs[0]["dns_sd_configs"][0];
    for name in texts(&discovery["names"]) {
        let admin = &compose["services"][name]["environment"]["GATEWAY__SERVER__ADMIN_ADDR"];
        assert_eq!(
            *admin,
            format!("0.0.0.0:{}", discovery["port"]),
            "Prometheus scrapes {name} at another port than its admin port"
        );
    }
}

#[test]
fn grafana_finds_its_data_source_and_dashboard() {
    let compose = yaml("docker-compose.yml");
    let read = |path: &str| -> Value {
        serde_saphyr::from_str(&fs::read_to_string(mounted_file(&compose, "grafana", path)).unwrap()).unwrap()
    };
    // The image reads its provisioning files at these paths.
    let sources = read("/etc/grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    let address = source["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (service, port) = address.split_once(':').unwrap();
    assert!(compose["services"][service].is_object(), "there is no service {service}");
    // The port of Prometheus.
    assert_eq!(port, "9090");
    let providers = read("/etc/grafana/provisioning/dashboards/gateway.yml");
    let folder = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let home = &compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(Path::new(home.as_str().unwrap()).parent(), Some(Path::new(folder)));
    let dashboard = fs::read_to_string(mounted_file(&compose, "grafana", home.as_str().unwrap())).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut named = Vec::new();
    sources_of(&dashboard, &mut named);
    assert!(named.len() > 10, "only {} panels and queries name a data source", named.len());
    // The variable resolves to the first data source of its type.
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
fn profiles_are_optional_and_ports_bind_to_loopback() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let is_monitoring = ["prometheus", "grafana"].contains(&name.as_str());
        let profiles = match &**name {
            _ if is_monitoring => vec!["monitoring"],
            _ if name.starts_with("cluster-") => vec!["cluster"],
            _ if name.starts_with("chat") => vec!["chat"],
            _ => vec![],
        };
        assert_eq!(texts(&service["profiles"]), profiles, "{name}");
        for port in texts(&service["ports"]) {
            let is_local = is_monitoring || name == "chat";
            let address = if is_local { "127.0.0.1:" } else { "${GATEWAY_HTTP_BIND:-127.0.0.1}:" };
            assert!(port.starts_with(address), "{name}: {port}");
        }
        let needs = &service["depends_on"];
        let needs = needs.as_object().map(|all| all.keys().map(String::as_str).collect());
        for needed in needs.unwrap_or_else(|| texts(&service["depends_on"])) {
            assert!(
                compose["services"][needed].is_object(),
                "{name} depends on {needed}, which does not exist"
            );
        }
    }
}

#[test]
fn every_container_is_sandboxed_and_has_limits() {
    let compose = yaml("docker-compose.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{name}");
        assert!(
            service["logging"]["options"]["max-size"].is_string(),
            "{name}: the size of its log is not limited"
        );
        assert!(
            !service["environment"].to_string().contains("RUST_LOG"),
            "{name}: RUST_LOG would override log.level"
        );
    }
    for name in ["redis", "haproxy"] {
        assert!(compose["services"][name]["healthcheck"]["test"].is_array(), "{name}");
    }
}

/// The nodes of the Redis Cluster, their folders, and the script that makes a cluster of them.
#[test]
fn the_cluster_profile_names_the_same_nodes_everywhere() {
    let compose = yaml("docker-compose.yml");
    let services = compose["services"].as_object().unwrap();
    let init = services["cluster-init"]["environment"]["CLUSTER_NODES"].as_str().unwrap();
    let nodes: Vec<_> = init.split(' ').collect();
    assert_eq!(nodes.len(), 6, "{init}");
    mounted_file(&compose, "cluster-init", "/cluster-init");
    let folders = fs::read_to_string(root().join("deploy/compose/init")).unwrap();
    for node in &nodes {
        assert_eq!(services[*node]["hostname"], **node);
        mounted_file(&compose, node, "/usr/local/etc/redis/redis.conf");
        mounted_file(&compose, node, "/usr/local/etc/redis/cluster.conf");
        let number = node.strip_prefix("cluster-").unwrap();
        assert!(folders.contains(&format!(" {number}")), "init makes no folder for {node}");
    }
    let settings = fs::read_to_string(root().join("deploy/compose/cluster.env")).unwrap();
    let url = settings.lines().find_map(|line| line.strip_prefix("GATEWAY_BROKER_URL=")).unwrap();
    let seeds = url.strip_prefix("redis+cluster://").unwrap().split(',');
    assert!(seeds.map(|seed| seed.strip_suffix(":6379").unwrap()).eq(nodes[..3].iter().copied()), "{url}");
    for variable in settings.lines().filter(|line| line.starts_with("GATEWAY_")) {
        let name = variable.split('=').next().unwrap();
        let gateway = services["gateway"]["environment"].to_string();
        assert!(gateway.contains(&format!("${{{name}:-")), "the gateway does not read {name}");
    }
}

/// `docker compose exec redis redis-cli` runs the file directly, so a file without an interpreter does not start.
#[test]
fn every_executable_file_names_its_interpreter() {
    use std::os::unix::fs::PermissionsExt;
    let mut found = 0;
    for folder in ["scripts", "deploy/compose", "deploy/redis", ".ci"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0 || path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("#!/"), "{} does not begin with #!", path.display());
            found += 1;
        }
    }
    assert!(found >= 10, "only {found} executable files found");
}

/// A secret in a published file is not secret.
#[test]
fn no_secret_has_a_default() {
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    for (at, _) in text.match_indices("${") {
        let variable = text[at + 2..].split('}').next().unwrap();
        let is_secret = ["SECRET", "KEY", "PASSWORD"].iter().any(|word| variable.contains(word));
        assert!(!is_secret || variable.ends_with(":-"), "{variable}");
    }
    let gateway = &yaml("docker-compose.yml")["services"]["gateway"]["environment"];
    for key in ["AUTH__SECRET", "ADMIN__API_KEY", "BROKER__PASSWORD"] {
        assert!(gateway[format!("GATEWAY__{key}")].is_null(), "{key}");
        let file = gateway[format!("GATEWAY__{key}_FILE")].as_str().unwrap();
        let name = file.strip_prefix("/run/gateway/").unwrap();
        let init = fs::read_to_string(root().join("deploy/compose/init")).unwrap();
        assert!(init.contains(&format!("\nput {name} ")), "deploy/compose/init does not create {file}");
    }
}

/// The number of bytes of a size in the notation of Docker or Redis.
fn bytes(size: &str) -> u64 {
    let (number, unit) = size.split_at(size.find(|sign: char| !sign.is_ascii_digit()).unwrap());
    let shift =
        [("k", 10), ("m", 20), ("g", 30)].iter().find(|(letter, _)| unit.starts_with(letter)).unwrap().1;
    number.parse::<u64>().unwrap() << shift
}

/// The default of `${NAME:-default}`.
fn default_of(value: &Value) -> &str {
    value.as_str().unwrap().split_once(":-").unwrap().1.trim_end_matches('}')
}

/// Counts 7 KiB for each socket (docs/performance.md), the outbound bytes of all sockets, and 256 MiB for the rest.
#[test]
fn gateway_memory_bounds_fit_into_the_container() {
    let gateway = &yaml("docker-compose.yml")["services"]["gateway"];
    let number = |key: &str| -> u64 { default_of(&gateway["environment"][key]).parse().unwrap() };
    let sockets = number("GATEWAY__SERVER__MAX_CONNECTIONS");
    let needed = sockets * 7 * 1024 + number("GATEWAY__SERVER__MAX_OUTBOUND_BYTES") + (256 << 20);
    assert!(needed <= bytes(default_of(&gateway["mem_limit"])), "{needed}");
    let files: u64 = default_of(&gateway["ulimits"]["nofile"]).parse().unwrap();
    assert!(sockets <= files / 2, "fewer than two descriptors for each socket");
}

#[test]
fn redis_has_a_password_and_bounds_of_its_own() {
    let redis = &yaml("docker-compose.yml")["services"]["redis"];
    let config = fs::read_to_string(root().join("deploy/redis/redis.conf")).unwrap();
    let directive = |name: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not set")).to_owned()
    };
    assert_eq!(directive("maxmemory-policy"), "noeviction");
    assert_eq!(directive("include"), "/run/gateway/redis.conf");
    let defaults = fs::read_to_string(root().join("config/default.toml")).unwrap();
    let max_payload = defaults.lines().find_map(|line| line.strip_prefix("max_payload_bytes = ")).unwrap();
    let (max_payload, max_bulk) =
        (max_payload.parse::<u64>().unwrap(), bytes(&directive("proto-max-bulk-len")));
    assert!(max_payload < max_bulk && max_bulk < max_payload * 5 / 4, "{max_bulk} for {max_payload}");
    let limits = directive("client-output-buffer-limit pubsub");
    let hard = bytes(limits.split(' ').next().unwrap());
    assert!(
        hard > 10 * max_bulk,
        "one message could fill the output buffer, and Redis would disconnect the replica"
    );
    let command = texts(&redis["command"]);
    let maxmemory = command.iter().skip_while(|word| **word != "--maxmemory").nth(1).unwrap();
    let maxmemory = bytes(default_of(&Value::from(*maxmemory)));
    assert!(2 * maxmemory <= bytes(default_of(&redis["mem_limit"])), "{maxmemory}");
}

/// A refusal by one replica is final, because a retry would load the others.
#[test]
fn the_balancer_retries_no_refusal_and_bounds_each_source() {
    let config = fs::read_to_string(root().join("deploy/haproxy/haproxy.cfg")).unwrap();
    let retried = config.lines().find_map(|line| line.trim().strip_prefix("retry-on ")).unwrap();
    assert_eq!(retried, "conn-failure empty-response");
    let public = config.split("\nfrontend public\n").nth(1).unwrap().split("\nbackend ").next().unwrap();
    assert!(public.contains("http-request track-sc0 src,ipmask(32,64) table sources\n"));
    assert!(public.contains("status 429") && public.contains("sc_http_req_rate(0) gt"));
}

#[test]
fn compose_overrides_match_the_compose_file() {
    let compose = yaml("docker-compose.yml");
    let secrets = yaml("deploy/compose/docker-secrets.yml");
    let gateway = &secrets["services"]["gateway"];
    for name in texts(&gateway["secrets"]) {
        let file = secrets["secrets"][name]["file"].as_str().unwrap();
        assert!(file.contains("_FILE:?"), "{name} has no default: {file}");
        assert!(gateway["environment"].to_string().contains(&format!("\"/run/secrets/{name}\"")), "{name}");
    }
    for key in gateway["environment"].as_object().unwrap().keys() {
        assert!(compose["services"]["gateway"]["environment"][key].is_string(), "{key} overrides nothing");
    }
    let pinned = yaml("deploy/compose/pinned-images.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let is_ours = !service["build"].is_null() || service["profiles"] == json!(["monitoring"]);
        let image = pinned["services"][name]["image"].as_str();
        let tag = image.map(|image| image.split_once("@${").unwrap().0);
        assert!(is_ours || tag == service["image"].as_str(), "{name}: {image:?}");
    }
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    for base in bases {
        let context = &pinned["services"]["gateway"]["build"]["additional_contexts"][base];
        assert!(context.as_str().unwrap().starts_with(&format!("docker-image://{base}@${{")), "{base}");
    }
}
