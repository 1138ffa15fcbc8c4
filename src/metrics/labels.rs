//! Labels, and the closed sets of their values.
//!
//! Every labelled counter starts at 0 for each of its values. A counter whose first sample is 1 would hide the first
//! incident from `increase`. A test compares the values with docs/operations/metrics.md and docs/openapi.yaml.

use std::fmt;
use std::hash::Hash;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use protocol::event::GapReason;
use protocol::publication::PayloadError;

/// A value of the label `reason` or `result`.
pub trait Label: fmt::Debug + Clone + Copy + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// The value on the page of metrics, in snake case.
    fn label(self) -> &'static str;
}

/// The label `reason`, of metrics that count only failures.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason<L>(L);

/// The label `result`, of metrics that also count successes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResultLabel<L>(L);

/// The label `kind`, of metrics that count several kinds of the same work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kind<L>(L);

impl<L> From<L> for Kind<L> {
    fn from(kind: L) -> Self {
        Self(kind)
    }
}

impl<L: Label> EncodeLabelSet for Kind<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("kind", self.0.label())].encode(encoder)
    }
}

impl<L> From<L> for Reason<L> {
    fn from(reason: L) -> Self {
        Self(reason)
    }
}

impl<L> From<L> for ResultLabel<L> {
    fn from(result: L) -> Self {
        Self(result)
    }
}

impl<L: Label> EncodeLabelSet for Reason<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("reason", self.0.label())].encode(encoder)
    }
}

impl<L: Label> EncodeLabelSet for ResultLabel<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("result", self.0.label())].encode(encoder)
    }
}

/// Reasons of refused upgrades are texts because the socket layer does not know those of the application.
impl Label for &'static str {
    fn label(self) -> &'static str {
        self
    }
}

impl Label for GapReason {
    fn label(self) -> &'static str {
        Self::label(self)
    }
}

