//! Several mistakes at once, suggestions, and secret files that are reloaded.

use std::process::Command;

use super::{Folder, HS_SECRET, Settings, Sources, assert_refused, development, production, sources};

#[test]
fn all_mistakes_are_reported_without_their_consequences() {
    let folder = Folder::new("all");
    let file = folder.file(
        "all.toml",
        "[auth]\nkind = \"jwt\"\nsecert = \"x\"\n[session]\nheartbeat_interval = 30\nmax_fragments = 0\n\
         [log]\nformat = \"xml\"\n[drain]\nwindow = \"30s\"\n",
    );
    let sources = Sources {
        file: Some(file),
        environment: [("GATEWAY_PROFIL".to_owned(), "production".to_owned())].into(),
        overrides: vec![("server.workers".to_owned(), "2s".to_owned())],
        ..Sources::default()
    };
    let errors = Settings::load(&sources).unwrap_err();
    let mut sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
    sentences.sort();
    let beginnings = [
        "drain.timeout must be at least",
        "log.format ",
        "server.workers ",
        "session.heartbeat_interval ",
        "session.max_fragments must be 1 to 65536",
        "unknown environment variable GATEWAY_PROFIL; did you mean GATEWAY_PROFILE?",
        "unknown key auth.secert (from ",
    ];
    assert_eq!(sentences.len(), beginnings.len(), "{sentences:?}");
    for (sentence, beginning) in sentences.iter().zip(beginnings) {
        assert!(sentence.starts_with(beginning), "{sentence}");
    }
}

#[test]
fn a_misspelt_variable_is_refused_with_the_right_one() {
    for (name, right) in [
        ("GATEWAY__SESION__HEARTBEAT_INTERVAL", "GATEWAY__SESSION__HEARTBEAT_INTERVAL"),
        ("GATEWAY__SESION__WRITE", "GATEWAY__SESSION__WRITE_TIMEOUT"),
        ("GATEWAY__CHANELS__PUBLIC", "GATEWAY__CHANNELS__PUBLIC_NAMESPACES"),
        ("GATEWAY__SESION__RECOVERY_LIMIT", "GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
        ("GATEWAY__BROKER__SWEEP_INTERVALL", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
        ("GATEWAY_SESION__WRITE", "GATEWAY__SESSION__WRITE_TIMEOUT"),
        ("GATEWAY__SESSION__MAX_RECOVERED", "GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
        ("GATEWAY_SESSION__MAX_RECOVERED", "GATEWAY__SESSION__MAX_RECOVERED_MESSAGES"),
        ("GATEWAY_BROKER__SWEEP_INTERVAL", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
        ("gateway__broker__sweep_interval", "GATEWAY__BROKER__HISTORY_CHECK_INTERVAL"),
    ] {
        let hint = format!("did you mean {right}?");
        assert_refused(Settings::load(&sources("development", &[(name, "1")])), &[name, &hint]);
    }
}

#[test]
fn a_control_variable_with_two_underscores_gets_a_hint() {
    for (name, hint) in [
        ("GATEWAY__PROFILE", "; set the profile with --profile or GATEWAY_PROFILE"),
        ("GATEWAY__CONFIG_DIR", "; set the folder with --config or GATEWAY_CONFIG_DIR"),
    ] {
        assert_refused(Settings::load(&sources("development", &[(name, "x")])), &[name, hint]);
    }
}

#[test]
fn an_empty_key_is_quoted() {
    assert_refused(development(&[("", "x")]), &["unknown key \"\" (from the command line)"]);
}

#[test]
fn secret_files_are_read_again() {
    let folder = Folder::new("again");
    let file = folder.file("secret", HS_SECRET);
    let settings = production(&[("auth.secret", ""), ("auth.secret_file", file.to_str().unwrap())]).unwrap();
    let secret = |settings: &Settings| settings.auth.secret.as_ref().unwrap().expose().to_owned();
    folder.file("secret", &HS_SECRET.to_uppercase());
    assert_eq!(secret(&settings.reload_auth_files().unwrap()), HS_SECRET.to_uppercase());
    assert_eq!(secret(&settings), HS_SECRET);
    for broken in ["short", "", "replace-me-with-32-bytes-or-more-before-use"] {
        folder.file("secret", broken);
        let errors = settings.reload_auth_files().unwrap_err();
        assert_eq!(errors.iter().count(), 1, "{errors}");
        assert!(errors.to_string().starts_with("auth.secret"), "{errors}");
    }
}

#[test]
fn a_pipe_in_place_of_a_certificate_is_refused_at_once() {
    let folder = Folder::new("pipe");
    let pipe = folder.file("ca", "");
    std::fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let settings = [("broker.url", "rediss://h"), ("broker.tls_ca_file", pipe.to_str().unwrap())];
    assert_refused(development(&settings), &["broker.tls_ca_file", "not a regular file"]);
}
