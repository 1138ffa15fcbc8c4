//! Assigns the server's answers to the batch of commands that waits for them. No IO.
//!
//! The server answers commands in order, so an error belongs to the first command of the batch that has no answer. A
//! pushed `sunsubscribe` can look like the answer to an unsubscription of the same channel. The batch therefore does
//! not count its answers: it ends with the answer to its last command, a repeated subscription (the fence).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::link_error::LinkError;
use super::frame::Change;
use super::refusal::Refusal;

/// What the server did with a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Confirmed {
    /// The channels that were refused, in the order of the batch. All others are subscribed.
    pub(in super::super) refused: Vec<(String, Refusal)>,
}

/// The batch that waits for answers; at most one.
#[derive(Default)]
pub(super) struct PendingBatch(Option<Batch>);

/// Commands whose answers are awaited.
struct Batch {
    change: Change,
    /// A command for each channel.
    channels: Arc<[String]>,
    /// How many of them have an answer.
    answered: usize,
    fence: Arc<str>,
    confirmed: Confirmed,
    done: oneshot::Sender<Result<Confirmed, LinkError>>,
}

/// What a change of a subscription was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An answer to the batch.
    Batch,
    /// The server ended the subscription of a channel unasked.
    Server,
    /// Neither: the answers are not those of the commands.
    Unknown,
}

impl PendingBatch {
    /// Begins a batch. Returns where its result arrives.
    ///
    /// # Errors
    /// The batch before has no result, because its caller did not wait for it.
    pub(super) fn begin(
        &mut self,
        change: Change,
        channels: &Arc<[String]>,
        fence: &Arc<str>,
    ) -> Result<oneshot::Receiver<Result<Confirmed, LinkError>>, LinkError> {
        if self.0.is_some() {
            return Err(LinkError::Closed);
        }
        let (done, result) = oneshot::channel();
        let (channels, fence) = (Arc::clone(channels), Arc::clone(fence));
        self.0 = Some(Batch { change, channels, answered: 0, fence, confirmed: Confirmed::default(), done });
        Ok(result)
    }

    /// Handles a change of a subscription.
    pub(super) fn changed(&mut self, change: Change, channel: &str) -> Origin {
        match (change, &mut self.0) {
            (Change::Subscribed, Some(batch)) => {
                if batch.expects(channel, Change::Subscribed) {
                    batch.answered += 1;
                } else if batch.is_fence(channel) {
                    self.end(Ok(()));
                } else {
                    return Origin::Unknown;
                }
                Origin::Batch
            }
            (Change::Subscribed, None) => Origin::Unknown,
            (Change::Unsubscribed, Some(batch)) if batch.expects(channel, change) => {
                batch.answered += 1;
                Origin::Batch
            }
            // The push came before the answer, which will be an error.
            (Change::Unsubscribed, Some(batch)) if batch.unsubscribes(channel) => Origin::Batch,
            (Change::Unsubscribed, _) => Origin::Server,
        }
    }

    /// Handles an error.
    ///
    /// # Errors
    /// The error is not about a channel of the batch, or it ends the link.
    pub(super) fn failed(&mut self, error: &str) -> Result<(), LinkError> {
        let refusal = Refusal::of_answer(error);
        let Some(batch) = &mut self.0 else { return Err(refusal?.into_error()) };
        match (batch.change, batch.channels.get(batch.answered)) {
            (Change::Subscribed, Some(channel)) => {
                batch.confirmed.refused.push((channel.clone(), refusal?));
                batch.answered += 1;
                Ok(())
            }
            // The channel's slot has left, and with it the subscription.
            (Change::Unsubscribed, Some(_)) if matches!(refusal, Ok(Refusal::Moved { .. })) => {
                batch.answered += 1;
                Ok(())
            }
            _ => Err(refusal?.into_error()),
        }
    }

    fn end(&mut self, outcome: Result<(), LinkError>) {
        if let Some(Batch { confirmed, done, .. }) = self.0.take() {
            // The caller may have timed out.
            let _ = done.send(outcome.map(|()| confirmed));
        }
    }
}

impl Batch {
    /// Whether the next answer is this one.
    fn expects(&self, channel: &str, change: Change) -> bool {
        self.change == change && self.channels.get(self.answered).is_some_and(|next| next == channel)
    }

    fn unsubscribes(&self, channel: &str) -> bool {
        self.change == Change::Unsubscribed && self.channels.iter().any(|name| name == channel)
    }

    /// Whether a subscription of `channel` answers the last command. Only a batch that subscribes has all its answers
    /// by then.
    fn is_fence(&self, channel: &str) -> bool {
        *self.fence == *channel
            && (self.change == Change::Unsubscribed || self.answered == self.channels.len())
    }
}
