//! Loads the settings from files, the environment and flags.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
};

use super::{
    BrokerSettings, Profile, Secret, Settings, SettingsError, SettingsErrors, check_is_file,
    layers::Layers,
    plain_io, variables,
    variables::{Finding, VARIABLE_PREFIX},
};

pub(super) const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// The sources of the settings besides the compiled-in files.
#[derive(Clone, Default)]
pub struct Sources {
    /// The name of the profile. `None`: `GATEWAY_PROFILE`, else development.
    pub profile: Option<String>,
    /// A TOML file, or a folder with an optional `local.toml`.
    pub file: Option<PathBuf>,
    /// The environment: `GATEWAY_PROFILE`, `GATEWAY_CONFIG_DIR` (a folder with an optional `local.toml`) and every name
    /// that begins with `GATEWAY__`. Misspelt names are reported. Empty variables count as not set. `RUST_LOG` is only
    /// checked.
    pub environment: HashMap<String, String>,
    /// Keys and values of command-line flags, such as `("server.public_addr", "127.0.0.1:0")`. They override all other
    /// sources. An empty string unsets an optional value.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The sources of this process: its environment, and the given flags.
    pub fn from_process(
        profile: Option<String>,
        file: Option<PathBuf>,
        overrides: Vec<(String, String)>,
    ) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| variables::may_be_setting(name))
            .collect();
        Self { profile, file, environment, overrides }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn profile(&self) -> Result<Profile, SettingsError> {
        self.profile.as_deref().or_else(|| self.variable("GATEWAY_PROFILE")).map_or(
            Ok(Profile::Development),
            |name| match name {
                "development" => Ok(Profile::Development),
                "production" => Ok(Profile::Production),
                _ => Err(SettingsError::UnknownProfile(name.to_owned())),
            },
        )
    }

    /// All layers, with the mistakes found in them.
    fn layers(&self, profile: Profile) -> Result<Layers, SettingsError> {
        let mut layers = Layers::new(DEFAULT)?;
        match profile {
            Profile::Development => layers.add_toml(DEVELOPMENT, "the built-in development profile"),
            Profile::Production => layers.add_toml(PRODUCTION, "the built-in production profile"),
        }
        if let Some(folder) = self.variable("GATEWAY_CONFIG_DIR") {
            add_folder(&mut layers, Path::new(folder));
        }
        match self.file.as_deref() {
            Some(folder) if folder.is_dir() => add_folder(&mut layers, folder),
            Some(file) => layers.add_file(file),
            None => {}
        }
        self.add_variables(&mut layers);
        for (key, value) in &self.overrides {
            layers.set_from_text(key, key, value, "the command line");
        }
        Ok(layers)
    }

    fn add_variables(&self, layers: &mut Layers) {
        // Sorted, so the order of the errors does not depend on the hash map.
        let mut variables: Vec<_> = self.environment.iter().filter(|(_, value)| !value.is_empty()).collect();
        variables.sort_unstable();
        for (name, value) in variables {
            match name.strip_prefix(VARIABLE_PREFIX) {
                Some(key) => {
                    let key = key.to_ascii_lowercase().replace("__", ".");
                    layers.set_from_text(&key, name, value, "the environment");
                }
                None => match variables::check(name, value, layers.keys()) {
                    Some(Finding::Error(error)) => layers.errors.push(error),
                    Some(Finding::Warning(warning)) => layers.warnings.push(warning),
                    None => {}
                },
            }
        }
    }
}

impl Settings {
    /// Merges the sources, reads the secret files and checks everything.
    ///
    /// # Errors
    /// All mistakes: unknown keys, values of the wrong type, missing files, and values that are out of range or unsafe.
    pub fn load(sources: &Sources) -> Result<Self, SettingsErrors> {
        let profile = sources.profile()?;
        let mut layers = sources.layers(profile)?;
        let mut settings: Self = layers.build()?;
        settings.namespaces.complete(&settings.broker, &settings.channels.public_namespaces);
        let Layers { mut errors, mut reported, warnings, .. } = layers;
        settings.warnings = warnings;
        settings.profile = profile;
        settings.read_files(&mut errors, &mut reported);
        settings.check(errors, &reported)?;
        Ok(settings)
    }

    /// The same settings with the present contents of the secret files of `[auth]`, checked again.
    ///
    /// # Errors
    /// All mistakes in `[auth]`, as from [`Settings::load`].
    pub fn reload_auth_files(&self) -> Result<Self, SettingsErrors> {
        self.reload_files(|key| key.starts_with("auth."))
    }

    /// The same settings with the present contents of the other secret files, checked again.
    ///
    /// # Errors
    /// All mistakes outside of `[auth]`, as from [`Settings::load`].
    pub fn reload_other_files(&self) -> Result<Self, SettingsErrors> {
        self.reload_files(|key| !key.starts_with("auth."))
    }

