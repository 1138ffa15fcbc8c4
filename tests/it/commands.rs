//! Runs the commands that README and docs show, or lists them with the reason for not running them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::gateway::TestGateway;
use crate::support::process::run;
use crate::support::redis_server::RedisServer;

const PAGES: [(&str, &str); 13] = [
    ("README.md", include_str!("../../README.md")),
    ("clients/js/README.md", include_str!("../../clients/js/README.md")),
    ("docs/delivery.md", include_str!("../../docs/delivery.md")),
    ("docs/deploying.md", include_str!("../../docs/deploying.md")),
    ("docs/migrating.md", include_str!("../../docs/migrating.md")),
    ("docs/operations/alerts.md", include_str!("../../docs/operations/alerts.md")),
    ("docs/operations/console.md", include_str!("../../docs/operations/console.md")),
    ("docs/operations/metrics.md", include_str!("../../docs/operations/metrics.md")),
    ("docs/operations/redis.md", include_str!("../../docs/operations/redis.md")),
    ("docs/operations/running.md", include_str!("../../docs/operations/running.md")),
    ("docs/presence.md", include_str!("../../docs/presence.md")),
    ("docs/tokens.md", include_str!("../../docs/tokens.md")),
    ("docs/performance.md", include_str!("../../docs/performance.md")),
];

/// Beginnings of the commands that this test does not run, and the reasons.
const NOT_RUN: [(&str, &str); 11] = [
    ("cargo run --profile quick", "it never ends; a test below checks its settings"),
    ("make ", "the tests themselves, or ten minutes of work"),
    ("docker compose ", "scripts/compose-test runs it where a container engine exists"),
    ("old=$(docker compose ", "scripts/compose-test runs it where a container engine exists"),
    ("target/quick/emagine-gateway tail", "it never ends; tests/it/settings_cli.rs and others run it"),
    ("curl -N", "it never ends; a test below runs it"),
    ("redis-server --port 6379", "its port may be in use; every test starts its own server"),
    ("target/release/emagine-gateway bench", "ten thousand sockets; tests/it/bench.rs runs it with a few"),
    ("openssl genpkey", "tests/it/snippets.rs runs it in its own folder"),
    ("ssh -L 8081", "another machine"),
    ("redis-cli -p 26379 ACL", "sentinels; tests/it/deployments/failover.rs starts some"),
];

/// Lists the blocks of commands of a page. In docs/deploying.md they have no language.
fn blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    let commands = blocks.filter_map(|block| block.strip_prefix("sh\n").or_else(|| block.strip_prefix("\n")));
    commands.filter(|block| !block.trim().is_empty()).collect()
}

#[test]
fn the_commands_of_the_pages_work() {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    let mut run = 0;
    for (file, page) in PAGES {
        for block in blocks(page) {
            if NOT_RUN.iter().any(|(beginning, _)| block.starts_with(beginning)) {
                continue;
            }
            // Replaces the page's ports by those of this test.
            let program = block.replace("target/quick/", "").replace("target/release/", "");
            let functions = "redis-cli() { command redis-cli -p \"$REDIS_PORT\" -e \"$@\"; }\n\
                             emagine-gateway() { \"$GATEWAY\" --admin-addr \"$ADMIN\" \"$@\"; }\n";
            let output = Command::new("bash")
                .args(["-euc", &format!("{functions}{program}")])
                .env("REDIS_PORT", redis.port().to_string())
                .env("GATEWAY", env!("CARGO_BIN_EXE_emagine-gateway"))
                .env("ADMIN", gateway.admin.to_string())
                .output()
                .unwrap();
            let output_text =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{file}: {program}\n{output_text}");
            run += 1;
        }
    }
    assert_eq!(run, 13, "the number of command blocks changed: run new ones here, or list why not");
    for message in ["from a terminal", "from anywhere", "to everybody", "to these"] {
        client.expect_text(&format!(r#"{{"op":3,"message":{{"content": "{message}"}}}}"#));
    }
}

/// The command never ends, so this test ends it after the first message.
#[test]
fn the_readme_s_curl_reads_an_event_stream() {
    let gateway = TestGateway::spawn();
    let mut blocks = blocks(PAGES[0].1).into_iter();
    let command = blocks.find(|block| block.starts_with("curl -N")).unwrap();
    let command = command.trim().replace("127.0.0.1:8080", &gateway.public.to_string());
    let mut curl = Command::new("bash")
        .args(["-c", &format!("exec {command}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line == "event: ready").unwrap();
    gateway.publish("public:news", "{\"title\":\"x\"}");
    lines.find(|line| line == "event: message").unwrap();
    let data = r#"data: {"op":3,"channel":"public:news","message":{"title":"x"}}"#;
    assert_eq!(lines.next().as_deref(), Some(data));
    curl.kill().unwrap();
    curl.wait().unwrap();
}

#[test]
fn every_command_listed_as_not_run_is_documented() {
    let all: Vec<_> = PAGES.iter().flat_map(|(_, page)| blocks(page)).collect();
    for (beginning, _) in NOT_RUN {
        assert!(all.iter().any(|block| block.starts_with(beginning)), "{beginning}");
    }
}

/// Checks the settings in documented commands.
#[test]
fn settings_in_documented_commands_are_valid() {
    let mut checked = 0;
    for (file, page) in PAGES {
        for setting in page.split("--set ").skip(1) {
            let setting = setting.split([' ', '\n', '`', ')']).next().unwrap().replace('\'', "");
            if !setting.contains('=') {
                continue;
            }
            let ended = run(&["check", "--set", &setting]);
            assert_eq!(ended.code, Some(0), "{file}: {setting}: {}", ended.err);
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} settings were found");
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = include_str!("../../Makefile");
    let mut named = 0;
    for (file, page) in PAGES {
        let pieces = page.split(['`', '\n']).filter_map(|piece| piece.strip_prefix("make "));
        for target in pieces.map(|piece| piece.split([' ', '#']).next().unwrap()) {
            assert!(makefile.contains(&format!("\n{target}: ")), "{file}: there is no make {target}");
            named += 1;
        }
    }
    assert!(named > 8, "only {named} were found");
}
