//! Signals on their way to the sessions of a channel.

use std::sync::Arc;

use super::Broker;
use protocol::signal::Signal;

impl Broker {
    /// Sends a signal to the sessions of its channel on every replica, or drops it. Never blocks, and waits for
    /// nothing: a signal that is late is worthless. [`HubEvent::Signal`](super::HubEvent::Signal) follows for every hub
    /// of the channel, this one included.
    pub fn signal(&self, signal: Arc<Signal>) {
        match self {
            Self::Memory(broker) => broker.signal(&signal),
            Self::Redis(broker) => broker.signal(signal),
        }
    }
}
