//! Creates the broker that the settings select.

use std::sync::Arc;

use std::time::Duration;

use crate::broker::redis::{Credentials, Layout, LinkThread, ReadyWith, RedisBroker, RedisOptions, TlsFiles};
use crate::broker::{Broker, BrokerSetupError, HistoryOptions, InboxOptions, PresenceOptions};
use crate::metrics::Metrics;
use crate::settings::{BrokerSettings, ReadyWithShards, Settings, Shards};
use protocol::payload_limits::PayloadLimits;

/// Starts the broker. Does not check whether Redis is reachable.
pub(super) fn start(settings: &Settings, metrics: &Metrics) -> Result<Broker, BrokerSetupError> {
    match redis_options(settings) {
        Some(options) => RedisBroker::start(options, metrics, link_thread(settings)).map(Broker::Redis),
        None => Ok(Broker::memory(
            payload_limits(settings),
            history_options(settings),
            presence_options(settings),
            revocation_ttl(settings),
            metrics,
        )),
    }
}

/// With one worker, a thread of its own for the link would only add a wake-up to each message.
fn link_thread(settings: &Settings) -> LinkThread {
    if settings.server.worker_threads() == 1 { LinkThread::FirstHub } else { LinkThread::Own }
}

/// Publishes the edges of users whose grace has ended, until the broker stops. Does nothing for Redis, whose link does
/// so, and while presence is off.
pub(super) fn spawn_presence_timer(broker: &Broker) {
    let Broker::Memory(broker) = broker.clone() else { return };
    actix_rt::spawn(async move {
        while let Some(due) = broker.settle_presence() {
            actix_rt::time::sleep(due).await;
        }
    });
}

/// Checks whether [`start`] would succeed.
pub(super) fn check(settings: &Settings) -> Result<(), BrokerSetupError> {
    redis_options(settings).map_or(Ok(()), |options| options.check())
}

fn payload_limits(settings: &Settings) -> PayloadLimits {
    let broker = &settings.broker;
    PayloadLimits { max_bytes: broker.max_payload_bytes, max_depth: broker.max_payload_depth }
}

fn history_options(settings: &Settings) -> HistoryOptions {
    let broker = &settings.broker;
    HistoryOptions {
        size: broker.history_size,
        ttl: broker.history_ttl,
        idempotency_window: broker.idempotency_window,
        memory_bytes: broker.max_memory_history_bytes,
        namespaces: Arc::new(settings.namespaces.clone()),
        inbox: InboxOptions {
            max_entries: settings.inbox.max_entries,
            is_used: settings.namespaces.any(|options| options.send),
        },
    }
}

/// How long a revocation is kept if its command does not say it: a signed token has expired by then.
fn revocation_ttl(settings: &Settings) -> Duration {
    settings.auth.max_age.saturating_add(settings.auth.leeway)
}

/// `None` if presence is off.
fn presence_options(settings: &Settings) -> Option<PresenceOptions> {
    let presence = &settings.presence;
    presence.enabled.then(|| PresenceOptions {
        grace: presence.grace,
        max_edges: presence.max_edges,
        max_members: presence.max_members,
        namespaces: Arc::new(settings.namespaces.clone()),
    })
}

/// `None` if the broker is in memory.
fn redis_options(settings: &Settings) -> Option<RedisOptions> {
    let broker = &settings.broker;
    if broker.url == "memory:" {
        return None;
    }
    Some(RedisOptions {
        url: broker.url.clone(),
        credentials: Credentials {
            username: broker.username.clone(),
            password: broker.password.clone(),
            password_file: broker.password_file.clone(),
        },
        sentinel_credentials: Credentials {
            username: broker.sentinel_username.clone(),
            password: broker.sentinel_password.clone(),
            password_file: broker.sentinel_password_file.clone(),
        },
        tls: TlsFiles {
            ca: broker.tls_ca_file.clone(),
            certificate: broker.tls_cert_file.clone(),
            key: broker.tls_key_file.clone(),
        },
        layout: layout(broker),
        ready_with: match broker.ready_with_shards {
            ReadyWithShards::All => ReadyWith::All,
            ReadyWithShards::Any => ReadyWith::Any,
        },
        prefix: broker.redis_prefix().into_owned(),
        connect_timeout: broker.connect_timeout,
        response_timeout: broker.response_timeout,
        probe_interval: broker.probe_interval,
        probe_timeout: broker.probe_timeout,
        min_reconnect_delay: broker.min_reconnect_delay,
        max_reconnect_delay: broker.max_reconnect_delay,
        history_check_interval: broker.history_check_interval,
        max_payload_bytes: broker.max_payload_bytes,
        max_payload_depth: broker.max_payload_depth,
        history: history_options(settings),
        revocation_ttl: revocation_ttl(settings),
        presence: presence_options(settings),
    })
}

fn layout(broker: &BrokerSettings) -> Layout {
    match broker.shards {
        _ if !broker.is_cluster() => Layout::Plain,
        Shards::One => Layout::OneSlot,
        Shards::Slots => Layout::Slots,
    }
}