/// Defines an enum of label values with their texts and a list of all values.
macro_rules! labels {
    ($(#[$documentation:meta])* $name:ident { $($(#[$meaning:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$documentation])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$meaning])* $value,)+
        }

        impl $name {
            pub(in crate::metrics) const ALL: &[Self] = &[$(Self::$value,)+];
        }

        impl Label for $name {
            fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

mod opaque;
mod signals;

pub use self::opaque::{TokenCallResult, TokenLookupResult};
pub use self::signals::{SignalDelivery, SignalResult};

labels! {
    /// The result of checking a token.
    IdentifyResult {
        /// The token is good, and its user is within the limits.
        Accepted = "accepted",
        /// It is no token of this kind.
        Malformed = "malformed",
        /// The issuer of opaque tokens does not know it.
        Unknown = "unknown",
        /// Its signature is wrong.
        BadSignature = "bad_signature",
        /// No key has its `kid`, or suits its algorithm.
        UnknownKey = "unknown_key",
        /// Its algorithm is not allowed.
        WrongAlgorithm = "wrong_algorithm",
        /// It has expired.
        Expired = "expired",
        /// It is not valid yet.
        NotYetValid = "not_yet_valid",
        /// It has no expiry.
        NoExpiry = "no_expiry",
        /// It is for another audience.
        WrongAudience = "wrong_audience",
        /// It is of another issuer.
        WrongIssuer = "wrong_issuer",
        /// It names no user.
        NoUser = "no_user",
        /// Its user id is not allowed.
        UserNotAllowed = "user_not_allowed",
        /// Its channels are not allowed.
        BadChannels = "bad_channels",
        /// It grants access to another user's channel.
        ForeignUser = "foreign_user",
        /// It is revoked.
        Revoked = "revoked",
        /// The replica has been without Redis for too long to know whether it is revoked; it was not checked.
        RevocationsUnknown = "revocations_unknown",
        /// The backend that issued it cannot be asked now.
        Unavailable = "unavailable",
        /// The user has as many sessions as it may have.
        TooManySessions = "too_many_sessions",
        /// The user's tokens came too fast.
        TooManyIdentifies = "too_many_identifies",
        /// Too many tokens of this address failed; this one was not checked.
        TooManyFailures = "too_many_failures",
    }
}

/// Why a publication was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The payload is invalid.
    Payload(PayloadError),
    /// No session of this replica is subscribed to the channel, usually because the last subscriber has just left.
    UnknownChannel,
    /// The publication was delivered before.
    Duplicate,
    /// The socket is closing.
    SocketClosing,
    /// The hub's inbox is full: the worker is too slow.
    HubInboxFull,
    /// Too many publications arrived while the channel was being repaired.
    Repairing,
    /// The gateway panicked while it handled the publication.
    Panicked,
}

impl Label for DropReason {
    fn label(self) -> &'static str {
        match self {
            Self::Payload(error) => error.label(),
            Self::UnknownChannel => "unknown_channel",
            Self::Duplicate => "duplicate",
            Self::SocketClosing => "socket_closing",
            Self::HubInboxFull => "hub_inbox_full",
            Self::Repairing => "repairing",
            Self::Panicked => "panicked",
        }
    }
}

labels! {
    /// The result of loading the keys of tokens.
    KeyLoadResult {
        /// The files were read.
        Read = "read",
        /// The files have a mistake; the old keys stay in force.
        ReadFailed = "read_failed",
        /// The key set was fetched.
        Fetched = "fetched",
        /// The key set could not be fetched, or has no usable key; the old keys stay in force.
        FetchFailed = "fetch_failed",
    }
}

labels! {
    /// The result of an attempt to resume from a position.
    RecoveryResult {
        /// All missed messages were delivered.
        Recovered = "recovered",
        /// The history was replaced or trimmed, or lost its latest messages.
        Lost = "lost",
        /// The client missed more messages than the limits allow.
        TooMuch = "too_much",
        /// The history cannot be read.
        Unreadable = "unreadable",
        /// The client's position cannot be parsed.
        InvalidPosition = "invalid_position",
    }
}

labels! {
    /// Why messages of a history were read, besides repairs and recoveries.
    HistoryReadKind {
        /// A client wanted the last messages of a channel.
        Last = "last",
        /// A client or an operator wanted a page.
        Page = "page",
    }
}

labels! {
    /// Why the admin port refused a request before it read the body.
    KeyRefusal {
        /// The request has no `Authorization` header.
        NoKey = "no_key",
        /// The request has a wrong key.
        WrongKey = "wrong_key",
        /// `admin.api_key` is not set.
        NotConfigured = "admin_key_not_configured",
        /// A page of another origin sent the request.
        OriginNotAllowed = "origin_not_allowed",
    }
}

labels! {
    /// Whether a rejected payload was put on the stream of rejected payloads.
    RecordResult {
        /// The payload is on the stream.
        Recorded = "recorded",
        /// Redis refused the payload, or too many arrived in a second.
        NotRecorded = "not_recorded",
    }
}

labels! {
    /// What became of commands to every replica.
    ControlResult {
        /// The command was applied.
        Applied = "applied",
        /// The command was applied after the link had been down.
        Replayed = "replayed",
        /// The command was not applied, because its handler panicked.
        Failed = "failed",
        /// The entry of the stream is not a command that this version knows.
        Invalid = "invalid",
        /// The command was a question that nobody waited for, or too many others came after it.
        Dropped = "dropped",
        /// Commands before another one were never read: they were trimmed, or Redis lost data.
        Lost = "lost",
    }
}

labels! {
    /// What became of messages of clients for the inbox.
    SendResult {
        /// The message is in the inbox, also if it was before.
        Stored = "stored",
        /// The inbox was full, or too many messages waited for Redis.
        Busy = "busy",
        /// Redis did not answer in time.
        Unavailable = "unavailable",
        /// The message is not valid, or its id was used with another message.
        Refused = "refused",
        /// Redis refused the message, or has no function for it.
        Failed = "failed",
    }
}

labels! {
    /// Why the link to Redis was lost.
    LinkLoss {
        /// No connection was made.
        Connect = "connect",
        /// Connecting took too long.
        ConnectTimeout = "connect_timeout",
        /// A file of the settings, such as a certificate, is invalid.
        File = "file",
        /// No sentinel knows the master.
        NoMaster = "no_master",
        /// The server is a Redis replica, not a master.
        Demoted = "demoted",
        /// The sentinels name another master.
        MasterMoved = "master_moved",
        /// The server does not run commands now, such as while it is loading its data.
        NotServing = "not_serving",
        /// Another server of the Redis Cluster has the slot.
        Moved = "moved",
        /// The server belongs to a Redis Cluster, but the URL is not one of a cluster.
        IsCluster = "is_cluster",
        /// Redis denied the user or a command.
        Access = "access",
        /// Redis answered with another error.
        Refused = "refused",
        /// The connection was closed.
        Closed = "closed",
        /// Redis closed only the subscriber's connection.
        SubscriberClosed = "subscriber_closed",
        /// A subscription was not confirmed in time.
        SubscribeTimeout = "subscribe_timeout",
        /// A probe did not return in time.
        ProbeTimeout = "probe_timeout",
        /// The link panicked.
        Panicked = "panicked",
    }
}

/// The label `code` of closes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// The status code of the Close frame.
    pub code: u16,
}
