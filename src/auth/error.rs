//! Why a token is refused, and why no token can be verified.

use std::path::PathBuf;

use crate::settings::one_line;

/// Why a token is refused. Contains nothing of the token, so it can be logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// The token is of another kind, or a claim has the wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// The issuer of opaque tokens does not know the token, or it is not valid any more.
    #[error("the issuer does not know the token")]
    Unknown,
    /// The signature does not match the configured key.
    #[error("the token's signature is invalid")]
    BadSignature,
    /// No key has the token's `kid`, or suits its algorithm.
    #[error("no key is known for the token")]
    UnknownKey,
    /// The token names an algorithm that the settings do not allow.
    #[error("the token's algorithm is not allowed")]
    WrongAlgorithm,
    /// The expiry, plus the leeway, is in the past.
    #[error("the token has expired")]
    Expired,
    /// The token is valid only later, or a clock is wrong.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A jwt has no `exp`.
    #[error("the token has no expiry")]
    NoExpiry,
    /// `aud` does not contain `auth.audience`.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `iss` is not `auth.issuer`.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// The user id is missing or empty.
    #[error("the token names no user")]
    NoUser,
    /// The user id is not valid in a channel name.
    #[error("the token's user id is invalid")]
    UserNotAllowed,
    /// `channels` or `subscribe` is not a list, is too long, or has an invalid entry.
    #[error("the token's list of channels is invalid")]
    BadChannels,
    /// The token lists a channel of another user, and `auth.allow_foreign_user_channels` is false.
    #[error("the token grants access to another user's channel")]
    ForeignUser,
}

impl AuthError {
    /// Every variant, so that each metric starts at zero.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::Unknown,
        Self::BadSignature,
        Self::UnknownKey,
        Self::WrongAlgorithm,
        Self::Expired,
        Self::NotYetValid,
        Self::NoExpiry,
        Self::WrongAudience,
        Self::WrongIssuer,
        Self::NoUser,
        Self::UserNotAllowed,
        Self::BadChannels,
        Self::ForeignUser,
    ];

    /// A short name in snake case, for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoExpiry => "no_expiry",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::NoUser => "no_user",
            Self::UserNotAllowed => "user_not_allowed",
            Self::BadChannels => "bad_channels",
            Self::ForeignUser => "foreign_user",
        }
    }
}

/// Why tokens cannot be verified with these settings. One sentence that names the key and contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthSetupError {
    /// `auth.secret` is required and missing.
    #[error("auth.secret or auth.secret_file must be set")]
    NoSecret,
    /// `auth.public_key_file` is required and missing.
    #[error("auth.public_key_file must be set")]
    NoPublicKey,
    /// `auth.algorithms` is empty, has an unknown name, or needs more than one key.
    #[error("auth.algorithms must list known algorithms of one family")]
    Algorithms,
    /// The key file cannot be read.
    #[error("auth.public_key_file {} cannot be read: {reason}", one_line(path.display()))]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The text of the operating system, or why the contents are refused.
        reason: String,
    },
    /// The file does not contain a suitable key.
    #[error("auth.public_key_file {} {reason}", one_line(path.display()))]
    WrongKey {
        /// The path of the file.
        path: PathBuf,
        /// The fault of the key; begins with a verb.
        reason: &'static str,
    },
    /// `auth.keys_file` cannot be read or has an unsuitable key.
    #[error("auth.keys_file {} {reason}", one_line(path.display()))]
    KeySet {
        /// The path of the file.
        path: PathBuf,
        /// The fault; begins with a verb.
        reason: String,
    },
    /// `auth.ca_file` cannot be used.
    #[error("auth.ca_file {0}")]
    CaFile(String),
    /// The token of the self-test was refused: the build lacks an algorithm.
    #[error("auth.algorithms cannot be used: the cryptography of this build failed its self-test")]
    SelfTest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct_and_in_snake_case() {
        let labels: HashSet<_> = AuthError::ALL.iter().map(|error| error.label()).collect();
        assert_eq!(labels.len(), AuthError::ALL.len());
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
