//! The errors of loading settings.

use std::{fmt, path::PathBuf};

/// The longest part of the input that a message repeats, in characters.
const MAX_REPEATED: usize = 200;

/// Why the settings cannot be used. The text is one sentence that names the key and contains no secret. The process
/// prints it and exits with code 78 before it binds a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The profile is neither development nor production.
    #[error("unknown profile \"{}\"; it must be development or production", one_line(.0))]
    UnknownProfile(String),
    /// A file or folder that the settings name cannot be read, or its contents are not text.
    #[error("{key} {} cannot be read: {reason}", one_line(path.display()))]
    Unreadable {
        /// The key that names the file, such as `auth.secret_file`, or "the settings file".
        key: &'static str,
        /// The path as the settings have it.
        path: PathBuf,
        /// The text of the operating system, or why the contents are refused.
        reason: String,
    },
    /// A settings file is not TOML.
    #[error("{} is not valid TOML: {}", one_line(origin), one_line(reason))]
    Syntax {
        /// The path of the file.
        origin: String,
        /// The error of the parser, with line and column.
        reason: String,
    },
    /// The name of an environment variable resembles that of a setting.
    #[error("unknown environment variable {}; did you mean {suggestion}?", one_line(name))]
    UnknownVariable {
        /// The name of the variable, unchanged.
        name: String,
        /// The variable with the most similar name.
        suggestion: String,
    },
    /// The key does not exist, most likely because of a spelling mistake.
    #[error("unknown key {} (from {}){hint}", name_text(key), one_line(origin))]
    UnknownKey {
        /// The key, or the environment variable, unchanged.
        key: String,
        /// The source: a file, the environment or the command line.
        origin: String,
        /// Empty, or a suggestion that begins with its own punctuation.
        hint: String,
    },
    /// A value has the wrong type or cannot be parsed.
    #[error("{key} (from {}) {reason}", one_line(origin))]
    BadValue {
        /// The key of the value.
        key: String,
        /// The source: a file, the environment or the command line.
        origin: String,
        /// The requirement; begins with a verb.
        reason: String,
    },
    /// A value is out of range, or unsafe together with others.
    #[error("{key} {reason}")]
    Refused {
        /// The key to change.
        key: &'static str,
        /// The requirement and its reason; begins with a verb.
        reason: String,
    },
}

impl SettingsError {
    /// The key to change; `None` if the error is not about one key.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { key, .. } | Self::Refused { key, .. } => Some(key),
            Self::BadValue { key, .. } | Self::UnknownKey { key, .. } => Some(key),
            Self::UnknownProfile(_) | Self::Syntax { .. } | Self::UnknownVariable { .. } => None,
        }
    }
}

/// Every mistake in the settings, at least one. The text has one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsErrors(Vec<SettingsError>);

impl SettingsErrors {
    /// Fails with all mistakes, if there are any.
    pub(super) fn fail_if_any(errors: Vec<SettingsError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&SettingsError) -> bool) {
        self.0.retain(keep);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order of detection.
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

/// The text of an I/O error without the number that Rust appends.
pub(crate) fn plain_io(error: impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// The input as part of a sentence: control characters such as line breaks are escaped, and a long text is cut.
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

/// A name as part of a sentence: as in [`one_line`], and in quotes if it is empty or contains other characters than names
/// have.
pub(crate) fn name_text(name: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_.:-".contains(character);
    if name.is_empty() || !name.chars().all(is_plain) {
        format!("\"{}\"", one_line(name))
    } else {
        one_line(name)
    }
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

    #[test]
    fn an_unusual_name_is_quoted() {
        for (name, expected) in [
            ("auth.secret", "auth.secret"),
            ("room:7", "room:7"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a\n", r#""a\n""#),
        ] {
            assert_eq!(name_text(name), expected);
        }
    }
}
