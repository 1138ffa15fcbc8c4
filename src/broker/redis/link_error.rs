//! Why the link to Redis is down.

use std::path::PathBuf;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::cluster::slot::Slot;
use super::not_run::NotRun;
use crate::metrics::LinkLoss;
use crate::settings::{format_duration, one_line};

/// Why a link ended or was not made. The text is plain English without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// No connection was made.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Connecting took too long, handshake included.
    #[error("cannot connect: no answer for {}", format_duration(*.0))]
    ConnectTimeout(Duration),
    /// A file that the link needs cannot be used.
    #[error("{key} ({}) cannot be used: {reason}", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file, without its contents.
        reason: String,
    },
    /// No sentinel returned the master's address.
    #[error("no sentinel knows the master {name}: {reason}")]
    NoMaster {
        /// The sentinels' name of the master.
        name: String,
        /// The error of one of them.
        reason: String,
    },
    /// No node of the cluster returned the map of its slots.
    #[error("no node of the cluster knows its slots: {0}")]
    NoSlotMap(String),
    /// `broker.url` is that of a cluster, but its servers are not in cluster mode.
    #[error(
        "broker.url leads to a server that is not in cluster mode; for one server it begins with redis:// or \
         rediss://"
    )]
    NotACluster,
    /// No master that works has the slot of the gateway's keys.
    #[error("no master of the cluster has slot {0}")]
    NoOwner(Slot),
    /// The server is a Redis replica. A link needs the master, because publishers use it.
    #[error("it is a Redis replica, not a master")]
    Demoted,
    /// The sentinels name another master than that of the link. The old one may still answer as a master.
    #[error("the sentinels name another master: {0}")]
    MasterMoved(String),
    /// The server does not run commands on the gateway's keys now.
    #[error("{0}")]
    NotServing(NotRun),
    /// Another server of the Redis Cluster has the slot of the gateway's keys.
    #[error("another server of the Redis Cluster has the slot now")]
    Moved,
    /// `broker.url` names one server, which belongs to a Redis Cluster.
    #[error("broker.url leads to a Redis Cluster; use \"{url}\" (and choose broker.shards)")]
    IsCluster {
        /// The right URL, without a password.
        url: String,
    },
    /// Redis refused the credentials, or the Redis user lacks a permission (NOAUTH, WRONGPASS, NOPERM).
    #[error("access refused: {0}")]
    Access(String),
    /// Redis answered with another error.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// An established connection ended.
    #[error("the connection was closed")]
    Closed,
    /// Redis closed only the subscriber's connection. A crash or a network failure would end all connections.
    #[error(
        "Redis closed only the subscriber's connection, as it does when client-output-buffer-limit pubsub is \
         reached (a message or a burst was too large for it)"
    )]
    SubscriberClosed,
    /// A subscription was not confirmed in time.
    #[error("a subscription was not confirmed within {}", format_duration(*.0))]
    SubscribeTimeout(Duration),
    /// The connections are up, but publications do not arrive.
    #[error("probe timed out after {}", format_duration(*.0))]
    ProbeTimeout(Duration),
    /// The link's own code panicked.
    #[error("the link's task panicked")]
    Panicked,
}

impl LinkError {
    /// Why connecting failed.
    pub(super) fn of_connect(error: &RedisError) -> Self {
        match Self::of_command(error) {
            Self::Closed => Self::Connect(describe(error)),
            other => other,
        }
    }

    /// Why a command on an established connection failed.
    pub(super) fn of_command(error: &RedisError) -> Self {
        let access = matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm)
        ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        if access {
            Self::Access(describe(error))
        } else if let Some(reason) = NotRun::of(error) {
            match reason {
                NotRun::Moved => Self::Moved,
                reason => Self::NotServing(reason),
            }
        } else if error.code().is_some() {
            Self::Refused(describe(error))
        } else {
            Self::Closed
        }
    }

    /// Whether Redis refused only this command or channel. The connection is still good.
    pub(super) fn is_no_permission(&self) -> bool {
        matches!(self, Self::Access(text) if text.starts_with("NOPERM"))
    }

    /// The reason in metrics.
    pub(super) const fn reason(&self) -> LinkLoss {
        match self {
            Self::Connect(_) => LinkLoss::Connect,
            Self::ConnectTimeout(_) => LinkLoss::ConnectTimeout,
            Self::File { .. } => LinkLoss::File,
            Self::NoMaster { .. } | Self::NoSlotMap(_) | Self::NotACluster | Self::NoOwner(_) => {
                LinkLoss::NoMaster
            }
            Self::Demoted => LinkLoss::Demoted,
            Self::MasterMoved(_) => LinkLoss::MasterMoved,
            Self::NotServing(_) => LinkLoss::NotServing,
            Self::Moved => LinkLoss::Moved,
            Self::IsCluster { .. } => LinkLoss::IsCluster,
            Self::Access(_) => LinkLoss::Access,
            Self::Refused(_) => LinkLoss::Refused,
            Self::Closed => LinkLoss::Closed,
            Self::SubscriberClosed => LinkLoss::SubscriberClosed,
            Self::SubscribeTimeout(_) => LinkLoss::SubscribeTimeout,
            Self::ProbeTimeout(_) => LinkLoss::ProbeTimeout,
            Self::Panicked => LinkLoss::Panicked,
        }
    }

    /// Whether an operator must change something before the link can recover.
    pub(super) const fn needs_an_operator(&self) -> bool {
        matches!(
            self,
            Self::File { .. } | Self::IsCluster { .. } | Self::NotACluster | Self::Access(_) | Self::Panicked
        )
    }

    /// Whether the next attempt may soon succeed without an operator, so its wait is short.
    pub(super) const fn passes_soon(&self) -> bool {
        matches!(self, Self::MasterMoved(_) | Self::NotServing(_) | Self::Moved | Self::NoOwner(_))
    }
}

/// The error in plain English, on one line: `connection refused`, `NOPERM this user has no permissions…`.
pub(super) fn describe(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        return "connection refused".into();
    }
    if error.kind() == ErrorKind::AuthenticationFailed {
        // redis-rs does not return Redis' text.
        return "the user name or the password is wrong (WRONGPASS)".into();
    }
    if error.kind() == ErrorKind::Parse {
        // The error text would quote the server's answer.
        return "the server there is not Redis".into();
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => one_line(format_args!("{code} {detail}")),
        _ => one_line(error.to_string().split(" (os error ").next().unwrap_or_default()),
    }
}
