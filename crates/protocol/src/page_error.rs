//! Why a request for a page, of members (op 15) or of a history (op 19), is refused.

use super::event::SoftError;

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageError {
    /// The session is not subscribed to the channel, its namespace does not allow the request, or `before` is not a
    /// position.
    NotAllowed,
    /// The page cannot be read now, or the session has too many requests without an answer.
    Unavailable,
}

impl From<PageError> for SoftError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::NotAllowed => Self::NotAllowed,
            PageError::Unavailable => Self::Unavailable,
        }
    }
}
