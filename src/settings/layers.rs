//! The layers of the settings. Each layer is flattened and checked key by key before the merge, so that an error names
//! the key and its source.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::{Config, ConfigError, File, FileFormat, Source as _, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::namespaces::refused_namespace;
use super::nearest::nearest_key;
use super::renamed::new_name;
use super::variables::variable;
use super::{DEFAULT, SettingsError, parse_duration, read_text};

/// The maximum length of a settings file, in bytes. A longer file is the wrong file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The origin of the values in `config/default.toml`.
const BUILT_IN: &str = "the built-in defaults";

/// The type of a key, derived from its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SettingType {
    Bool,
    Integer,
    Duration,
    Text,
    List,
}

impl SettingType {
    fn of(value: &Value) -> Option<Self> {
        match value.kind {
            ValueKind::Boolean(_) => Some(Self::Bool),
            ValueKind::I64(_) => Some(Self::Integer),
            ValueKind::String(ref text) if parse_duration(text).is_some() => Some(Self::Duration),
            ValueKind::String(_) => Some(Self::Text),
            ValueKind::Array(_) => Some(Self::List),
            _ => None,
        }
    }

    /// The requirement that `given` does not meet. `given` may be a secret, so only numbers and durations are repeated.
    fn requirement(self, given: &ValueKind) -> String {
        let number = match given {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        let duration = match given {
            ValueKind::String(text) if parse_duration(text).is_some() => Some(text),
            _ => None,
        };
        match (self, number, duration) {
            (Self::Duration, Some(number @ 0..), _) => {
                format!(r#"must be a duration, a whole number and a unit (ms, s, m, h or d), such as "{number}s""#)
            }
            (Self::Integer, _, Some(duration)) => {
                format!(
                    "must be a whole number of at least 0, without a unit; \"{duration}\" is a duration"
                )
            }
            (Self::Duration, ..) => {
                r#"must be a duration, a whole number and a unit (ms, s, m, h or d), such as "45s" or "500ms""#
                    .to_owned()
            }
            (Self::Bool, ..) => "must be true or false".to_owned(),
            (Self::Integer, ..) => "must be a whole number of at least 0".to_owned(),
            (Self::Text, ..) => "must be a string in quotes".to_owned(),
            (Self::List, ..) => "must be a list of strings".to_owned(),
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match (self, &value.kind) {
            (Self::Bool, ValueKind::Boolean(_)) | (Self::Text, ValueKind::String(_)) => true,
            (Self::Duration, ValueKind::String(text)) => parse_duration(text).is_some(),
            (Self::Integer, ValueKind::I64(number)) => *number >= 0,
            (Self::List, ValueKind::Array(items)) => {
                items.iter().all(|item| matches!(item.kind, ValueKind::String(_)))
            }
            _ => false,
        }
    }

    /// Parses the text of an environment variable or flag by the type of its key. A type guessed from the text would
    /// turn a secret like 0123 into a number.
    fn parse(self, text: &str) -> Option<Value> {
        let kind = match self {
            Self::Bool => ValueKind::Boolean(text.parse().ok()?),
            Self::Integer => ValueKind::I64(text.parse().ok()?),
            Self::Text | Self::Duration => ValueKind::String(text.to_owned()),
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

/// The values of all layers added so far, a later layer over an earlier one.
pub(super) struct Layers {
    types: BTreeMap<String, SettingType>,
    values: BTreeMap<String, (Value, String)>,
    /// The mistakes found so far.
    pub(super) errors: Vec<SettingsError>,
    /// The keys of `errors`, and the suggestions for unknown keys. Further mistakes of these keys are consequences.
    pub(super) reported: Vec<String>,
    /// One sentence for each possible mistake.
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// Starts with the defaults, which also define the keys and their types.
    pub(super) fn new(defaults: &str) -> Result<Self, SettingsError> {
        let origin = BUILT_IN;
        let values = leaves(defaults, origin)?;
        let types =
            values.iter().filter_map(|(key, value)| Some((key.clone(), SettingType::of(value)?))).collect();
        let values = values.into_iter().map(|(key, value)| (key, (value, origin.to_owned()))).collect();
        Ok(Self { types, values, errors: Vec::new(), reported: Vec::new(), warnings: Vec::new() })
    }

    /// The names of all settings, `section.name`.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.types.keys().map(String::as_str)
    }

    /// Adds a TOML document as the next layer. `origin` names it in errors.
    pub(super) fn add_toml(&mut self, text: &str, origin: &str) {
        let leaves = match leaves(text, origin) {
            Ok(leaves) => leaves,
            Err(error) => return self.errors.push(error),
        };
        for (key, value) in leaves {
            let Some(kind) = self.type_of(&key, &key, origin) else { continue };
            if kind.accepts(&value) {
                self.values.insert(key, (value, origin.to_owned()));
            } else {
                self.reject(&key, origin, &kind.requirement(&value.kind));
            }
        }
    }

    /// Adds a TOML file as the next layer.
    pub(super) fn add_file(&mut self, path: &Path) {
        match read_text(path, MAX_FILE_BYTES) {
            Ok(text) => self.add_toml(&text, &path.display().to_string()),
            Err(reason) => self.errors.push(SettingsError::Unreadable {
                key: "the settings file",
                path: path.to_owned(),
                reason,
            }),
        }
    }

    /// Sets one value from text. `name` is the name in the source: the key, or an environment variable.
    pub(super) fn set_from_text(&mut self, key: &str, name: &str, text: &str, origin: &str) {
        let Some(kind) = self.type_of(key, name, origin) else { return };
        // `Sources::from_process` replaces invalid UTF-8 by this character.
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return self.reject(key, origin, "must be valid UTF-8");
        }
        match kind.parse(text) {
            Some(value) => drop(self.values.insert(key.to_owned(), (value, origin.to_owned()))),
            None => self.reject(key, origin, &kind.requirement(&ValueKind::String(text.to_owned()))),
        }
    }

    /// Merges the layers into the typed settings. A value of the wrong type is added to `errors` and replaced by its
    /// default.
    ///
    /// # Errors
    /// A default has the wrong type, which the tests exclude.
    pub(super) fn build<T: DeserializeOwned>(&mut self) -> Result<T, SettingsError> {
        self.complete_namespaces();
        let defaults = Self::new(DEFAULT)?.values;
        loop {
            let error = match self.merge() {
                Ok(settings) => return Ok(settings),
                Err(error) => error,
            };
            let (key, error) = self.explain(error);
            let Some(default) = defaults.get(&*default_key(&key)) else { return Err(error) };
            let given = self.values.insert(key.clone(), default.clone());
            if given.is_some_and(|(_, origin)| origin == default.1) {
                return Err(error);
            }
            self.errors.push(error);
            self.reported.push(key);
        }
    }

    /// Gives every namespace the options of `[namespaces.default]` that it does not set.
    fn complete_namespaces(&mut self) {
        self.check_public_namespaces();
        let names: BTreeSet<String> =
            self.values.keys().filter_map(|key| namespace_of(key)).map(str::to_owned).collect();
        let default_option = |key| split_namespace_key(key).filter(|(namespace, _)| *namespace == "default");
        let defaults: Vec<(String, _)> = self
            .values
            .iter()
            .filter_map(|(key, value)| Some((default_option(key)?.1.to_owned(), value.clone())))
            .collect();
        for name in names {
            for (option, value) in &defaults {
                // The messages of every user are never public by default.
                if option == "subscribe" && ["user", "all"].contains(&&*name) {
                    let value = (Value::from("token"), value.1.clone());
                    self.values.entry(format!("namespaces.{name}.subscribe")).or_insert(value);
                    continue;
                }
                self.values.entry(format!("namespaces.{name}.{option}")).or_insert_with(|| value.clone());
            }
        }
    }

    /// Refuses a public namespace whose own section says otherwise.
    fn check_public_namespaces(&mut self) {
        let Some((Value { kind: ValueKind::Array(public), .. }, origin)) =
            self.values.get("channels.public_namespaces").cloned()
        else {
            return;
        };
        for name in public.iter().map(ToString::to_string) {
            let key = format!("namespaces.{name}.subscribe");
            let own = self.values.get(&key).filter(|(_, origin)| origin != BUILT_IN);
            if own.is_some_and(|(value, _)| value.kind == ValueKind::String("token".to_owned())) {
                let reason = format!("must not contain {name}, because {key} is \"token\"");
                self.reject("channels.public_namespaces", &origin, &reason);
            }
        }
    }

    fn merge<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut builder = Config::builder();
        for (key, (value, _)) in &self.values {
            builder = builder.set_override(key, value.clone())?;
        }
        builder.build().and_then(Config::try_deserialize)
    }

    /// The type of a key. `None` if the key does not exist, which is added to `errors`.
    fn type_of(&mut self, key: &str, name: &str, origin: &str) -> Option<SettingType> {
        if let Some(reason) = namespace_of(key).and_then(refused_namespace) {
            self.reject(key, origin, reason);
            return None;
        }
        if let Some(kind) = self.types.get(&*default_key(key)) {
            return Some(*kind);
        }
        let renamed = new_name(key);
        let nearest = match namespace_of(key) {
            Some(namespace) => nearest_key(&default_key(key), self.keys())
                .and_then(split_namespace_key)
                .map(|(_, option)| format!("namespaces.{namespace}.{option}")),
            None => nearest_key(key, self.keys()).map(str::to_owned),
        };
        let hint = match &nearest {
            _ if key == "profile" => "; set the profile with --profile or GATEWAY_PROFILE".to_owned(),
            _ if key == "config_dir" => "; set the folder with --config or GATEWAY_CONFIG_DIR".to_owned(),
            Some(known) if renamed.is_some() && name != key => {
                format!("; it was renamed to {}", variable(known))
            }
            Some(known) if renamed.is_some() => format!("; it was renamed to {known}"),
            Some(known) if name != key => format!("; did you mean {}?", variable(known)),
            Some(known) => format!("; did you mean {known}?"),
            None => String::new(),
        };
        self.errors.push(SettingsError::UnknownKey { key: name.to_owned(), origin: origin.to_owned(), hint });
        self.reported.extend(nearest);
        None
    }

    fn reject(&mut self, key: &str, origin: &str, reason: &str) {
        self.errors.push(bad_value(key, origin, reason));
        self.reported.push(key.to_owned());
    }

    /// Turns an error of the library into one with key and origin, without the value and the names of Rust types.
    fn explain(&self, error: ConfigError) -> (String, SettingsError) {
        let key = match error {
            ConfigError::At { key: Some(key), .. }
            | ConfigError::Type { key: Some(key), .. }
            | ConfigError::NotFound(key) => key,
            _ => "a setting".to_owned(),
        };
        let origin = self.values.get(&key).map_or("the settings", |(_, origin)| origin);
        let reason = match (&*default_key(&key), self.types.get(&*default_key(&key))) {
            ("server.public_addr" | "server.admin_addr", _) => {
                "must be an IP address and a port, such as 127.0.0.1:8080"
            }
            ("auth.kind", _) => "must be insecure, introspection, jwt, redis or signed",
            ("namespaces.default.presence", _) => "must be off, count or members",
            ("namespaces.default.subscribe", _) => "must be token or public",
            ("control.when_stale", _) => "must be accept or refuse",
            ("broker.shards", _) => "must be one or slots",
            ("broker.ready_with_shards", _) => "must be all or any",
            ("log.format", _) => "must be text or json",
            (_, Some(SettingType::Integer)) => "must be at most 4294967295",
            _ => "has an invalid value",
        };
        let error = bad_value(&key, origin, reason);
        (key, error)
    }
}

/// Splits `namespaces.<namespace>.<option>` into namespace and option; `None` for any other key.
fn split_namespace_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("namespaces.")?.split_once('.')
}

/// The namespace of `namespaces.<namespace>.<option>`.
fn namespace_of(key: &str) -> Option<&str> {
    split_namespace_key(key).map(|(namespace, _)| namespace)
}

/// The key in `default.toml` that defines the type of `key`: that of `[namespaces.default]` for any namespace.
fn default_key(key: &str) -> Cow<'_, str> {
    match split_namespace_key(key) {
        Some((_, option)) => Cow::Owned(format!("namespaces.default.{option}")),
        None => Cow::Borrowed(key),
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
            ConfigError::FileParse { cause, .. } => summarize(&cause.to_string()),
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
            // An empty section sets nothing. An empty table in a section replaces a value, so its key is reported.
            ValueKind::Table(table) if !table.is_empty() || parent.is_empty() => {
                collect_leaves(&key, table, leaves);
            }
            _ => {
                leaves.insert(key, value);
            }
        }
    }
}

/// Position and reason of a TOML error, without the excerpt of the source between them, which may show a secret.
fn summarize(message: &str) -> String {
    let position = first_line(message).replacen("TOML parse error ", "", 1);
    let reason =
        message.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
    match reason.last() {
        Some(reason) => format!("{position}: {reason}"),
        None => position,
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}
