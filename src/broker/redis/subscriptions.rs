//! Subscribes, and receives messages, in the order in which Redis sends both.
//!
//! redis-rs reports a confirmation at once but queues messages, so the confirmation of an unsubscription can overtake
//! the channel's last messages. If these counted as messages of the next subscription, its cursor would skip the
//! messages between the two subscriptions.

use futures_util::{Stream, StreamExt as _};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::unconstrained;

use super::link_error::LinkError;

/// Splits a connection into its subscriptions and its messages.
pub(super) fn split(subscriber: PubSub) -> (Subscriptions, Messages<PubSubStream>) {
    let (sink, stream) = subscriber.split();
    let (messages, queue_empty) = Messages::new(stream);
    (Subscriptions { sink, queue_empty }, messages)
}

/// The subscriptions of a connection.
pub(super) struct Subscriptions {
    sink: PubSubSink,
    queue_empty: EmptyQueueWaiter,
}

impl Subscriptions {
    /// Subscribes. Returns when Redis confirms it.
    pub(super) async fn subscribe(&mut self, channels: &[String]) -> Result<(), LinkError> {
        self.sink.subscribe(channels).await.map_err(|error| LinkError::of_command(&error))
    }

    /// Unsubscribes. Returns when Redis has confirmed it and the channels' last message has been handled.
    pub(super) async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), LinkError> {
        self.sink.unsubscribe(channels).await.map_err(|error| LinkError::of_command(&error))?;
        self.queue_empty.wait().await
    }
}

/// The messages that Redis has sent.
pub(super) struct Messages<S> {
    queue: S,
    /// The caller that waits until the queue is empty; at most one.
    waiters: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Waits until the queue of messages is empty.
struct EmptyQueueWaiter(mpsc::Sender<oneshot::Sender<()>>);

impl<S: Stream<Item = M> + Unpin, M> Messages<S> {
    fn new(queue: S) -> (Self, EmptyQueueWaiter) {
        let (waiter, waiters) = mpsc::channel(1);
        (Self { queue, waiters }, EmptyQueueWaiter(waiter))
    }

    /// The next message. A call means that the caller has handled all earlier messages.
    ///
    /// redis-rs queues messages without a bound, so the caller must empty the queue in one poll: without
    /// `unconstrained`, tokio would interrupt it after 128 messages. The task that fills the queue runs on this thread,
    /// so the queue never holds more than that task reads in one poll. Further messages wait in TCP's buffers and then
    /// in Redis' output buffer, which has a limit (`client-output-buffer-limit pubsub`).
    pub(super) async fn next(&mut self) -> Option<M> {
        loop {
            tokio::select! {
                biased;
                message = unconstrained(self.queue.next()) => return message,
                // The queue is empty.
                Some(answer) = self.waiters.recv() => {
                    // The caller may have timed out.
                    let _ = answer.send(());
                }
            }
        }
    }
}

impl EmptyQueueWaiter {
    /// Returns when all messages in the queue have been handled.
    ///
    /// # Errors
    /// The messages are no longer received.
    async fn wait(&self) -> Result<(), LinkError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| LinkError::Closed)?;
        answered.await.map_err(|_| LinkError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;

    use futures_util::future::{Either, select};

    use super::*;

    /// Found by the simulation (seed 66196): the last messages of one subscription counted as the first ones of the
    /// next.
    #[tokio::test]
    async fn an_unsubscription_ends_after_its_last_message_is_handled() {
        for waits_first in [true, false] {
            let (sender, mut queue) = mpsc::unbounded_channel();
            let (mut messages, queue_empty) =
                Messages::new(futures_util::stream::poll_fn(move |context| queue.poll_recv(context)));
            let seen = RefCell::new(Vec::new());
            let receiving = pin!(async {
                while let Some(message) = messages.next().await {
                    seen.borrow_mut().push(message);
                }
            });
            let unsubscribing = pin!(async {
                // redis-rs may queue as many messages at once, more than tokio's budget for one poll.
                (0..1_000).for_each(|number| sender.send(number).unwrap());
                queue_empty.wait().await.unwrap();
                seen.borrow().len()
            });
            let ended = match waits_first {
                true => match select(unsubscribing, receiving).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => unreachable!("the sender is alive"),
                },
                false => match select(receiving, unsubscribing).await {
                    Either::Right((ended, _)) => ended,
                    Either::Left(_) => unreachable!("the sender is alive"),
                },
            };
            assert_eq!(ended, 1_000, "waits first: {waits_first}");
        }
    }

    #[tokio::test]
    async fn waiting_on_dropped_messages_is_an_error() {
        let (messages, queue_empty) = Messages::new(futures_util::stream::pending::<()>());
        drop(messages);
        assert!(matches!(queue_empty.wait().await, Err(LinkError::Closed)));
    }
}
