//! Why a token was refused, and why no token can be checked at all.

use std::path::PathBuf;

use crate::settings::one_line;

/// Why a token was refused. Holds nothing of the token, so that it can be logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// Not a token of this kind, or a claim of the wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// The signature is not ours.
    #[error("the token's signature is invalid")]
    BadSignature,
    /// The token names an algorithm that the settings do not allow.
    #[error("the token's algorithm is not allowed")]
    WrongAlgorithm,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come; or a clock is wrong.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It does not say when its time is over.
    #[error("the token has no expiry")]
    NoExpiry,
    /// It was made for somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// It was made by somebody else.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// It names no user.
    #[error("the token names no user")]
    NoUser,
    /// The user's id could not be part of a channel name.
    #[error("the token's user id is invalid")]
    UserNotAllowed,
    /// Its list of channels is not one.
    #[error("the token's list of channels is invalid")]
    BadChannels,
    /// It grants access to another user's channel, and the settings do not allow that.
    #[error("the token grants access to another user's channel")]
    ForeignUser,
}

impl AuthError {
    /// Every variant, for metrics that begin at zero.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::BadSignature,
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
            Self::BadSignature => "bad_signature",
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

/// Why tokens cannot be checked with these settings. One sentence that names the key; no secret is part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthSetupError {
    /// `auth.secret` is needed.
    #[error("auth.secret or auth.secret_file must be set")]
    NoSecret,
    /// `auth.public_key_file` is needed.
    #[error("auth.public_key_file must be set")]
    NoPublicKey,
    /// `auth.algorithms` is empty, names something unknown, or needs more than one key.
    #[error("auth.algorithms must list known algorithms of one family")]
    Algorithms,
    /// The file cannot be read.
    #[error("auth.public_key_file {} cannot be read: {reason}", one_line(path.display()))]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The file holds something else than the right key.
    #[error("auth.public_key_file {} {reason}", one_line(path.display()))]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; begins with a verb.
        reason: &'static str,
    },
    /// A token made for the trial was not accepted: the build lacks a part.
    #[error("auth.algorithms cannot be used: the cryptography of this build failed its self-test")]
    SelfTest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct_and_fit_for_metrics() {
        let labels: HashSet<_> = AuthError::ALL.iter().map(|error| error.label()).collect();
        assert_eq!(labels.len(), AuthError::ALL.len());
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
