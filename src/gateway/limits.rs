//! The limits of all parts, from the settings and the system's limit of open files.

use std::sync::Arc;

use crate::auth::MAX_CHANNELS;
use crate::broker::RecoveryLimits;
use crate::hub::HubLimits;
use crate::hub::core::HubRules;
use crate::metrics::Metrics;
use crate::session::heartbeat;
use crate::session::limits::SessionCaps;
use crate::settings::{NamespaceSettings, Namespaces, Settings, SubscribeRule};
use crate::socket::SocketOptions;
use crate::socket::fd_limit::FdLimit;
use crate::socket::frame_reader::Bounds;
use crate::socket::limits::Caps;
use crate::socket::proxies::TrustedProxies;
use protocol::command::MAX_LISTED_CHANNELS;
use protocol::conversation::Rules;
use protocol::namespace_rules::{ChannelRules, NamespaceRules};

/// The rules of a conversation.
pub(super) fn rules(settings: &Settings) -> Rules {
    let session = &settings.session;
    Rules {
        heartbeat: heartbeat::rules(session),
        identify_timeout: session.identify_timeout,
        max_message_bytes: session.max_message_bytes,
        messages_per_minute: session.messages_per_minute,
        max_subscriptions: settings.limits.subscriptions_per_session,
        max_listed_channels: match settings.limits.subscriptions_per_session {
            0 => usize::MAX,
            max => MAX_LISTED_CHANNELS.max(max as usize),
        },
        sends_per_minute: session.sends_per_minute,
        signals_per_minute: session.signals_per_minute,
        signal_interval: session.signal_interval,
        max_send_bytes: settings.inbox.max_message_bytes,
        namespaces: namespace_rules(&settings.namespaces),
    }
}

/// The rules of the conversation of an event stream. The id of a stream also names the user's channel, `all` and the
/// channels of the token, so a stream that continues may list more channels.
pub(super) fn event_stream_rules(settings: &Settings) -> Rules {
    let rules = rules(settings);
    Rules {
        heartbeat: heartbeat::without_timeout(rules.heartbeat),
        max_listed_channels: rules.max_listed_channels.saturating_add(2 + MAX_CHANNELS),
        ..rules
    }
}

/// What sessions may do on the channels of each namespace.
fn namespace_rules(namespaces: &Namespaces) -> NamespaceRules {
    let rules = |name: &str| {
        let NamespaceSettings { subscribe, send, signals, max_last, .. } = namespaces.options(name);
        ChannelRules { is_public: subscribe == SubscribeRule::Public, send, signals, max_last }
    };
    // The options of these differ from the default without a section.
    let special = ["user", "all", "online"].into_iter();
    let configured = namespaces.entries().map(|(name, _)| name).chain(namespaces.public_names());
    NamespaceRules::new(rules("default"), special.chain(configured).map(|name| (name.into(), rules(name))))
}

/// The limits of a hub.
pub(super) fn hub_limits(settings: &Settings) -> HubLimits {
    let recovery = RecoveryLimits {
        messages: settings.session.max_recovered_messages,
        // The other half is for messages that arrive during the recovery.
        bytes: settings.session.max_outbound_bytes / 2,
    };
    HubLimits {
        max_inbox_bytes: settings.broker.max_inbox_bytes,
        rules: HubRules {
            reports_users: settings.presence.enabled,
            namespaces: Arc::new(settings.namespaces.clone()),
            ..HubRules::new(recovery, settings.broker.response_timeout)
        },
    }
}

/// The number of sockets that settings and system allow. At the limit of open files, the admin port and the link to
/// Redis fail as well.
fn max_connections(settings: &Settings, fd_limit: FdLimit) -> usize {
    match settings.server.max_connections {
        0 => fd_limit.sockets(),
        cap => cap.min(fd_limit.sockets()),
    }
}

