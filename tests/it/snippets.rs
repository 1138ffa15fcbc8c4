//! The programs of docs/publishing.md and docs/tokens.md do what the pages say, against a real gateway and a real
//! Redis.

use std::process::Command;
use std::sync::Once;

use crate::support::client::Client;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

#[path = "../../examples/publish.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a program; only its main part is called")]
mod publish;

const PAGE: &str = include_str!("../../docs/publishing.md");
const TOKENS: &str = include_str!("../../docs/tokens.md");
const KEY: &str = "the-key-of-the-admin-api";

/// Returns the only program in the section with this title.
#[track_caller]
fn program(title: &str) -> &'static str {
    program_of(PAGE, title)
}

#[track_caller]
pub(crate) fn program_of(page: &'static str, title: &str) -> &'static str {
    let section = page.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let programs: Vec<_> = section.split("\n```").skip(1).step_by(2).collect();
    assert_eq!(programs.len(), 1, "{title}");
    programs[0].split_once('\n').unwrap().1
}

/// Installs Python and Node packages in a folder below `target`.
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup");
        assert!(Command::new(script).arg("snippets").status().unwrap().success());
    });
}

/// The fields are in the order in which they are dropped.
struct SnippetTest {
    client: Client,
    gateway: TestGateway,
    redis: RedisServer,
}

impl SnippetTest {
    fn set() -> Self {
        let redis = RedisServer::start();
        let gateway = TestGateway::redis(&redis).with("admin.api_key", KEY).spawn();
        gateway.wait_ready();
        let mut client = gateway.connect_v2();
        client.identify("42");
        client.expect_ready();
        Self { redis, gateway, client }
    }

    /// Runs a program; returns its output.
    #[track_caller]
    fn run(&self, command: &[&str], program: &str) -> String {
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(program)
            .env("REDIS_URL", self.redis.url())
            .env("GATEWAY_URL", format!("http://{}", self.gateway.admin))
            .env("GATEWAY_KEY", KEY)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out.into_owned()
    }

    /// Asserts that exactly three messages arrived, with the printed positions.
    #[track_caller]
    fn assert_published(mut self, printed: Option<&str>) {
        for way in ["plain", "durable", "once"] {
            let frame = self.client.next_json();
            assert_eq!(frame["message"]["way"], way, "{frame}");
            let position = frame.get("position").map(|position| position.as_str().unwrap());
            assert_eq!(position.is_some(), way != "plain", "{frame}");
            if let (Some(position), Some(printed)) = (position, printed) {
                let times = if way == "once" { 2 } else { 1 };
                assert_eq!(printed.matches(position).count(), times, "{printed}");
            }
        }
        redis::cmd("PUBLISH").arg("gateway:all").arg("1").exec(&mut self.redis.client()).unwrap();
        assert_eq!(self.client.next_json()["channel"], "all", "no message may arrive twice");
    }
}

#[test]
fn the_shell_publishes_over_redis_and_over_http() {
    set_up();
    for title in ["Shell, over Redis", "Shell, over HTTP"] {
        let stage = SnippetTest::set();
        let printed = stage.run(&["bash", "-euc"], program(title));
        stage.assert_published(Some(&printed));
    }
}

#[test]
fn python_publishes() {
    set_up();
    let stage = SnippetTest::set();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/python");
    let printed = stage.run(&[python, "-c"], program("Python"));
    stage.assert_published(Some(&printed));
}

#[test]
fn node_publishes() {
    set_up();
    let stage = SnippetTest::set();
    let printed = stage.run(&[node(), "-e"], program("Node"));
    stage.assert_published(Some(&printed));
}

pub(crate) fn node() -> &'static str {
    // Where the system's Node is too old, scripts/setup installs one there.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/node/bin/node");
    if std::path::Path::new(own).exists() { own } else { "node" }
}

