//! Tests of loading: layers, profiles, unknown keys, types and masks.
//!
//! - `mistakes`: several mistakes at once, suggestions, and secret files that are reloaded
//! - `rules`: ranges and unsafe combinations

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use super::*;

mod mistakes;
mod rules;

const HS_SECRET: &str = "0123456789abcdef0123456789abcdef";
const ORIGIN: (&str, &str) = ("GATEWAY__SERVER__ALLOWED_ORIGINS", "https://app.example.com");
const SECRET: (&str, &str) = ("GATEWAY__AUTH__SECRET", HS_SECRET);

fn sources(profile: &str, environment: &[(&str, &str)]) -> Sources {
    Sources {
        profile: Some(profile.to_owned()),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Sources::default()
    }
}

fn with_overrides(mut sources: Sources, overrides: &[(&str, &str)]) -> Sources {
    sources.overrides.extend(overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    sources
}

/// The development profile with the given flags.
fn development(overrides: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
    Settings::load(&with_overrides(sources("development", &[]), overrides))
}

/// The production profile with valid settings and the given flags.
fn production(overrides: &[(&str, &str)]) -> Result<Settings, SettingsErrors> {
    Settings::load(&with_overrides(sources("production", &[ORIGIN, SECRET]), overrides))
}

/// Asserts that the settings are refused, and that one error contains every part.
#[track_caller]
fn assert_refused(result: Result<Settings, SettingsErrors>, parts: &[&str]) {
    let errors = result.expect_err("must be refused");
    let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let has_parts = |sentence: &String| parts.iter().all(|part| sentence.contains(part));
    assert!(sentences.iter().any(has_parts), "no sentence with {parts:?} in {sentences:?}");
    for sentence in sentences {
        assert!(!sentence.contains('\n'), "more than one line: {sentence:?}");
        for word in ["os error", "u32", "usize", "u64", "invalid type", "variant", "Some("] {
            assert!(!sentence.contains(word), "{word:?} in {sentence:?}");
        }
    }
}

/// A folder for one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gateway-settings-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn json_keys(value: &serde_json::Value, parent: &str, keys: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(table) => {
            for (name, value) in table {
                let key = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
                json_keys(value, &key, keys);
            }
        }
        None => assert!(keys.insert(parent.to_owned())),
    }
}

fn toml_keys(text: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut keys = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.split_once(" = ") {
            assert!(keys.insert(format!("{section}.{key}")));
        }
    }
    keys
}

#[test]
fn the_bare_binary_has_development_settings() {
    let settings = Settings::load(&Sources::default()).unwrap();
    assert_eq!(settings.profile, Profile::Development);
    assert_eq!(settings.server.public_addr.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.admin_addr.to_string(), "127.0.0.1:8081");
    assert_eq!(settings.server.allowed_origins, ["loopback"]);
    assert_eq!(settings.broker.url, "memory:");
    assert_eq!(settings.session.heartbeat_interval, Duration::from_secs(45));
    assert_eq!(settings.auth.kind, AuthKind::Insecure);
    assert_eq!(settings.limits.subscriptions_per_session, 0);
    assert_eq!(settings.channels.public_namespaces, ["public"]);
    assert!(settings.auth.secret.is_none() && settings.auth.secret_file.is_none());
}

#[test]
fn production_has_its_own_defaults() {
    let settings = production(&[]).unwrap();
    assert_eq!(settings.profile, Profile::Production);
    assert_eq!(settings.server.public_addr.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.server.admin_addr.to_string(), "0.0.0.0:8081");
    assert_eq!(settings.broker.url, "redis://127.0.0.1:6379");
    assert_eq!(settings.auth.kind, AuthKind::Jwt);
    assert_eq!(settings.session.messages_per_minute, 120);
    assert!(settings.channels.public_namespaces.is_empty());
}

#[test]
fn production_does_not_start_unconfigured() {
    assert_refused(
        Settings::load(&sources("production", &[])),
        &["server.allowed_origins", "at least one origin"],
    );
    assert_refused(Settings::load(&sources("production", &[ORIGIN])), &["auth.secret", "must be set"]);
}

