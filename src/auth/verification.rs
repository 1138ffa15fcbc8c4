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
    pub(super) fn new(on_late_refusal: LateRefusal) -> (AnswerSender, Self) {
        let (answer, receiver) = oneshot::channel();
        (AnswerSender { answer, on_late_refusal }, Self(receiver))
    }
}

/// Called if a token is refused after nobody waits for the answer any more. A client that leaves before the answer must
/// not try tokens without a limit.
pub(super) type LateRefusal = Box<dyn FnOnce() + Send>;

/// Where the answer about a token goes.
pub(super) struct AnswerSender {
    answer: oneshot::Sender<TokenAnswer>,
    on_late_refusal: LateRefusal,
}

impl AnswerSender {
    /// Whether nobody waits for the answer any more.
    pub(super) fn is_closed(&self) -> bool {
        self.answer.is_closed()
    }

    pub(super) fn send(self, answer: TokenAnswer) {
        if let Err(Err(TokenError::Refused(_))) = self.answer.send(answer) {
            (self.on_late_refusal)();
        }
    }
}

impl Future for PendingVerification {
    type Output = TokenAnswer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TokenAnswer> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(TokenError::Unavailable)))
    }
}
