//! Assigns the server's answers to the batch of commands that waits for them. No IO.
//!
//! The server answers commands in order, so an error belongs to the first command of the batch that has no answer. It
//! checks all channels of a command before it subscribes to the first one.
//!
//! A pushed `sunsubscribe` can look like the answer to an unsubscription of the same channel, so a batch of sharded
//! commands cannot count its answers. It ends with the answer to one more command, a repeated subscription of the
//! probe's channel: the fence.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::link_error::LinkError;
use super::frame::Change;
use super::refusal::ChannelRefusal;

/// What the server did with a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Confirmed {
    /// The channels that were refused, in the order of the batch. All others are subscribed.
    pub(in super::super) refused: Vec<(String, ChannelRefusal)>,
}

/// The batch that waits for answers; at most one.
#[derive(Default)]
pub(super) struct PendingBatch(Option<Batch>);

/// Commands whose answers are awaited.
struct Batch {
    change: Change,
    channels: Arc<[String]>,
    /// How many channels a command has; the last command may have fewer.
    width: usize,
    /// How many channels have an answer.
    answered: usize,
    /// The channel of the fence; `None`: the batch ends when each channel has an answer.
    fence: Option<Arc<str>>,
    is_fenced: bool,
    confirmed: Confirmed,
    done: oneshot::Sender<Confirmed>,
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
        width: usize,
        fence: Option<Arc<str>>,
    ) -> Result<oneshot::Receiver<Confirmed>, LinkError> {
        if self.0.is_some() {
            return Err(LinkError::Closed);
        }
        let (done, result) = oneshot::channel();
        let (channels, confirmed) = (Arc::clone(channels), Confirmed::default());
        self.0 =
            Some(Batch { change, channels, width, answered: 0, fence, is_fenced: false, confirmed, done });
        Ok(result)
    }

    /// Handles a change of a subscription.
    pub(super) fn changed(&mut self, change: Change, channel: &str) -> Origin {
        match &mut self.0 {
            Some(batch) if batch.expects(change, channel) => batch.answered += 1,
            Some(batch) if change == Change::Subscribed && batch.is_fence(channel) => batch.is_fenced = true,
            // The push came before the answer, which will be an error.
            Some(batch) if change == Change::Unsubscribed && batch.unsubscribes(channel) => {}
            _ if change == Change::Unsubscribed => return Origin::Server,
            _ => return Origin::Unknown,
        }
        self.end_if_complete();
        Origin::Batch
    }

    /// Handles an error.
    ///
    /// # Errors
    /// The error is not about a channel of the batch, or it ends the link.
    pub(super) fn failed(&mut self, error: &str) -> Result<(), LinkError> {
        let refusal = ChannelRefusal::of_answer(error)?;
        let Some(batch) = &mut self.0 else { return Err(refusal.into_error()) };
        let command = batch.next_command();
        match (batch.change, refusal) {
            (_, refusal) if command.is_empty() => return Err(refusal.into_error()),
            (Change::Unsubscribed, ChannelRefusal::NoPermission(error)) => return Err(error),
            // The channel's slot has left, and with it the subscription.
            (Change::Unsubscribed, ChannelRefusal::Moved { .. }) => {}
            (Change::Subscribed, refusal) => {
                let channels = batch.channels[command.clone()].iter();
                batch.confirmed.refused.extend(channels.map(|channel| (channel.clone(), refusal.clone())));
            }
        }
        batch.answered = command.end;
        self.end_if_complete();
        Ok(())
    }

    fn end_if_complete(&mut self) {
        if self.0.as_ref().is_some_and(Batch::is_complete)
            && let Some(Batch { confirmed, done, .. }) = self.0.take()
        {
            // The caller may have timed out.
            let _ = done.send(confirmed);
        }
    }
}

impl Batch {
    fn is_complete(&self) -> bool {
        self.is_fenced || (self.fence.is_none() && self.answered == self.channels.len())
    }

    /// The channels of the first command without an answer; none if only the fence is left.
    fn next_command(&self) -> Range<usize> {
        self.answered..self.channels.len().min(self.answered + self.width)
    }

    /// Whether the next answer is this one.
    fn expects(&self, change: Change, channel: &str) -> bool {
        self.change == change && self.channels.get(self.answered).is_some_and(|next| next == channel)
    }

    fn unsubscribes(&self, channel: &str) -> bool {
        self.change == Change::Unsubscribed && self.channels.iter().any(|name| name == channel)
    }

    /// Whether a subscription of `channel` answers the fence. A batch that subscribes has all other answers by then.
    fn is_fence(&self, channel: &str) -> bool {
        self.fence.as_deref() == Some(channel)
            && (self.change == Change::Unsubscribed || self.answered == self.channels.len())
    }
}
