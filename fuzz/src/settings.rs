//! Loads settings. The bytes are a settings file, and each of their lines a flag.

use std::collections::HashMap;
use std::path::PathBuf;

use emagine_gateway::auth::{Authenticator, mint};
use emagine_gateway::settings::{Settings, SettingsErrors, Sources};

/// A secret in the environment. It must never be printed.
const SECRET: &str = "x9-this-secret-must-not-be-printed";

/// The settings load and print, or each error is one sentence. No secret is printed in either case.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains(SECRET) || names_device(text) {
        return;
    }
    let file = TempFile::new("given", text);
    let overrides: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    for profile in ["development", "production"] {
        let profile = Some(profile.to_owned());
        for has_secret in [false, true] {
            let environment = if has_secret { secrets() } else { HashMap::new() };
            let sources = Sources {
                profile: profile.clone(),
                file: Some(file.0.clone()),
                environment,
                overrides: vec![],
            };
            check_loaded(&Settings::load(&sources));
        }
        let sources = Sources { profile, overrides: overrides.clone(), ..Sources::default() };
        check_loaded(&Settings::load(&sources));
    }
}

fn check_loaded(loaded: &Result<Settings, SettingsErrors>) {
    let settings = match loaded {
        Ok(settings) => settings,
        Err(errors) => {
            errors.iter().for_each(|error| check_sentence(&error.to_string()));
            assert!(!format!("{errors:?}").contains(SECRET));
            return;
        }
    };
    let printed = settings.to_masked_toml();
    for text in [&printed, &format!("{settings:?}")] {
        assert!(!text.contains(SECRET), "printed a secret");
    }
    check_printed(settings, &printed);
    // The authenticator may refuse the key, but must not panic.
    match Authenticator::new(&settings.auth) {
        Ok(_) => drop(mint(&settings.auth, "42", &[], settings.auth.max_age, std::time::UNIX_EPOCH)),
        Err(error) => check_sentence(&error.to_string()),
    }
}

fn check_sentence(sentence: &str) {
    assert!(!sentence.trim().is_empty());
    assert!(!sentence.contains(char::is_control), "an error is not one sentence: {sentence:?}");
    assert!(sentence.len() < 4_000, "an error of {} bytes", sentence.len());
    assert!(!sentence.contains(SECRET));
}

/// Printed settings can be loaded as a file, if nothing in them is masked.
fn check_printed(settings: &Settings, printed: &str) {
    if settings.auth.secret.is_some() || printed.contains("***") {
        return;
    }
    let file = TempFile::new("printed", printed);
    let sources = Sources {
        profile: Some(settings.profile.to_string()),
        file: Some(file.0.clone()),
        ..Sources::default()
    };
    let again = Settings::load(&sources).expect("printed settings do not load");
    assert_eq!(again.to_masked_toml(), printed);
}

fn secrets() -> HashMap<String, String> {
    ["GATEWAY__AUTH__SECRET", "GATEWAY__ADMIN__API_KEY"]
        .map(|name| (name.to_owned(), SECRET.to_owned()))
        .into()
}

/// Settings may name files. Reading a device may never end, or wait for input.
fn names_device(text: &str) -> bool {
    ["/dev", "/proc", "/sys"].iter().any(|part| text.contains(part))
}

/// A settings file that is removed when this value is dropped.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let file = folder.join(format!("gateway-fuzz-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, text).expect("cannot write to the folder for temporary files");
        Self(file)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