#[test]
fn tokens_of_every_documented_program_are_accepted() {
    set_up();
    let secret = "0123456789abcdef0123456789abcdef";
    for kind in ["jwt", "signed"] {
        let gateway = TestGateway::with("auth.kind", kind).with("auth.secret", secret).spawn();
        for (language, command) in [("Python", ["python3", "-c"]), ("Node", [node(), "-e"])] {
            let program = program_of(TOKENS, &format!("{kind} in {language}"));
            let token = printed(Command::new(command[0]).args([command[1], program]).env("SECRET", secret));
            assert_accepted(&gateway, &token, kind == "jwt");
        }
    }
}

#[test]
fn tokens_signed_with_a_documented_key_pair_are_accepted() {
    set_up();
    let es256 = program_of(TOKENS, "A key pair for jwt");
    let first = TOKENS.split('`').find(|code| code.starts_with("openssl genpkey -algorithm RSA")).unwrap();
    let rs256 = format!("{first}\n{}", es256.split_once('\n').unwrap().1);
    for (algorithm, commands) in [("ES256", es256), ("RS256", &rs256)] {
        let folder = tempfile::tempdir().unwrap();
        printed(Command::new("bash").args(["-euc", commands]).current_dir(folder.path()));
        let key = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let gateway = TestGateway::with("auth.kind", "jwt")
            .with("auth.public_key_file", &key("public.pem"))
            .with("auth.algorithms", algorithm)
            .spawn();
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/python");
        for (language, command) in [("Python", [python, "-c"]), ("Node", [node(), "-e"])] {
            let program = program_of(TOKENS, &format!("jwt with a private key in {language}"));
            let mut minting = Command::new(command[0]);
            minting.args([command[1], program]).env("ALGORITHM", algorithm);
            let token = printed(minting.env("PRIVATE_KEY_FILE", key("private.pem")));
            assert_accepted(&gateway, &token, true);
        }
    }
}

/// Runs a program, which must succeed; returns its output.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asserts that `token --check` and a socket accept this token for user 42.
#[track_caller]
fn assert_accepted(gateway: &TestGateway, token: &str, opens_rooms: bool) {
    let checked = gateway.command(&["token", "--check", token]);
    assert!(checked.out.starts_with("user: 42\n"), "{}{}", checked.out, checked.err);
    assert_eq!(checked.out.contains("channels: room:*\n"), opens_rooms, "{}", checked.out);
    let mut client = gateway.connect_v2();
    client.identify(token);
    client.expect_ready();
}

#[test]
fn a_checked_token_is_described_or_refused_with_advice() {
    let secret = "0123456789abcdef0123456789abcdef";
    let plan = |secret| TestGateway::with("auth.kind", "jwt").with("auth.secret", secret);
    let token = plan(secret).mint(&["--user", "42", "--channel", "room:*"]);
    let gateway = plan(secret).spawn();
    let good = gateway.command(&["token", "--check", &token]);
    assert_eq!(good.code, Some(0), "{}", good.err);
    assert!(good.out.starts_with("user: 42\nchannels: room:*\nexpires: in 3"), "{}", good.out);
    let other = plan("another secret, also of 32 bytes!").mint(&["--user", "42"]);
    for (token, reason) in [(other.as_str(), "bad_signature"), ("nonsense", "malformed")] {
        let bad = gateway.command(&["token", "--check", token]);
        assert_eq!(bad.code, Some(1), "{}", bad.out);
        assert!(bad.err.contains(reason) && !bad.err.contains(token), "{}", bad.err);
    }
}

#[test]
fn numsub_counts_the_replicas_of_a_user() {
    let stage = SnippetTest::set();
    let listening = |channel: &str| {
        let mut numsub = redis::cmd("PUBSUB");
        let (_, count): (String, u64) =
            numsub.arg("NUMSUB").arg(channel).query(&mut stage.redis.client()).unwrap();
        count
    };
    assert_eq!((listening("gateway:user:42"), listening("gateway:user:43")), (1, 0));
}

#[test]
fn rust_publishes() {
    let example = include_str!("../../examples/publish.rs").replace("pub(crate) fn", "fn");
    assert!(example.contains(program("Rust")), "examples/publish.rs differs from docs/publishing.md");
    let stage = SnippetTest::set();
    publish::publish(&stage.redis.url()).unwrap();
    stage.assert_published(None);
}
