//! Liveness, readiness and metrics.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use futures_util::future::join;
use serde_json::json;

use super::AdminState;
use crate::auth::ReloadableAuthenticator;
use crate::auth::opaque::OpaqueTokens;
use crate::broker::Broker;
use crate::session::admission::DrainSwitch;
use crate::session::staleness::Staleness;
use crate::socket::fd_limit::FdLimit;
use crate::socket::limits::ConnectionLimiter;

/// The state that readiness depends on.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The broker must be healthy.
    pub broker: Broker,
    /// There must be keys for tokens.
    pub tokens: ReloadableAuthenticator,
    /// Whether revocations may be unknown.
    pub staleness: Staleness,
    /// Opaque tokens may be unverifiable.
    pub opaque: Option<OpaqueTokens>,
    /// A draining replica is not ready.
    pub drain: DrainSwitch,
    /// A replica without room for a connection is not ready.
    pub connections: ConnectionLimiter,
    /// The most open sockets. 0 = no limit.
    pub max_connections: usize,
    /// The number of sockets that the limit of open files allows.
    pub fd_limit: FdLimit,
}

impl Readiness {
    /// Why this replica is not ready for new sockets. Empty if it is ready.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.broker.health().reasons;
        reasons.extend(self.tokens.unready_reason());
        if self.drain.is_draining() {
            reasons.push("this replica is draining".to_owned());
        }
        if self.max_connections != 0 && self.connections.count() >= self.max_connections {
            reasons.push(format!("all {} connections are taken", self.max_connections));
        }
        if self.connections.count() >= self.fd_limit.sockets() {
            reasons.push("file descriptors are nearly used up".to_owned());
        }
        reasons
    }

    /// Warnings for operators that do not affect readiness.
    pub fn notes(&self) -> Vec<String> {
        let notes = self.broker.notes().into_iter().chain(self.staleness.note());
        notes.chain(self.tokens.notes()).chain(self.opaque.as_ref().and_then(OpaqueTokens::note)).collect()
    }
}

/// The time in which each thread must respond.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /livez`: whether each worker and the thread of the Redis link respond. The response itself shows that the
/// thread of this port runs.
pub(super) async fn livez(admin: web::Data<AdminState>) -> HttpResponse {
    let (silent, link) = join(
        admin.hubs.unresponsive(LIVENESS_TIMEOUT),
        admin.readiness.broker.link_thread_responds(LIVENESS_TIMEOUT),
    )
    .await;
    let workers = silent.iter().map(|worker| format!("worker {worker} did not answer within 2s"));
    let link = (!link).then(|| "the thread of the broker's link did not answer within 2s".to_owned());
    let reasons: Vec<String> = workers.chain(link).collect();
    if reasons.is_empty() {
        return HttpResponse::Ok().json(json!({"live": true}));
    }
    HttpResponse::ServiceUnavailable().json(json!({"live": false, "reasons": reasons}))
}

/// `GET /readyz`: whether the broker delivers and there is room. Notes are for operators and do not change the status.
pub(super) async fn readyz(admin: web::Data<AdminState>) -> HttpResponse {
    let reasons = admin.readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = json!({"ready": reasons.is_empty(), "reasons": reasons});
    let notes = admin.readiness.notes();
    if !notes.is_empty() {
        response["notes"] = json!(notes);
    }
    HttpResponse::build(status).json(response)
}

/// `GET /metrics`: all metrics in the OpenMetrics format.
pub(super) async fn metrics(admin: web::Data<AdminState>) -> HttpResponse {
    // Set here, because a link with a stalled thread cannot update its own metric.
    admin.metrics.redis_link_up.set(admin.readiness.broker.health().is_ready.into());
    admin.metrics.ready.set(admin.readiness.reasons().is_empty().into());
    admin.metrics.draining.set(admin.readiness.drain.is_draining().into());
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(admin.metrics.render())
}
