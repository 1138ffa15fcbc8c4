//! Where settings come from, and how the sources are laid over each other.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{AuthSettings, Profile, Secret, Settings, SettingsError, layers::Layers, read_text};

pub(super) const DEFAULT: &str = include_str!("../../config/default.toml");
const DEVELOPMENT: &str = include_str!("../../config/development.toml");
const PRODUCTION: &str = include_str!("../../config/production.toml");

/// Environment variables that begin so are settings. With two underscores, because orchestrators set variables like
/// `GATEWAY_PORT` and `GATEWAY_SERVICE_HOST` by themselves for a service of that name.
const VARIABLE_PREFIX: &str = "GATEWAY__";

/// A secret file longer than this (in bytes) is surely the wrong file.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

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
    /// Lays the sources over each other, reads the secret file and checks everything.
    ///
    /// # Errors
    /// The first mistake found: an unknown key, a value that cannot be read, a file that is not there, or a value that
    /// is out of range or unsafe. Nothing but these files is touched.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        let profile = sources.profile()?;
        let mut settings: Self = sources.layers(profile)?.build()?;
        settings.profile = profile;
        read_secret_file(&mut settings.auth)?;
        settings.validate()?;
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

fn read_secret_file(auth: &mut AuthSettings) -> Result<(), SettingsError> {
    let Some(path) = &auth.secret_file else { return Ok(()) };
    if auth.secret.is_some() {
        return Err(SettingsError::Refused {
            key: "auth.secret_file",
            reason: "cannot be given together with auth.secret: give one of the two".to_owned(),
        });
    }
    let unreadable =
        |reason: String| SettingsError::Unreadable { key: "auth.secret_file", path: path.clone(), reason };
    let text = read_text(path, MAX_SECRET_FILE_BYTES).map_err(unreadable)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(unreadable("it is empty".to_owned()));
    }
    auth.secret = Some(Secret::from(secret.to_owned()));
    Ok(())
}