    /// Reads all secret files again, and fails with the mistakes in the keys that the caller reloads.
    fn reload_files(&self, is_reloaded: impl Fn(&str) -> bool) -> Result<Self, SettingsErrors> {
        let (mut settings, mut errors, mut reported) = (self.clone(), Vec::new(), Vec::new());
        for (_, secret, file) in settings.secret_files() {
            if file.is_some() {
                *secret = None;
            }
        }
        settings.read_files(&mut errors, &mut reported);
        let Err(mut errors) = settings.check(errors, &reported) else { return Ok(settings) };
        errors.retain(|error| error.key().is_none_or(&is_reloaded));
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }

    /// Fails with all mistakes: those in `errors`, in the values, and in the files that the broker will read.
    fn check(&self, mut errors: Vec<SettingsError>, reported: &[String]) -> Result<(), SettingsErrors> {
        let refused = self.validate();
        let is_refused = |error: &SettingsError| refused.iter().any(|refused| refused.key() == error.key());
        // The file of a refused key need not exist.
        let unreadable = check_broker_files(&self.broker).into_iter().filter(|error| !is_refused(error));
        let unreadable: Vec<_> = unreadable.collect();
        errors.extend(refused.into_iter().filter(|error| !is_consequence(error, reported)));
        errors.extend(unreadable);
        SettingsErrors::fail_if_any(errors)
    }

    /// Sets the secrets that are in files.
    fn read_files(&mut self, errors: &mut Vec<SettingsError>, reported: &mut Vec<String>) {
        for (keys, secret, file) in self.secret_files() {
            if let Err(error) = read_secret_file(keys, secret, file.as_deref()) {
                errors.push(error);
                reported.push(keys[0].to_owned());
            }
        }
    }

    /// The secrets that may be in files: the keys of both, the secret and the path.
    fn secret_files(&mut self) -> [([&'static str; 2], &mut Option<Secret>, &Option<PathBuf>); 4] {
        let Self { auth, admin, .. } = self;
        [
            (["auth.secret", "auth.secret_file"], &mut auth.secret, &auth.secret_file),
            (
                ["auth.introspection_client_secret", "auth.introspection_client_secret_file"],
                &mut auth.introspection_client_secret,
                &auth.introspection_client_secret_file,
            ),
            (
                ["auth.previous_secret", "auth.previous_secret_file"],
                &mut auth.previous_secret,
                &auth.previous_secret_file,
            ),
            (["admin.api_key", "admin.api_key_file"], &mut admin.api_key, &admin.api_key_file),
        ]
    }
}

/// Whether the mistake is a consequence of one in `reported`, such as a misspelt key.
fn is_consequence(error: &SettingsError, reported: &[String]) -> bool {
    let Some(key) = error.key() else { return false };
    let is_reported = |key: &str| reported.iter().any(|reported| reported == key);
    // The requirements for other keys depend on the kind.
    is_reported(key) || (key.starts_with("auth.") && is_reported("auth.kind"))
}

fn add_folder(layers: &mut Layers, folder: &Path) {
    if !folder.is_dir() {
        layers.errors.push(SettingsError::Unreadable {
            key: "the settings folder",
            path: folder.to_owned(),
            reason: "not a folder".to_owned(),
        });
        return;
    }
    let file = folder.join("local.toml");
    if file.exists() {
        layers.add_file(&file);
    }
}

/// Sets the secret from its file, if a file is set.
fn read_secret_file(
    [key, file_key]: [&'static str; 2],
    secret: &mut Option<Secret>,
    file: Option<&Path>,
) -> Result<(), SettingsError> {
    if secret.is_some() && file.is_some() {
        let reason = format!("cannot be set together with {key}; set only one of the two");
        return Err(SettingsError::Refused { key: file_key.into(), reason });
    }
    if let Some(read) = read_secret(file_key, file)? {
        *secret = Some(read);
    }
    Ok(())
}

/// The Redis link reads these files for each connection. A file that cannot be read now is a mistake in the settings.
fn check_broker_files(broker: &BrokerSettings) -> Vec<SettingsError> {
    let secrets = [
        ("broker.password_file", &broker.password_file),
        ("broker.sentinel_password_file", &broker.sentinel_password_file),
    ];
    let secrets = secrets.into_iter().map(|(key, path)| read_secret(key, path.as_deref()).map(drop));
    let certificates = [
        ("broker.tls_ca_file", &broker.tls_ca_file),
        ("broker.tls_cert_file", &broker.tls_cert_file),
        ("broker.tls_key_file", &broker.tls_key_file),
    ];
    let certificates = certificates.into_iter().map(|(key, path)| check_file(key, path.as_deref()));
    secrets.chain(certificates).filter_map(Result::err).collect()
}

fn check_file(key: &'static str, path: Option<&Path>) -> Result<(), SettingsError> {
    let Some(path) = path else { return Ok(()) };
    let opened = check_is_file(path).and_then(|()| File::open(path).map_err(plain_io));
    opened.map(drop).map_err(|reason| SettingsError::Unreadable { key, path: path.to_owned(), reason })
}

fn read_secret(key: &'static str, path: Option<&Path>) -> Result<Option<Secret>, SettingsError> {
    let unreadable = |path: &Path, reason| SettingsError::Unreadable { key, path: path.to_owned(), reason };
    path.map(|path| Secret::read_file(path).map_err(|reason| unreadable(path, reason))).transpose()
}
