//! Where settings come from, and how the sources are laid over each other.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{BrokerSettings, Profile, Secret, Settings, SettingsError, layers::Layers};

pub(super) const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// Environment variables that begin so are settings. With two underscores, because orchestrators set variables like
/// `GATEWAY_PORT` and `GATEWAY_SERVICE_HOST` by themselves for a service of that name.
const VARIABLE_PREFIX: &str = "GATEWAY__";

/// Everything that settings are made of besides the compiled-in files.
#[derive(Clone, Default)]
pub struct Sources {
    /// The profile that was asked for; `None`: `GATEWAY_PROFILE`, else development.
    pub profile: Option<String>,
    /// A TOML file, or a folder in which `local.toml` is read if it is there.
    pub file: Option<PathBuf>,
    /// The environment. `GATEWAY_PROFILE`, `GATEWAY_CONFIG_DIR` (a folder with an optional `local.toml`) and everything
    /// that begins with `GATEWAY__` is looked at; variables that are set but empty count as not set.
    pub environment: HashMap<String, String>,
    /// Key and value of command-line flags, such as `("server.public_addr", "127.0.0.1:0")`. They beat everything; an
    /// empty text takes an optional value away.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The sources of this process: its environment, and what its command line said.
    pub fn from_process(
        profile: Option<String>,
        file: Option<PathBuf>,
        overrides: Vec<(String, String)>,
    ) -> Self {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| name.starts_with("GATEWAY_"))
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

    fn layers(&self, profile: Profile) -> Result<Layers, SettingsError> {
        let mut layers = Layers::new(DEFAULT)?;
        match profile {
            Profile::Development => layers.add_toml(DEVELOPMENT, "the built-in development profile")?,
            Profile::Production => layers.add_toml(PRODUCTION, "the built-in production profile")?,
        }
        if let Some(folder) = self.variable("GATEWAY_CONFIG_DIR") {
            add_folder(&mut layers, Path::new(folder))?;
        }
        match self.file.as_deref() {
            Some(folder) if folder.is_dir() => add_folder(&mut layers, folder)?,
            Some(file) => layers.add_file(file)?,
            None => {}
        }
        // Sorted, so that of several mistakes always the same one is reported.
        let mut variables: Vec<_> = self
            .environment
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(name, value)| Some((name, name.strip_prefix(VARIABLE_PREFIX)?, value)))
            .collect();
        variables.sort_unstable();
        for (name, key, value) in variables {
            let key = key.to_ascii_lowercase().replace("__", ".");
            layers.add_text(&key, name, value, "the environment")?;
        }
        for (key, value) in &self.overrides {
            layers.add_text(key, key, value, "the command line")?;
        }
        Ok(layers)
    }
}

impl Settings {
    /// Lays the sources over each other, reads the files with secrets and checks everything.
    ///
    /// # Errors
    /// The first mistake found: an unknown key, a value that cannot be read, a file that is not there, or a value that
    /// is out of range or unsafe. Nothing but these files is touched.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        let profile = sources.profile()?;
        let mut settings: Self = sources.layers(profile)?.build()?;
        settings.profile = profile;
        let Self { auth, admin, .. } = &mut settings;
        read_secret_file(["auth.secret", "auth.secret_file"], &mut auth.secret, auth.secret_file.as_deref())?;
        read_secret_file(
            ["admin.api_key", "admin.api_key_file"],
            &mut admin.api_key,
            admin.api_key_file.as_deref(),
        )?;
        settings.validate()?;
        check_broker_files(&settings.broker)?;
        Ok(settings)
    }
}

fn add_folder(layers: &mut Layers, folder: &Path) -> Result<(), SettingsError> {
    if !folder.is_dir() {
        return Err(SettingsError::Unreadable {
            key: "the settings folder",
            path: folder.to_owned(),
            reason: "it is not a folder".to_owned(),
        });
    }
    let file = folder.join("local.toml");
    if file.exists() { layers.add_file(&file) } else { Ok(()) }
}

/// Reads a secret from its file, if one is given.
fn read_secret_file(
    [key, file_key]: [&'static str; 2],
    secret: &mut Option<Secret>,
    file: Option<&Path>,
) -> Result<(), SettingsError> {
    if secret.is_some() && file.is_some() {
        let reason = format!("cannot be given together with {key}: give one of the two");
        return Err(SettingsError::Refused { key: file_key, reason });
    }
    if let Some(read) = read_secret(file_key, file)? {
        *secret = Some(read);
    }
    Ok(())
}

/// The link reads these files itself, again and again; one that cannot even be read now was never meant so.
fn check_broker_files(broker: &BrokerSettings) -> Result<(), SettingsError> {
    read_secret("broker.password_file", broker.password_file.as_deref())?;
    read_secret("broker.sentinel_password_file", broker.sentinel_password_file.as_deref())?;
    for (key, path) in [
        ("broker.tls_ca_file", &broker.tls_ca_file),
        ("broker.tls_cert_file", &broker.tls_cert_file),
        ("broker.tls_key_file", &broker.tls_key_file),
    ] {
        let Some(path) = path else { continue };
        let unreadable = |reason| SettingsError::Unreadable { key, path: path.clone(), reason };
        let file = std::fs::File::open(path).and_then(|file| file.metadata());
        if !file.map_err(|error| unreadable(error.to_string()))?.is_file() {
            return Err(unreadable("it is not a file".to_owned()));
        }
    }
    Ok(())
}

fn read_secret(key: &'static str, path: Option<&Path>) -> Result<Option<Secret>, SettingsError> {
    let unreadable = |path: &Path, reason| SettingsError::Unreadable { key, path: path.to_owned(), reason };
    path.map(|path| Secret::read_file(path).map_err(|reason| unreadable(path, reason))).transpose()
}
