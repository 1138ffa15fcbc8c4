//! What an operator writes: the bytes are a settings file, and their lines are flags.

use std::collections::HashMap;
use std::path::PathBuf;

use emagine_gateway::auth::{Authenticator, mint};
use emagine_gateway::settings::{Settings, SettingsErrors, Sources};

/// Given by the environment along the way. It must never be seen again.
const SECRET: &str = "x9-this-secret-must-not-be-printed";

/// The settings are complete and printable, or one sentence says why not. No secret is printed either way.
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
        assert!(!text.contains(SECRET), "a secret is printed");
    }
    check_printed(settings, &printed);
    // Whether the key fits is the authenticator's to say; it must not fall over it.
    match Authenticator::new(&settings.auth) {
        Ok(_) => drop(mint(&settings.auth, "42", &[], settings.auth.max_age, std::time::UNIX_EPOCH)),
        Err(error) => check_sentence(&error.to_string()),
    }
}

fn check_sentence(sentence: &str) {
    assert!(!sentence.trim().is_empty());
    assert!(!sentence.contains(char::is_control), "not one sentence: {sentence:?}");
    assert!(sentence.len() < 4_000, "a sentence of {} bytes", sentence.len());
    assert!(!sentence.contains(SECRET));
}

/// What `check` prints can be used as a file, where nothing in it had to be masked.
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
    let again = Settings::load(&sources).expect("what was printed is read back");
    assert_eq!(again.to_masked_toml(), printed);
}

fn secrets() -> HashMap<String, String> {
    ["GATEWAY__AUTH__SECRET", "GATEWAY__ADMIN__API_KEY"]
        .map(|name| (name.to_owned(), SECRET.to_owned()))
        .into()
}

/// Settings may name files. What is read from a device may never end, or wait for somebody to type.
fn names_device(text: &str) -> bool {
    ["/dev", "/proc", "/sys"].iter().any(|part| text.contains(part))
}

/// A settings file that is there as long as this value.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let file = folder.join(format!("gateway-fuzz-{}-{name}.toml", std::process::id()));
        std::fs::write(&file, text).expect("the folder for temporary files can be written");
        Self(file)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
