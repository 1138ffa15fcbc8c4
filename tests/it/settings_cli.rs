//! The settings and the command line of the real binary.

use std::net::TcpListener;

use crate::support::gateway::TestGateway;
use crate::support::process::{run, run_in};

const EXIT_CONFIG: Option<i32> = Some(78);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Builds a `--set` argument for each of these settings.
fn set(settings: &[&str]) -> Vec<String> {
    settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect()
}

#[test]
fn check_prints_every_setting_and_masks_secrets() {
    let arguments = set(&[
        "auth.kind=jwt",
        &format!("auth.secret={SECRET}"),
        "admin.api_key=the-key-of-the-admin-api",
        "broker.url=redis://gateway:the-password@redis.example:6379/3",
    ]);
    let ended = run(&[&["check".to_owned()], &arguments[..]].concat());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    for line in [
        "# profile: development",
        r#"kind = "jwt""#,
        r#"secret = "***""#,
        r#"api_key = "***""#,
        r#"heartbeat_interval = "45s""#,
    ] {
        assert!(ended.out.lines().any(|found| found == line), "no line {line} in {}", ended.out);
    }
    for secret in [SECRET, "the-key-of-the-admin-api", "the-password"] {
        assert!(!ended.out.contains(secret), "{secret} is shown: {}", ended.out);
    }
}

#[test]
fn help_lists_settings_after_the_options_of_a_command() {
    for command in ["run", "check", "token", "publish", "tail", "health", "bench"] {
        let help = run(&[command, "--help"]).out;
        let (own, settings) = help.split_once("\nSettings:\n").unwrap_or_else(|| panic!("{command}: {help}"));
        let options: Vec<_> = settings.split_whitespace().filter(|word| word.starts_with("--")).collect();
        let expected = ["--profile", "--config", "--set", "--public-addr", "--admin-addr", "--broker-url"];
        assert!(expected.iter().all(|option| options.contains(option)), "{command}: {options:?}");
        assert!(options.len() == expected.len() && own.contains("--help"), "{command}: {help}");
    }
}

#[test]
fn settings_work_before_and_after_the_command_name() {
    let ended = run(&[
        "--set",
        "session.heartbeat_interval=7s",
        "--set",
        "server.workers=3",
        "check",
        "--set",
        "server.workers=4",
        "--public-addr",
        "127.0.0.1:7",
    ]);
    for line in [r#"heartbeat_interval = "7s""#, "workers = 4", r#"public_addr = "127.0.0.1:7""#] {
        assert!(ended.out.lines().any(|found| found == line), "no line {line} in {}{}", ended.out, ended.err);
    }
}

#[test]
fn check_prints_a_valid_settings_file() {
    let cluster =
        ["broker.url=rediss+cluster://h:1,i", "broker.shards=slots", "broker.ready_with_shards=any"];
    let checked = run(&set(&[&cluster[..], &["session.heartbeat_interval=7s"]].concat())
        .into_iter()
        .chain(["check".to_owned()])
        .collect::<Vec<_>>());
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, &checked.out).unwrap();
    let again = run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!((again.code, again.out), (Some(0), checked.out));
}

