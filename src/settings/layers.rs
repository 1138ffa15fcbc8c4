//! The layers that settings are made of, brought to one shape and checked key by key before they are merged, so that a
//! mistake is reported with the key and the place where it was made.

use std::{collections::BTreeMap, path::Path};

use config::{Config, ConfigError, File, FileFormat, Source as _, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::{SettingsError, read_text};

/// A settings file longer than this (in bytes) is surely the wrong file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The type of a key, taken from its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Integer,
    Text,
    List,
}

impl Kind {
    fn of(value: &Value) -> Option<Self> {
        match value.kind {
            ValueKind::Boolean(_) => Some(Self::Bool),
            ValueKind::I64(_) => Some(Self::Integer),
            ValueKind::String(_) => Some(Self::Text),
            ValueKind::Array(_) => Some(Self::List),
            _ => None,
        }
    }

    fn requirement(self) -> &'static str {
        match self {
            Self::Bool => "must be true or false",
            Self::Integer => "must be a whole number, not negative",
            Self::Text => "must be text in quotes",
            Self::List => "must be a list of texts",
        }
    }

    fn accepts(self, value: &Value) -> bool {
        Self::of(value) == Some(self)
            && match &value.kind {
                ValueKind::I64(number) => *number >= 0,
                ValueKind::Array(items) => items.iter().all(|item| Self::of(item) == Some(Self::Text)),
                _ => true,
            }
    }

    /// Environment variables and flags are text; the type of the key says how to read it. Guessing it from the text
    /// instead would make a number of a secret like 0123.
    fn read(self, text: &str) -> Option<Value> {
        let kind = match self {
            Self::Bool => ValueKind::Boolean(text.parse().ok()?),
            Self::Integer => ValueKind::I64(text.parse().ok()?),
            Self::Text => ValueKind::String(text.to_owned()),
            Self::List => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect::<Vec<String>>()
                .into(),
        };
        Some(Value::new(None, kind)).filter(|value| self.accepts(value))
    }
}

/// The layers so far.
pub(super) struct Layers {
    kinds: BTreeMap<String, Kind>,
    values: BTreeMap<String, (Value, String)>,
}

impl Layers {
    /// Begins with the defaults, which also say which keys exist and of which type they are.
    pub(super) fn new(defaults: &str) -> Result<Self, SettingsError> {
        let origin = "the built-in defaults";
        let values = leaves(defaults, origin)?;
        let kinds = values.iter().filter_map(|(key, value)| Some((key.clone(), Kind::of(value)?))).collect();
        let values = values.into_iter().map(|(key, value)| (key, (value, origin.to_owned()))).collect();
        Ok(Self { kinds, values })
    }

    /// Lays a TOML document over what is there. `origin` names it in errors.
    pub(super) fn add_toml(&mut self, text: &str, origin: &str) -> Result<(), SettingsError> {
        for (key, value) in leaves(text, origin)? {
            let kind = self.kind(&key, &key, origin)?;
            if !kind.accepts(&value) {
                return Err(bad_value(&key, origin, kind.requirement()));
            }
            self.values.insert(key, (value, origin.to_owned()));
        }
        Ok(())
    }

