//! Whether this replica lives, whether it delivers, and what it has counted.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use futures_util::future::join;
use serde_json::json;

use super::AdminState;
use crate::broker::Broker;
use crate::session::admission::DrainSwitch;
use crate::socket::fd_limit::FdLimit;
use crate::socket::limits::ConnectionLimiter;

/// What readiness depends on.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Delivery must be proven.
    pub broker: Broker,
    /// A draining replica is to get no new sockets.
    pub drain: DrainSwitch,
    /// Neither is a full one.
    pub connections: ConnectionLimiter,
    /// How many sockets it may carry; 0 means no cap.
    pub max_connections: usize,
    /// How many sockets the system allows.
    pub fd_limit: FdLimit,
}

impl Readiness {
    /// Why this replica should get no new sockets; nothing when it should.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.broker.health().reasons;
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
}

/// How long a thread may take to respond.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Each worker and the broker's link answer, besides the thread of this port.
pub(super) async fn livez(admin: web::Data<AdminState>) -> HttpResponse {
    let (silent, link) = join(
        admin.hubs.silent(LIVENESS_TIMEOUT),
        admin.readiness.broker.gives_sign_of_life(LIVENESS_TIMEOUT),
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

/// Delivery is proven, and there is room. Notes are for operators; they change nothing.
pub(super) async fn readyz(admin: web::Data<AdminState>) -> HttpResponse {
    let reasons = admin.readiness.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = json!({"ready": reasons.is_empty(), "reasons": reasons});
    let notes = admin.readiness.broker.notes();
    if !notes.is_empty() {
        response["notes"] = json!(notes);
    }
    HttpResponse::build(status).json(response)
}

/// Prometheus' page.
pub(super) async fn metrics(admin: web::Data<AdminState>) -> HttpResponse {
    // A link with a stalled thread cannot report it itself.
    admin.metrics.redis_link_up.set(admin.readiness.broker.health().ready.into());
    admin.metrics.ready.set(admin.readiness.reasons().is_empty().into());
    admin.metrics.draining.set(admin.readiness.drain.is_draining().into());
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(admin.metrics.render())
}