#[test]
fn a_wrong_setting_exits_with_78_before_binding_a_port() {
    // Binding this port would fail with another exit code.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (wrong, key) in [
        (&["session.heartbeat_intervall=1s"][..], "session.heartbeat_intervall"),
        (&["session.heartbeat_interval=1"], "session.heartbeat_interval"),
        (&["session.heartbeat_interval=1ms"], "session.heartbeat_interval"),
        (&["session.max_message_bytes=0"], "session.max_message_bytes"),
        (&["session.max_message_bytes=-1"], "session.max_message_bytes"),
        (&["server.workers=many"], "server.workers"),
        (&["server.public_addr=localhost:80"], "server.public_addr"),
        (&["server.admin_addr=8081"], "server.admin_addr"),
        (&["server.public_addr=127.0.0.1:9", "server.admin_addr=127.0.0.1:9"], "server.admin_addr"),
        (&["server.allowed_origins=https://a.example/path"], "server.allowed_origins"),
        (&["server.allow_missing_origin=maybe"], "server.allow_missing_origin"),
        (&["broker.url=http://redis"], "broker.url"),
        (&["broker.url=redis://"], "broker.url"),
        (&["broker.url=redis://127.0.0.1:99999"], "broker"),
        (&["broker.url=redis+sentinel://127.0.0.1:26379"], "broker.url"),
        (&["broker.url=redis+sentinel://127.0.0.1:26379/main/x"], "broker"),
        (&["broker.url=redis+cluster://127.0.0.1:7000/0"], "broker.url"),
        (&["broker.url=redis://127.0.0.1:7000", "broker.shards=slots"], "broker.shards"),
        (&["broker.url=unix://redis.sock"], "broker.url"),
        (&["broker.url=redis://h", "broker.username=me"], "broker.username"),
        (&["broker.url=redis://:a@h", "broker.password=b"], "broker.password"),
        (&["broker.url=redis://h", "broker.password_file=/nonexistent/password"], "broker.password_file"),
        (&["broker.url=redis://h", "broker.tls_ca_file=/nonexistent/ca"], "broker.tls_ca_file"),
        (&["broker.url=rediss://h", "broker.tls_cert_file=/nonexistent/cert"], "broker.tls_key_file"),
        (&["broker.prefix=a b"], "broker.prefix"),
        (&["broker.probe_timeout=1s", "broker.probe_interval=1s"], "broker.probe_timeout"),
        (&["broker.max_inbox_bytes=2048"], "broker.max_inbox_bytes"),
        (&["auth.kind=none"], "auth.kind"),
        (&["auth.kind=jwt"], "auth.secret"),
        (&["auth.kind=jwt", "auth.secret=short"], "auth.secret"),
        (&["auth.kind=jwt", "auth.secret_file=/nonexistent/secret"], "auth.secret_file"),
        (&["auth.kind=jwt", "auth.algorithms=RS256"], "auth.public_key_file"),
        (
            &["auth.kind=jwt", "auth.algorithms=RS256", "auth.public_key_file=/nonexistent/key"],
            "auth.public_key_file",
        ),
        (&["auth.kind=jwt", "auth.algorithms=none"], "auth.algorithms"),
        (&["auth.kind=signed"], "auth.secret"),
        (&["auth.kind=redis", "broker.url=memory:"], "auth.kind"),
        (&["auth.kind=introspection"], "auth.introspection_url"),
        (
            &["auth.kind=introspection", "auth.introspection_url=http://id.example.com/"],
            "auth.introspection_url",
        ),
        (
            &[
                "auth.kind=introspection",
                "auth.introspection_url=https://id.example.com/",
                "auth.introspection_client_id=gateway",
            ],
            "auth.introspection_client_id",
        ),
        (&["server.public_addr=0.0.0.0:9"], "auth.kind"),
        (&["drain.timeout=1s", "drain.window=2s"], "drain.timeout"),
        (&["channels.public_namespaces=user"], "channels.public_namespaces"),
        (&["namespaces.public.subscribe=token"], "namespaces.public.subscribe"),
        (&["namespaces.room.max_last=5", "namespaces.room.history_size=4"], "namespaces.room.max_last"),
        (&["namespaces.room.presence=count"], "namespaces.room.presence"),
        (&["namespaces.online.send=true"], "namespaces.online.send"),
        (&["namespaces.user.subscribe=public"], "namespaces.user.subscribe"),
        (&["log.level=loud"], "log.level"),
        (&["profile=production"], "profile"),
    ] {
        let addresses = [format!("server.public_addr={address}"), "server.admin_addr=127.0.0.1:0".to_owned()];
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let ended = run(&set(&[&addresses, wrong].concat()));
        assert_eq!(ended.code, EXIT_CONFIG, "{wrong:?}: {}", ended.err);
        let sentence = ended.err.strip_prefix("emagine-gateway: ").unwrap_or_else(|| panic!("{}", ended.err));
        assert!(sentence.contains(key), "the error for {wrong:?} does not name the setting: {sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert_eq!(ended.out, "");
        for word in ["os error", "u32", "usize", "invalid type", "expected", "BadUrl", "Some("] {
            assert!(!sentence.contains(word), "{word:?}: {sentence}");
        }
        // `check` prints the same.
        let check = [set(&[&addresses, wrong].concat()), vec!["check".to_owned()]].concat();
        let checked = run(&check);
        assert_eq!((checked.code, checked.err), (EXIT_CONFIG, ended.err), "{wrong:?}");
    }
}