    /// Lays a TOML file over what is there.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let text = read_text(path, MAX_FILE_BYTES).map_err(|reason| SettingsError::Unreadable {
            key: "the settings file",
            path: path.to_owned(),
            reason,
        })?;
        self.add_toml(&text, &path.display().to_string())
    }

    /// Lays one value given as text over what is there. `name` is how it was given, `key` what it means.
    pub(super) fn add_text(
        &mut self,
        key: &str,
        name: &str,
        text: &str,
        origin: &str,
    ) -> Result<(), SettingsError> {
        let kind = self.kind(key, name, origin)?;
        // What is not UTF-8 was made into this character when the process' environment was read.
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(bad_value(key, origin, "must be valid UTF-8"));
        }
        let value = kind.read(text).ok_or_else(|| bad_value(key, origin, kind.requirement()))?;
        self.values.insert(key.to_owned(), (value, origin.to_owned()));
        Ok(())
    }

    /// Merges the layers into the typed settings.
    pub(super) fn build<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let mut builder = Config::builder();
        for (key, (value, _)) in &self.values {
            builder = builder.set_override(key, value.clone()).map_err(|error| self.explain(error))?;
        }
        builder.build().and_then(Config::try_deserialize).map_err(|error| self.explain(error))
    }

    fn kind(&self, key: &str, name: &str, origin: &str) -> Result<Kind, SettingsError> {
        self.kinds.get(key).copied().ok_or_else(|| SettingsError::UnknownKey {
            key: name.to_owned(),
            origin: origin.to_owned(),
            hint: if key == "profile" {
                "; the profile is chosen by --profile or GATEWAY_PROFILE".to_owned()
            } else {
                self.nearest(key).map(|known| format!("; is {known} meant?")).unwrap_or_default()
            },
        })
    }

    /// A known key with the same last part, or with the same section and beginning.
    fn nearest(&self, key: &str) -> Option<&str> {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let same_name = |known: &&String| known.rsplit('.').next() == Some(name);
        let alike = |known: &&String| {
            known.rsplit_once('.').is_some_and(|(known_section, known_name)| {
                let beginning: String = name.chars().take(4).collect();
                known_section == section && known_name.starts_with(&beginning)
            })
        };
        self.kinds.keys().find(same_name).or_else(|| self.kinds.keys().find(alike)).map(String::as_str)
    }

    /// Turns the library's error into a sentence with the key and its origin, without the value.
    fn explain(&self, error: ConfigError) -> SettingsError {
        let (key, reason) = match error {
            ConfigError::At { error, key: Some(key), .. } => (key, error.to_string()),
            ConfigError::Type { expected, key: Some(key), .. } => (key, format!("must be {expected}")),
            ConfigError::NotFound(key) => (key, "is missing".to_owned()),
            other => ("a setting".to_owned(), first_line(&other.to_string())),
        };
        let origin = self.values.get(&key).map_or("the settings", |(_, origin)| origin);
        let reason = match key.as_str() {
            "server.public_addr" | "server.admin_addr" => {
                "must be an IP address and a port, such as 127.0.0.1:8080".to_owned()
            }
            "auth.kind" => "must be insecure, jwt or signed".to_owned(),
            _ => reason,
        };
        bad_value(&key, origin, &reason)
    }
}

fn bad_value(key: &str, origin: &str, reason: &str) -> SettingsError {
    SettingsError::BadValue { key: key.to_owned(), origin: origin.to_owned(), reason: reason.to_owned() }
}

/// All values of a TOML document by their full key, `section.name`.
fn leaves(text: &str, origin: &str) -> Result<BTreeMap<String, Value>, SettingsError> {
    let tables = File::from_str(text, FileFormat::Toml).collect().map_err(|error| SettingsError::Syntax {
        origin: origin.to_owned(),
        reason: match error {
            ConfigError::FileParse { cause, .. } => outline(&cause.to_string()),
            other => first_line(&other.to_string()),
        },
    })?;
    let mut leaves = BTreeMap::new();
    collect_leaves("", tables, &mut leaves);
    Ok(leaves)
}

fn collect_leaves(parent: &str, table: config::Map<String, Value>, leaves: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if parent.is_empty() { name } else { format!("{parent}.{name}") };
        match value.kind {
            // An empty section says nothing; deeper down it stands where a value should be.
            ValueKind::Table(table) if !table.is_empty() || parent.is_empty() => {
                collect_leaves(&key, table, leaves);
            }
            _ => {
                leaves.insert(key, value);
            }
        }
    }
}

/// A TOML error has a line with the place, a picture of the source (which may show a secret) and the reason.
fn outline(message: &str) -> String {
    let place = first_line(message).replacen("TOML parse error ", "", 1);
    let reason =
        message.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
    match reason.last() {
        Some(reason) => format!("{place}: {reason}"),
        None => place,
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}
