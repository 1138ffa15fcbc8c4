//! Decides which requests become sessions.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_http::StatusCode;

use super::actor::Session;
use super::event_request;
use super::limits::{AdmitRefusal, SessionLimits, UnidentifiedPermit};
use super::services::Services;
use crate::socket::client_prefix::ClientPrefix;
use crate::socket::origin::OriginPolicy;
use crate::socket::outbox::Outbox;
use crate::socket::request::{RequestHead, text};
use crate::socket::{Application, EVENTS_PATH, UpgradeRefusal};
use protocol::Version;

/// Whether this replica is draining. Clones share the state.
///
/// A drain has two steps. First the replica reports that it is not ready, but still admits sessions, because a load
/// balancer needs time to stop sending clients. Then the replica refuses new sessions.
#[derive(Debug, Clone, Default)]
pub struct DrainSwitch(Arc<DrainFlags>);

#[derive(Debug, Default)]
struct DrainFlags {
    is_draining: AtomicBool,
    is_refusing: AtomicBool,
}

impl DrainSwitch {
    /// Starts the drain: the replica is no longer ready.
    pub fn start(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Refuses new sessions.
    pub fn refuse_sessions(&self) {
        self.0.is_refusing.store(true, Ordering::Relaxed);
    }

    /// Whether the drain has started, so that the replica is not ready.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    /// Whether new sessions are refused.
    pub fn is_refusing(&self) -> bool {
        self.0.is_refusing.load(Ordering::Relaxed)
    }
}

/// The application of the socket layer on one worker thread: admits requests and opens sessions.
#[derive(Debug)]
pub struct Sessions {
    /// The services of the thread.
    pub services: Rc<Services>,
    /// The origins whose pages may open a session.
    pub origins: OriginPolicy,
    /// Shared with the health check, which the drain makes not ready.
    pub drain: DrainSwitch,
    /// Shared by all worker threads.
    pub limits: SessionLimits,
}

const NOT_FOUND: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::NOT_FOUND, reason: "not_found", headers: &[] };
const BAD_VERSION: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::BAD_REQUEST, reason: "unknown_protocol_version", headers: &[] };
const BAD_ORIGIN: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::FORBIDDEN, reason: "origin_not_allowed", headers: &[] };
const DRAINING: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "draining",
    headers: &[("retry-after", "1")],
};
const TOO_MANY_UNIDENTIFIED: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_unidentified",
    headers: &[("retry-after", "5")],
};
const TOO_MANY_UNIDENTIFIED_FROM_ADDRESS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_unidentified_from_address",
    headers: &[("retry-after", "5")],
};

impl Application for Sessions {
    type Actor = Session;
    type Admission = (Version, UnidentifiedPermit);

    fn admit(
        &self,
        request: &RequestHead<'_>,
        client: Option<ClientPrefix>,
    ) -> Result<Self::Admission, UpgradeRefusal> {
        let version = match request.path() {
            "/" | "/gateway" => version(request.query()).ok_or(BAD_VERSION)?,
            EVENTS_PATH => Version::V2,
            _ => return Err(NOT_FOUND),
        };
        if !self.origins.admits(origin(request).map_err(|()| BAD_ORIGIN)?) {
            return Err(BAD_ORIGIN);
        }
        if self.drain.is_refusing() {
            return Err(DRAINING);
        }
        let permit = self.limits.admit(client).map_err(|refusal| match refusal {
            AdmitRefusal::Address => TOO_MANY_UNIDENTIFIED_FROM_ADDRESS,
            AdmitRefusal::Total => TOO_MANY_UNIDENTIFIED,
        })?;
        Ok((version, permit))
    }

    fn first_message(&self, request: &RequestHead<'_>) -> Result<String, UpgradeRefusal> {
        event_request::identify(request, self.services.event_stream_rules.max_listed_channels)
    }

    fn open(&self, (version, permit): Self::Admission, outbox: Outbox) -> Session {
        Session::open(Rc::clone(&self.services), version, permit, outbox)
    }
}

/// The protocol version that the URL selects: 1 without `v`, 2 with `v=2`. Any other `v` is not supported. Other
/// parameters are ignored; a token among them is neither read nor stored.
fn version(query: Option<&str>) -> Option<Version> {
    let mut version = Version::V1;
    for (name, value) in
        query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        match (name, value) {
            ("v", "2") => version = Version::V2,
            ("v", _) => return None,
            _ => {}
        }
    }
    Some(version)
}

/// The Origin header, if there is one. Several headers, or one that is not text, are an error.
fn origin<'a>(request: &RequestHead<'a>) -> Result<Option<&'a str>, ()> {
    let mut all = request.values("origin");
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => text(one).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_selects_the_version() {
        for (query, expected) in [
            (None, Some(Version::V1)),
            (Some(""), Some(Version::V1)),
            (Some("x=1"), Some(Version::V1)),
            (Some("v=2"), Some(Version::V2)),
            (Some("x=1&v=2&y"), Some(Version::V2)),
            (Some("v"), None),
            (Some("v="), None),
            (Some("v=1"), None),
            (Some("v=3"), None),
            (Some("v=02"), None),
            (Some("v=2&v=3"), None),
        ] {
            assert_eq!(version(query), expected, "{query:?}");
        }
    }
}