#[test]
fn all_errors_are_reported_at_once_one_per_line() {
    let arguments = set(&["server.workers=2s", "session.max_fragments=0", "broker.url=redis://h:99999"]);
    let ended = run_in(
        &[arguments, vec!["check".to_owned()]].concat(),
        &[("GATEWAY_AUTH__SECRET", "x"), ("RUST_LOG", "loud")],
    );
    assert_eq!(ended.code, EXIT_CONFIG);
    let lines: Vec<_> = ended.err.lines().collect();
    for start in [
        "server.workers (from the command line) must be a whole number",
        "session.max_fragments must be 1 to 65536",
        "broker.url must have a port between 1 and 65535",
        "unknown environment variable GATEWAY_AUTH__SECRET; did you mean GATEWAY__AUTH__SECRET?",
        "RUST_LOG (from the environment) must be",
    ] {
        let begins = format!("emagine-gateway: {start}");
        assert!(lines.iter().any(|line| line.starts_with(&begins)), "{start}: {}", ended.err);
    }
    assert_eq!(lines.len(), 5, "{}", ended.err);
}

#[test]
fn a_variable_close_to_a_setting_causes_a_warning() {
    let warning =
        "the environment variable GATEWAY_BROKER_URL is not used; did you mean GATEWAY__BROKER__URL?";
    let checked = run_in(&["check"], &[("GATEWAY_BROKER_URL", "redis://h")]);
    assert_eq!((checked.code, checked.err), (Some(0), format!("emagine-gateway: warning: {warning}\n")));
    let mut gateway = TestGateway::plan().variable("GATEWAY_BROKER_URL", "redis://h").spawn();
    // The warning follows the line with the addresses.
    gateway.wait_for_log(warning);
    assert!(
        gateway.log().lines().any(|line| line.contains("WARN") && line.contains(warning)),
        "{}",
        gateway.log()
    );
}

#[test]
fn check_and_run_both_refuse_a_broken_certificate() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    let file = format!("broker.tls_ca_file={}", file.display());
    let arguments = set(&["server.public_addr=127.0.0.1:0", "broker.url=rediss://127.0.0.1:1", &file]);
    for command in ["run", "check"] {
        let ended = run(&[&arguments[..], &[command.to_owned()]].concat());
        assert_eq!(ended.code, EXIT_CONFIG, "{command}: {}", ended.err);
        assert!(ended.err.contains("broker.tls_ca_file"), "{command}: {}", ended.err);
    }
}

#[test]
fn a_wrong_setting_never_shows_a_secret() {
    for arguments in [
        set(&["broker.url=redis://user:the-password@"]),
        set(&["broker.url=redis://user:the-password@127.0.0.1:99999"]),
        set(&["broker.url=redis+sentinel://user:the-password@127.0.0.1"]),
        set(&["broker.url=redis+sentinel://user:the-password@127.0.0.1/main/x"]),
        set(&["broker.url=unix://redis.sock?pass=the-password"]),
        set(&["broker.password=the-password"]),
        set(&["broker.url=redis://h", "broker.sentinel_password=the-password"]),
        set(&["auth.kind=jwt", "auth.secret=the-password"]),
        set(&["admin.api_key=the-password with a space"]),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, EXIT_CONFIG, "{arguments:?}: {}", ended.err);
        assert!(!ended.err.contains("the-password"), "{}", ended.err);
    }
}

