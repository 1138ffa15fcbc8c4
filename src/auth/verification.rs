//! The answer about a token, which may come later.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::{AuthError, Principal};

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// The token is not valid.
    Refused(AuthError),
    /// The backend that issued the token cannot be asked now. The token may be valid.
    Unavailable,
}

/// The bearer of a token, or why it is not accepted.
pub type TokenAnswer = Result<Principal, TokenError>;

/// A token that is being verified, or its answer.
#[derive(Debug)]
pub enum Verification {
    /// The answer is known at once.
    Known(TokenAnswer),
    /// The backend that issued the token is being asked.
    Pending(PendingVerification),
}

/// Resolves to the answer about a token.
#[derive(Debug)]
pub struct PendingVerification(oneshot::Receiver<TokenAnswer>);

impl PendingVerification {
    /// A pending verification, and where its answer goes. Without an answer, the token is unavailable.
    pub fn new() -> (oneshot::Sender<TokenAnswer>, Self) {
        let (answer, receiver) = oneshot::channel();
        (answer, Self(receiver))
    }
}

impl Future for PendingVerification {
    type Output = TokenAnswer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TokenAnswer> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(TokenError::Unavailable)))
    }
}
