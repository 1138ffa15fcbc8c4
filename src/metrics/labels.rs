//! The labels, and every value that they can have.
//!
//! A counter whose first sample is 1 hides the first incident, because `increase` sees no growth. So every labelled
//! counter starts at 0 for each of its values. A test compares these values with
//! docs/operations/metrics.md and docs/openapi.yaml, which other tests compare with the source.

use std::hash::Hash;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use protocol::close::CloseCode;

use super::Counters;

/// The one label of most labelled metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// One of a closed set of short names.
    pub reason: &'static str,
}

impl From<&'static str> for Reason {
    fn from(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// The one label of metrics that count successes, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// One of a closed set of short names.
    pub result: &'static str,
}

impl From<&'static str> for ResultLabel {
    fn from(result: &'static str) -> Self {
        Self { result }
    }
}

/// The label of closes: the close code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// The number of the Close frame.
    pub code: u16,
}

/// The labels of a request to the admin port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdminRequest {
    /// The pattern of the path, or `other`.
    pub route: &'static str,
    /// The status of the answer.
    pub status: u16,
}

impl AdminRequest {
    /// `pattern` is the pattern of the path that was asked for; `None`: there is no such path.
    pub fn new(pattern: Option<&str>, status: u16) -> Self {
        let known = ADMIN_REQUESTS.iter().map(|(route, _)| *route).find(|route| Some(*route) == pattern);
        Self { route: known.unwrap_or(OTHER_ROUTE), status }
    }
}

/// Paths that the admin port does not have.
const OTHER_ROUTE: &str = "other";

/// The routes of the admin port, and the statuses of their answers.
const ADMIN_REQUESTS: [(&str, &[u16]); 15] = [
    ("/v1/publish", &[200, 400, 401, 403, 408, 409, 413, 502, 503, 504]),
    ("/v1/publish/batch", &[200, 400, 401, 403, 408, 413]),
    ("/v1/sessions", &[200, 400, 401, 403, 504]),
    ("/v1/sessions/{id}/disconnect", &[200, 401, 403, 404, 504]),
    ("/v1/users/{user}/disconnect", &[200, 400, 401, 403, 504]),
    ("/v1/status", &[200, 401, 403]),
    ("/v1/token", &[200, 400, 401, 403, 408, 413]),
    ("/v1/openapi.json", &[200]),
    ("/livez", &[200, 503]),
    ("/readyz", &[200, 503]),
    ("/metrics", &[200]),
    ("/", &[303]),
    ("/console", &[200]),
    ("/console/app.js", &[200]),
    ("/console/app.css", &[200]),
];

const UPGRADES_REFUSED: &[&str] = &[
    "too_many_connections",
    "too_many_from_address",
    "too_many_connects",
    "too_many_connects_from_address",
    "too_many_unidentified",
    "too_many_unidentified_from_address",
    "too_many_handshakes",
    "draining",
    "bad_request",
    "bad_handshake",
    "method_not_allowed",
    "upgrade_required",
    "not_found",
    "unknown_protocol_version",
    "origin_not_allowed",
];

const IDENTIFIES: &[&str] = &[
    "accepted",
    "malformed",
    "bad_signature",
    "wrong_algorithm",
    "expired",
    "not_yet_valid",
    "no_expiry",
    "wrong_audience",
    "wrong_issuer",
    "no_user",
    "user_not_allowed",
    "bad_channels",
    "foreign_user",
    "too_many_sessions",
    "too_many_identifies",
    "too_many_failures",
];

const PUBLICATIONS_DROPPED: &[&str] = &[
    "not_json",
    "too_big",
    "too_deep",
    "lone_surrogate",
    "bad_users",
    "bad_position",
    "bad_channel",
    "unknown_channel",
    "duplicate",
    "socket_closing",
    "hub_inbox_full",
    "repairing",
    "panicked",
];

const GAPS: &[&str] = &["link_lost", "history_lost", "history_unreadable", "overflow"];
const RECOVERIES: &[&str] = &["recovered", "lost", "too_much", "unreadable", "unreadable_position"];
const ADMIN_REFUSED: &[&str] = &["no_key", "wrong_key", "admin_key_not_configured", "origin_not_allowed"];
const REJECTED: &[&str] = &["recorded", "not_recorded"];

const LINK_LOSSES: &[&str] = &[
    "connect",
    "connect_timeout",
    "file",
    "no_master",
    "demoted",
    "access",
    "refused",
    "closed",
    "subscriber_closed",
    "subscribe_timeout",
    "probe_timeout",
    "panicked",
];

impl Counters {
    /// Creates every labelled counter, at 0.
    pub(super) fn create_labels(&self) {
        create(&self.admin_refused, ADMIN_REFUSED);
        create(&self.upgrades_refused, UPGRADES_REFUSED);
        create(&self.publications_dropped, PUBLICATIONS_DROPPED);
        create(&self.gaps, GAPS);
        create(&self.redis_link_losses, LINK_LOSSES);
        create(&self.identifies, IDENTIFIES);
        create(&self.recoveries, RECOVERIES);
        create(&self.rejected, REJECTED);
        for code in CloseCode::ALL {
            drop(self.websocket_closes.get_or_create(&Code { code: code.code() }));
        }
        for (route, statuses) in ADMIN_REQUESTS {
            for &status in statuses {
                drop(self.admin_requests.get_or_create(&AdminRequest { route, status }));
            }
        }
        drop(self.admin_requests.get_or_create(&AdminRequest::new(None, 404)));
    }
}

fn create<L>(family: &Family<L, Counter>, values: &[&'static str])
where
    L: From<&'static str> + Clone + Eq + Hash,
{
    values.iter().for_each(|value| drop(family.get_or_create(&L::from(value))));
}