/// The limits of connections.
pub(super) fn caps(settings: &Settings, fd_limit: FdLimit) -> Caps {
    Caps {
        connections: max_connections(settings, fd_limit),
        connections_per_address: settings.limits.connections_per_address,
        handshakes_per_address: handshakes_per_address(settings, fd_limit),
        connects_per_second: settings.limits.connects_per_second,
        connects_per_second_per_address: settings.limits.connects_per_second_per_address,
    }
}

/// The limits of sessions, of users and of their addresses.
pub(super) fn session_caps(settings: &Settings) -> SessionCaps {
    let limits = &settings.limits;
    SessionCaps {
        unidentified: limits.unidentified,
        // Without a limit per address, all clients may share the address of a proxy.
        unidentified_per_address: match limits.connections_per_address {
            0 => 0,
            _ => limits.unidentified.div_ceil(2),
        },
        sessions_per_user: limits.sessions_per_user,
        identifies_per_minute_per_user: limits.identifies_per_minute_per_user,
        failed_identifies_per_minute_per_address: limits.failed_identifies_per_minute_per_address,
    }
}

/// An address may have as many handshakes as sockets, but not more than half of all handshakes. A handshake counts for
/// slightly longer than it takes, so a limit below `FEWEST` would refuse clients that reconnect at once.
fn handshakes_per_address(settings: &Settings, fd_limit: FdLimit) -> u32 {
    const FEWEST: u32 = 16;
    let half = u32::try_from(fd_limit.handshakes() / 2).unwrap_or(u32::MAX);
    match settings.limits.connections_per_address {
        0 => 0,
        sockets => sockets.max(FEWEST).min(half),
    }
}

/// Raises the limit of open files as far as possible and logs it.
pub(super) fn raise_fd_limit(settings: &Settings) -> FdLimit {
    let max_connections = settings.server.max_connections;
    let workers = settings.server.worker_threads();
    let fd_limit = FdLimit::raise(workers, settings.admin.max_connections).unwrap_or_else(|error| {
        log::warn!("cannot read or raise the limit of open files: {error}; assuming that there is no limit");
        FdLimit::default()
    });
    let (limit, room) = (fd_limit.limit(), fd_limit.sockets());
    log::info!("open files: at most {limit}, which has room for {room} sockets");
    if max_connections > room {
        log::warn!(
            "server.max_connections is {max_connections}, but the limit of open files ({limit}) has room for \
             {room} sockets: raise that limit, or lower the setting"
        );
    }
    fd_limit
}

/// Exports the limits as metrics, for alerts.
pub(super) fn export_limits(settings: &Settings, metrics: &Metrics, fd_limit: FdLimit) {
    let gauge_value = |limit: usize| i64::try_from(limit).unwrap_or(0);
    let (server, limits) = (&settings.server, &metrics.limits);
    limits.connections.set(gauge_value(max_connections(settings, fd_limit)));
    limits.admin_connections.set(gauge_value(settings.admin.max_connections));
    limits.hub_inbox_bytes.set(gauge_value(settings.broker.max_inbox_bytes * server.worker_threads()));
    limits.outbound_queued_bytes.set(gauge_value(server.max_outbound_bytes));
}

/// The options of all sockets.
pub(super) fn socket_options(
    settings: &Settings,
    metrics: &Metrics,
    trusted_proxies: TrustedProxies,
    fd_limit: FdLimit,
) -> SocketOptions {
    let session = &settings.session;
    SocketOptions {
        inbound: Bounds {
            max_message_bytes: session.max_message_bytes,
            max_fragments: session.max_fragments as u32,
        },
        message_timeout: session.message_timeout,
        control_frames_per_minute: session.control_frames_per_minute,
        max_outbound_bytes: session.max_outbound_bytes,
        max_total_outbound_bytes: match settings.server.max_outbound_bytes {
            0 => usize::MAX,
            bytes => bytes,
        },
        write_timeout: session.write_timeout,
        close_timeout: settings.server.close_timeout,
        handshake_timeout: settings.server.handshake_timeout,
        compression: settings.server.compression,
        max_handshakes: fd_limit.handshakes(),
        trusted_proxies,
        metrics: metrics.clone(),
        traffic: Default::default(),
    }
}