#[test]
fn default_file_and_structs_have_the_same_keys() {
    let settings = Settings::load(&Sources::default()).unwrap();
    let mut keys = BTreeSet::new();
    json_keys(&serde_json::to_value(&settings).unwrap(), "", &mut keys);
    assert_eq!(keys, toml_keys(DEFAULT));
    assert_eq!(keys, toml_keys(&settings.to_masked_toml()));
}

#[test]
fn every_key_of_the_default_file_has_a_comment_above_it() {
    let lines: Vec<&str> = DEFAULT.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), "{} has no comment", pair[1]);
    }
}

#[test]
fn printed_settings_can_be_loaded_again() {
    let folder = Folder::new("printed");
    let sources = with_overrides(
        sources("development", &[]),
        &[
            ("broker.prefix", "a\"b\\c"),
            ("session.heartbeat_interval", "1500ms"),
            ("server.allowed_origins", "https://a.b, *"),
        ],
    );
    let printed = Settings::load(&sources).unwrap().to_masked_toml();
    let file = folder.file("printed.toml", &printed);
    let again = Settings::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert_eq!(again.to_masked_toml(), printed);
    assert_eq!(again.broker.prefix, "a\"b\\c");
    assert_eq!(again.server.allowed_origins, ["https://a.b", "*"]);
}