#[test]
fn the_environment_is_read_and_its_errors_are_named() {
    let good = run_in(&["check"], &[("GATEWAY__SESSION__HEARTBEAT_INTERVAL", "9s"), ("GATEWAY_PORT", "x")]);
    assert_eq!(good.code, Some(0), "{}", good.err);
    assert!(good.out.contains(r#"heartbeat_interval = "9s""#), "{}", good.out);
    for (name, value) in [
        ("GATEWAY__SESSION__HEARTBEAT", "9s"),
        ("GATEWAY__SESSION", "9s"),
        ("GATEWAY__SERVER__WORKERS", "many"),
        ("GATEWAY_PROFILE", "staging"),
    ] {
        let ended = run_in(&["check"], &[(name, value)]);
        assert_eq!(ended.code, EXIT_CONFIG, "{name}");
        let named = [name, "server.workers", "staging"].iter().any(|known| ended.err.contains(known));
        assert!(named && ended.err.lines().count() == 1, "{name}: {}", ended.err);
    }
    // A flag overrides the environment.
    let flags = run_in(
        &["check", "--set", "session.heartbeat_interval=8s"],
        &[("GATEWAY__SESSION__HEARTBEAT_INTERVAL", "9s")],
    );
    assert!(flags.out.contains(r#"heartbeat_interval = "8s""#), "{}", flags.out);
}

#[test]
fn production_refuses_development_settings() {
    let origins = "server.allowed_origins=https://app.example.com";
    for (settings, key) in [
        (&["auth.kind=insecure", origins][..], "auth.kind"),
        (&["auth.kind=insecure", origins, "server.public_addr=127.0.0.1:9"], "auth.kind"),
        (&["auth.kind=jwt", &format!("auth.secret={SECRET}")], "server.allowed_origins"),
        (&["auth.kind=jwt", origins], "auth.secret"),
        (
            &["auth.kind=jwt", origins, &format!("auth.secret={SECRET}"), "admin.api_key=short"],
            "admin.api_key",
        ),
    ] {
        let arguments = [&["--profile".to_owned(), "production".to_owned()], &set(settings)[..]].concat();
        let ended = run(&arguments);
        assert_eq!(ended.code, EXIT_CONFIG, "{settings:?}: {}", ended.err);
        assert!(ended.err.contains(key), "{settings:?}: {}", ended.err);
    }
}

#[test]
fn a_port_in_use_is_reported_clearly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for key in ["server.public_addr", "server.admin_addr"] {
        let other = if key == "server.public_addr" { "server.admin_addr" } else { "server.public_addr" };
        let ended = run(&set(&[&format!("{key}={address}"), &format!("{other}=127.0.0.1:0")]));
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let start = format!("emagine-gateway: cannot listen on {address} ({key}): ");
        let sentences: Vec<_> = ended.err.lines().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(sentences.len(), 1, "{}", ended.err);
        assert!(!ended.err.contains("listening"), "{}", ended.err);
        assert!(!ended.err.contains("os error"), "{}", ended.err);
    }
}

#[test]
fn the_bare_binary_runs_from_an_empty_folder() {
    let ended = run(&["--version"]);
    assert_eq!(
        (ended.code, ended.out),
        (Some(0), format!("emagine-gateway {}\n", env!("CARGO_PKG_VERSION")))
    );
    // Every test starts its gateway in an empty folder.
    let gateway = TestGateway::spawn();
    assert_eq!(gateway.get("/livez").status, 200);
}

#[test]
fn an_insecure_gateway_logs_a_warning() {
    let mut gateway = TestGateway::spawn();
    gateway.wait_for_log("auth.kind is insecure");
    let safe = TestGateway::with("auth.kind", "jwt").with("auth.secret", SECRET).spawn();
    assert!(!safe.log().contains("insecure"), "{}", safe.log());
}

#[test]
fn the_token_command_mints_accepted_tokens() {
    let gateway = TestGateway::with("auth.kind", "signed").with("auth.secret", SECRET).spawn();
    let mut client = gateway.connect();
    client.identify(&gateway.token(&["--user", "a.b/c"]));
    client.expect_text(r#"{"op":2,"user":"a.b/c"}"#);
    // A signed token accepts --ttl as well.
    let short = gateway.token(&["--user", "42", "--ttl", "60s"]);
    let mut client = gateway.connect_v2();
    client.identify(&short);
    let expires_in = client.expect_ready()["expires_in"].as_u64().unwrap();
    assert!(expires_in <= 66_000, "{expires_in}");
    for (arguments, error) in [
        (&["token", "--user", "4 2"][..], "the user id must be"),
        (&["token", "--user", "42", "--channel", "room:7"], "only a jwt can list channels"),
        (&["token", "--user", "42", "--ttl", "31d"], "the lifetime is too long"),
    ] {
        let ended = gateway.command(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(ended.err.contains(error), "{}", ended.err);
    }
}
