//! Signals: from the sessions of this hub to the broker, and from the broker to sessions.

use std::sync::Arc;
use std::time::Instant;

use super::{FrameSink, HubAction, HubCore};
use crate::hub::signals::{Added, SignalTurn};
use crate::metrics::{Metrics, SignalDelivery, SignalResult};
use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::signal::{ClientSignal, Signal};

impl<S: FrameSink> HubCore<S> {
    /// A session sends a signal. It goes to the broker, which returns it to every hub of the channel.
    pub(super) fn send_signal(
        &mut self,
        session: SessionId,
        ClientSignal { channel, signal }: ClientSignal,
        actions: &mut Vec<HubAction>,
    ) {
        let Some(key) = self.open_key(session) else { return };
        let user = self.registry.user_channel(key).and_then(ChannelName::user_id);
        // The subscription may have ended while the signal was on its way.
        let Some(user) = user.filter(|_| self.registry.is_subscribed(key, &channel)) else {
            return self.count_signal(SignalResult::NotSubscribed);
        };
        self.count_signal(SignalResult::Received);
        actions.push(HubAction::Signal(Arc::new(Signal::new(channel, session, user.into(), signal))));
    }

    /// A signal has arrived. The inbox counts its bytes until it is delivered or dropped. It is written in a later turn:
    /// many signals may have arrived before a message, which must not wait for a turn of each.
    pub(super) fn on_signal(&mut self, now: Instant, signal: Arc<Signal>) {
        let (bytes, channel) = (signal.queued_bytes(), signal.channel());
        let dropped = if !self.rules.namespaces.options(channel.namespace()).signals {
            Some(SignalResult::NotEnabled)
        } else if !self.registry.has_subscribers(channel) {
            Some(SignalResult::UnknownChannel)
        } else {
            None
        };
        if let Some(reason) = dropped {
            self.count_signal(reason);
            return self.inbox_budget.release_signals(bytes);
        }
        match self.signals.add(now, signal) {
            Added::Waiting => {}
            Added::Replaced(replaced) => {
                self.count_signal(SignalResult::Replaced);
                self.inbox_budget.release_signals(replaced);
            }
            Added::ChannelFull => {
                self.count_signal(SignalResult::ChannelFull);
                self.inbox_budget.release_signals(bytes);
            }
        }
    }

    /// Writes signals for one turn.
    pub(super) fn run_signal_turn(&mut self, now: Instant) {
        let (registry, sessions) = (&self.registry, &self.sessions);
        let turn = self.signals.run_turn(
            now,
            |channel| registry.live_receivers(channel),
            |signal| sessions.get(&signal.session()).copied(),
        );
        self.count_signal_turn(turn);
    }

    fn count_signal_turn(&self, turn: SignalTurn) {
        let SignalTurn { delivered, slow, closing, released_bytes } = turn;
        for (result, count) in [
            (SignalDelivery::Delivered, delivered),
            (SignalDelivery::SlowReader, slow),
            (SignalDelivery::SocketClosing, closing),
        ] {
            if count > 0 {
                Metrics::count_many(&self.metrics.signal_deliveries, result, count);
            }
        }
        self.inbox_budget.release_signals(released_bytes);
    }

    fn count_signal(&self, result: SignalResult) {
        Metrics::count(&self.metrics.signals, result);
    }
}
