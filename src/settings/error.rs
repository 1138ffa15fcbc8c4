//! Why settings were refused.

use std::{fmt, path::PathBuf};

/// The longest part that is repeated of what was given, in characters.
const MAX_REPEATED: usize = 200;

/// Why the settings cannot be used. Its text is one sentence that names the key; no secret is ever part of it.
/// The process should print it and exit with code 78 before it binds a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The profile's name is not one of ours.
    #[error("unknown profile \"{}\"; it must be development or production", one_line(.0))]
    UnknownProfile(String),
    /// A file or folder that was asked for cannot be read, or its contents are not text.
    #[error("{key} {} cannot be read: {reason}", one_line(path.display()))]
    Unreadable {
        /// What the file is: a key such as `auth.secret_file`, or "the settings file".
        key: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// A settings file is not TOML.
    #[error("{} is not valid TOML: {}", one_line(origin), one_line(reason))]
    Syntax {
        /// The file.
        origin: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// An environment variable that is nearly a setting.
    #[error("unknown environment variable {}; did you mean {suggestion}?", one_line(name))]
    UnknownVariable {
        /// The variable as it was given.
        name: String,
        /// What is meant, most likely.
        suggestion: String,
    },
    /// A key that does not exist: most likely a spelling mistake.
    #[error("unknown key {} (from {}){hint}", one_line(key), one_line(origin))]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// Where it was given: a file, an environment variable or the command line.
        origin: String,
        /// Empty, or what to do instead, beginning with its own punctuation.
        hint: String,
    },
    /// A value of the wrong type, or one that cannot be understood.
    #[error("{key} (from {}) {reason}", one_line(origin))]
    BadValue {
        /// The key.
        key: String,
        /// Where the value was given.
        origin: String,
        /// What it must be; begins with a verb.
        reason: String,
    },
    /// A value that can be understood, but is out of range or unsafe together with others.
    #[error("{key} {reason}")]
    Refused {
        /// The key to change.
        key: &'static str,
        /// What it must be and why; begins with a verb.
        reason: String,
    },
}

impl SettingsError {
    /// The key that it is about, if that is one of the settings.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { key, .. } | Self::Refused { key, .. } => Some(key),
            Self::BadValue { key, .. } | Self::UnknownKey { key, .. } => Some(key),
            Self::UnknownProfile(_) | Self::Syntax { .. } | Self::UnknownVariable { .. } => None,
        }
    }
}

/// Everything that is wrong with the settings: at least one mistake. Its text has a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsErrors(Vec<SettingsError>);

impl SettingsErrors {
    /// All mistakes, or nothing when there are none.
    pub(super) fn fail_if_any(errors: Vec<SettingsError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The mistakes, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &SettingsError> {
        self.0.iter()
    }
}

impl From<SettingsError> for SettingsErrors {
    fn from(error: SettingsError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

/// The text of the operating system's error, without the number that Rust appends.
pub(crate) fn plain_io(error: impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// What was given, fit to be repeated in a sentence: no line ends and other control characters, and not endless.
pub(crate) fn one_line(given: impl fmt::Display) -> String {
    let given = given.to_string();
    let mut line = String::new();
    for character in given.chars().take(MAX_REPEATED) {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if given.chars().nth(MAX_REPEATED).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn io_messages_have_no_error_number() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(plain_io(error), "No such file or directory");
        assert_eq!(plain_io(io::Error::other("plain")), "plain");
    }

    #[test]
    fn repeated_input_stays_on_one_line() {
        assert_eq!(one_line("session.größe"), "session.größe");
        assert_eq!(one_line("a\nb\0\u{85}"), "a\\nb\\u{0}\\u{85}");
        assert_eq!(one_line("x".repeat(200)), "x".repeat(200));
        assert_eq!(one_line("x".repeat(201)), format!("{}…", "x".repeat(200)));
    }
}
