//! How the issuer of opaque tokens is asked.

use std::time::Duration;

use super::hash::TokenHash;

/// A token that the issuer is asked about.
#[derive(Clone)]
pub struct TokenQuery {
    /// The hash of the token.
    pub hash: TokenHash,
    /// The text of the token.
    pub text: Box<str>,
}

/// What the issuer says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerAnswer {
    /// The issuer does not know the token, or it is not valid any more.
    Unknown,
    /// The issuer has something other than claims for the token.
    Malformed,
    /// The token is valid.
    Claims {
        /// The claims, a JSON object.
        json: Vec<u8>,
        /// When the issuer removes the token. `None`: the claims decide.
        expires_in: Option<Duration>,
    },
}

/// Why a call has no answer. Contains nothing of the token or the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer within `auth.call_timeout`.
    #[error("no answer within auth.call_timeout")]
    Timeout,
    /// The issuer cannot be reached, refuses the call, or answers with something else.
    #[error("{0}")]
    Failed(String),
    /// The issuer answers, but refuses this call. It may accept others.
    #[error("{0}")]
    Rejected(String),
}

/// An issuer of opaque tokens.
pub trait TokenIssuer: 'static {
    /// The most tokens of one call.
    const MAX_TOKENS: usize;
    /// The name of the issuer in log lines and notes.
    const NAME: &str;
    /// Whether the issuer gets the text of a token, which must then be an access token (RFC 6749, appendix A.12).
    const READS_TEXT: bool;

    /// Asks about some tokens. Returns an answer for each, in their order.
    fn ask(&self, tokens: Vec<TokenQuery>) -> impl Future<Output = Result<Vec<IssuerAnswer>, CallError>>;
}
