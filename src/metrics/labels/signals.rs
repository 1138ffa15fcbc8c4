//! The results of signals.

use super::Label;

labels! {
    /// What became of a signal before its delivery. A signal has several results on its way.
    SignalResult {
        /// A session of this replica has sent it.
        Received = "received",
        /// It was dropped, because its session is not subscribed to the channel any more.
        NotSubscribed = "not_subscribed",
        /// It was dropped, because it nests deeper than `broker.max_payload_depth`.
        TooDeep = "too_deep",
        /// It was dropped, because too many wait for Redis.
        QueueFull = "queue_full",
        /// It was dropped, because the link is down.
        LinkDown = "link_down",
        /// It was dropped, because it has waited for Redis for too long.
        Late = "late",
        /// Redis refused it, or did not answer.
        Failed = "failed",
        /// It was published.
        Published = "published",
        /// It has arrived from the broker, for sessions of this replica.
        Arrived = "arrived",
        /// It was dropped, because no session of this replica is subscribed to the channel.
        UnknownChannel = "unknown_channel",
        /// It was dropped, because the hub's inbox is full.
        HubInboxFull = "hub_inbox_full",
        /// It was dropped, because the namespace has no signals on this replica.
        NotEnabled = "not_enabled",
        /// A newer signal of the same session replaced it.
        Replaced = "replaced",
        /// It was dropped, because too many signals of the channel wait for their delivery.
        ChannelFull = "channel_full",
    }
}

labels! {
    /// Whether a signal was delivered to a session.
    SignalDelivery {
        /// The frame is written.
        Delivered = "delivered",
        /// The session reads too slowly: frames are queued for it.
        SlowReader = "slow_reader",
        /// The socket is closing.
        SocketClosing = "socket_closing",
    }
}
