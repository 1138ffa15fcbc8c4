//! Labels of opaque tokens.

use super::Label;

labels! {
    /// What became of looking up an opaque token.
    TokenLookupResult {
        /// The answer was cached.
        Cached = "cached",
        /// The issuer was being asked about the same token.
        Shared = "shared",
        /// The issuer is asked.
        Asked = "asked",
        /// The issuer failed, and the calls to it pause.
        BackingOff = "backing_off",
        /// Too many tokens waited for a call.
        Overloaded = "overloaded",
        /// The text is too long for a token.
        TooLong = "too_long",
        /// The text cannot be a token.
        NotAToken = "not_a_token",
    }
}

labels! {
    /// The result of a call to the issuer of opaque tokens.
    TokenCallResult {
        /// The issuer answered.
        Answered = "answered",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It cannot be reached, or it answered with something else.
        Failed = "failed",
    }
}