#[test]
fn secrets_are_masked_in_every_print() {
    let settings = production(&[
        ("broker.url", "redis://me:hunter2@host:6379"),
        ("admin.api_key", "hunter2-hunter2-hunter2"),
        ("auth.secret", "hunter2-hunter2-hunter2-hunter2-hunter2"),
    ])
    .unwrap();
    let printed = settings.to_masked_toml();
    for text in [&printed, &format!("{settings:?}"), &format!("{settings:#?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(printed.starts_with("# profile: production\n"));
    assert!(printed.contains("\nurl = \"redis://me:***@host:6379\"\n"));
    assert!(printed.contains("\nsecret = \"***\"\n"));
    assert!(printed.contains("\napi_key = \"***\"\n"));
    assert!(printed.contains("\nsecret_file = \"\"\n"));
}

#[test]
fn a_later_source_overrides_an_earlier_one() {
    let folder = Folder::new("order");
    folder
        .file("local.toml", "[broker]\nprefix = \"local\"\nhistory_size = 1\n[session]\nmax_fragments = 1\n");
    let file = folder.file("extra.toml", "[broker]\nprefix = \"file\"\nhistory_size = 2\n");
    let mut sources = sources(
        "development",
        &[("GATEWAY_CONFIG_DIR", folder.0.to_str().unwrap()), ("GATEWAY__SESSION__HEARTBEAT_GRACE", "7s")],
    );
    let loaded = |sources: &Sources| {
        let settings = Settings::load(sources).unwrap();
        (settings.broker.prefix, settings.broker.history_size, settings.session.max_fragments)
    };
    assert_eq!(loaded(&sources), ("local".to_owned(), 1, 1));
    sources.file = Some(file);
    assert_eq!(loaded(&sources), ("file".to_owned(), 2, 1));
    sources.environment.insert("GATEWAY__BROKER__PREFIX".to_owned(), "environment".to_owned());
    assert_eq!(loaded(&sources), ("environment".to_owned(), 2, 1));
    sources.overrides.push(("broker.prefix".to_owned(), "flag".to_owned()));
    assert_eq!(loaded(&sources), ("flag".to_owned(), 2, 1));
}

#[test]
fn a_folder_may_be_named_instead_of_a_file() {
    let folder = Folder::new("folder");
    let sources = Sources { file: Some(folder.0.clone()), ..Sources::default() };
    assert_eq!(Settings::load(&sources).unwrap().broker.prefix, "gateway");
    folder.file("local.toml", "broker.prefix = \"local\"");
    assert_eq!(Settings::load(&sources).unwrap().broker.prefix, "local");
}

#[test]
fn a_missing_file_is_refused() {
    let missing = Sources { file: Some(PathBuf::from("/nonexistent/gateway.toml")), ..Sources::default() };
    assert_refused(Settings::load(&missing), &["the settings file", "/nonexistent/gateway.toml"]);
    let missing = sources("development", &[("GATEWAY_CONFIG_DIR", "/nonexistent")]);
    assert_refused(Settings::load(&missing), &["the settings folder", "/nonexistent"]);
}

#[test]
fn the_profile_comes_from_the_flag_then_the_environment() {
    let mut sources = sources("development", &[("GATEWAY_PROFILE", "production")]);
    assert_eq!(Settings::load(&sources).unwrap().profile, Profile::Development);
    sources.profile = None;
    assert_refused(Settings::load(&sources), &["in production"]);
    sources.environment.insert("GATEWAY_PROFILE".to_owned(), String::new());
    assert_eq!(Settings::load(&sources).unwrap().profile, Profile::Development);
    for name in ["staging", "Production", ""] {
        sources.profile = Some(name.to_owned());
        assert_refused(Settings::load(&sources), &["unknown profile", name, "development or production"]);
    }
}

#[test]
fn unknown_keys_are_refused_wherever_they_are() {
    let folder = Folder::new("unknown");
    for (text, key) in [
        ("[server]\npublic_adr = \"127.0.0.1:1\"", "server.public_adr"),
        ("[sever]\npublic_addr = \"127.0.0.1:1\"", "sever.public_addr"),
        ("colour = 1", "colour"),
        ("[server.workers]\ncount = 1", "server.workers.count"),
        ("[server.extra]\n", "server.extra"),
        ("server = 1", "server"),
        ("profile = \"production\"", "profile"),
    ] {
        let file = folder.file("unknown.toml", text);
        let sources = Sources { file: Some(file), ..Sources::default() };
        assert_refused(Settings::load(&sources), &["unknown key", key, "unknown.toml"]);
    }
    for name in
        ["GATEWAY__SERVER__PUBLIC_ADR", "GATEWAY__SERVER_PUBLIC_ADDR", "GATEWAY__", "GATEWAY__PROFILE"]
    {
        let sources = sources("development", &[(name, "x")]);
        assert_refused(Settings::load(&sources), &["unknown key", name, "the environment"]);
    }
    assert_refused(
        development(&[("server.public_adr", "x")]),
        &["server.public_adr", "did you mean server.public_addr?"],
    );
    assert_refused(development(&[("auth.drain", "x")]), &["unknown key auth.drain (from the command line)"]);
}

#[test]
fn variables_of_other_programs_are_ignored() {
    // Kubernetes sets the first two for a service named "gateway".
    let others =
        [("GATEWAY_PORT", "tcp://10.0.0.1:80"), ("GATEWAY_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")];
    assert!(Settings::load(&sources("development", &others)).is_ok());
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let settings = Settings::load(&sources(
        "development",
        &[("GATEWAY__SERVER__WORKERS", ""), ("GATEWAY__AUTH__SECRET", ""), ("GATEWAY__NO__SUCH", "")],
    ));
    assert_eq!(settings.unwrap().server.workers, 0);
}

#[test]
fn text_stays_text_and_numbers_are_read() {
    let digits = "00123456789012345678901234567890123456789";
    let settings = Settings::load(&sources(
        "development",
        &[
            ("GATEWAY__AUTH__SECRET", digits),
            ("GATEWAY__AUTH__AUDIENCE", "true"),
            ("GATEWAY__ADMIN__API_KEY", "1e5"),
            ("GATEWAY__BROKER__PREFIX", "7"),
            ("GATEWAY__SERVER__WORKERS", "3"),
            ("GATEWAY__SERVER__COMPRESSION", "true"),
            ("GATEWAY__CHANNELS__PUBLIC_NAMESPACES", " news, 7 ,,weather"),
        ],
    ))
    .unwrap();
    assert_eq!(settings.auth.secret.unwrap().expose(), digits);
    assert_eq!(settings.auth.audience.as_deref(), Some("true"));
    assert_eq!(settings.admin.api_key.unwrap().expose(), "1e5");
    assert_eq!(settings.broker.prefix, "7");
    assert_eq!(settings.server.workers, 3);
    assert!(settings.server.compression);
    assert_eq!(settings.channels.public_namespaces, ["news", "7", "weather"]);
}

#[test]
fn a_flag_can_unset_an_optional_value() {
    let sources = sources("development", &[("GATEWAY__AUTH__AUDIENCE", "app")]);
    let settings =
        Settings::load(&with_overrides(sources, &[("auth.audience", ""), ("server.allowed_origins", "")]));
    let settings = settings.unwrap();
    assert!(settings.auth.audience.is_none() && settings.server.allowed_origins.is_empty());
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    let folder = Folder::new("types");
    for (text, parts) in [
        ("server.workers = \"4\"", ["server.workers", "whole number"]),
        ("server.workers = -1", ["server.workers", "at least 0"]),
        ("server.workers = 1.5", ["server.workers", "whole number"]),
        ("server.compression = \"yes\"", ["server.compression", "true or false"]),
        ("session.heartbeat_interval = 45", ["session.heartbeat_interval", "such as \"45s\""]),
        ("auth.secret = 12345678901234", ["auth.secret", "in quotes"]),
        ("auth.algorithms = \"HS256\"", ["auth.algorithms", "list"]),
        ("auth.algorithms = [256]", ["auth.algorithms", "list"]),
        ("auth.kind = \"none\"", ["auth.kind", "insecure, introspection, jwt, redis or signed"]),
        ("server.public_addr = \"localhost:8080\"", ["server.public_addr", "IP address and a port"]),
        ("limits.unidentified = 4294967296", ["limits.unidentified", "types.toml"]),
        ("limits.unidentified = \"30s\"", ["limits.unidentified", "\"30s\" is a duration"]),
        ("drain.delay = \"5 s\"", ["drain.delay", "duration"]),
        ("drain.delay = ", ["types.toml", "line 1"]),
        ("[auth]\nsecret = hunter2\n", ["types.toml", "line 2"]),
    ] {
        let file = folder.file("types.toml", text);
        let result = Settings::load(&Sources { file: Some(file), ..Sources::default() });
        assert!(!format!("{result:?}").contains("hunter2"), "a secret leaks: {result:?}");
        assert_refused(result, &parts);
    }
    for (key, text) in [
        ("server.workers", "many"),
        ("server.workers", "-1"),
        ("server.compression", "1"),
        ("drain.delay", "5"),
        ("auth.audience", "\u{fffd}"),
    ] {
        assert_refused(development(&[(key, text)]), &[key, "the command line", "must be"]);
    }
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = Folder::new("secret");
    let load = |text: &str| {
        let file = folder.file("secret", text);
        production(&[("auth.secret", ""), ("auth.secret_file", file.to_str().unwrap())])
    };
    let settings = load(&format!(" {HS_SECRET}\r\n\n")).unwrap();
    assert_eq!(settings.auth.secret.as_ref().unwrap().expose(), format!(" {HS_SECRET}"));
    assert!(!settings.to_masked_toml().contains(HS_SECRET));
    assert_refused(load("\n"), &["auth.secret_file", "empty"]);
    assert_refused(load(&"x".repeat(65 * 1024)), &["auth.secret_file", "longer"]);
    assert_refused(load("short"), &["auth.secret", "32 bytes"]);
    assert_refused(production(&[("auth.secret_file", "x")]), &["auth.secret_file", "one of the two"]);
    let missing = [("auth.secret", ""), ("auth.secret_file", "/nonexistent/secret")];
    assert_refused(production(&missing), &["auth.secret_file", "/nonexistent/secret"]);
}
