//! Why settings were refused.

use std::path::PathBuf;

/// Why the settings cannot be used. Its text is one sentence that names the key; no secret is ever part of it.
/// The process should print it and exit with code 78 before it binds a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The profile's name is not one of ours.
    #[error("unknown profile {0:?}: it must be development or production")]
    UnknownProfile(String),
    /// A file or folder that was asked for cannot be read, or its contents are not text.
    #[error("{key} cannot be read from {}: {reason}", path.display())]
    Unreadable {
        /// What the file is: a key such as `auth.secret_file`, or "the settings file".
        key: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// A settings file is not TOML.
    #[error("{origin} is not valid TOML: {reason}")]
    Syntax {
        /// The file.
        origin: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A key that does not exist: most likely a spelling mistake.
    #[error("unknown key {key} in {origin}{hint}")]
    UnknownKey {
        /// The key as it was given.
        key: String,
        /// Where it was given: a file, an environment variable or the command line.
        origin: String,
        /// Empty, or what to do instead, beginning with its own punctuation.
        hint: String,
    },
    /// A value of the wrong type, or one that cannot be understood.
    #[error("{key} (from {origin}) {reason}")]
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
