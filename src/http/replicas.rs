//! Lists the replicas of the deployment, each with its own report, for the console.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::session_page::SessionPage;
use super::{AdminState, ApiError, InstanceInfo, Readiness};
use crate::broker::{ControlCommand, SessionQuery};
use crate::metrics::Metrics;

/// The state of one replica. It is part of the replica's answers about sessions, so that both need one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplicaReport {
    version: String,
    uptime_ms: u64,
    /// Why the replica is not ready for new sockets. Empty if it is ready.
    reasons: Vec<String>,
    /// Warnings for operators.
    notes: Vec<String>,
    draining: bool,
    /// The duration of the link's latest probe.
    probe_ms: Option<f64>,
    connections: i64,
    users: i64,
    channels: i64,
    /// A counter that starts with the process.
    publications_delivered: u64,
    outbound_queued_bytes: i64,
}

/// What reports are made of.
#[derive(Debug, Clone)]
pub struct ReplicaReporter {
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The state that `/readyz` reports.
    pub readiness: Readiness,
    /// Facts about this process.
    pub instance: InstanceInfo,
}

impl ReplicaReporter {
    /// The state of this replica now.
    pub fn report(&self) -> ReplicaReport {
        let metrics = &self.metrics;
        ReplicaReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: self.instance.started.elapsed().as_millis() as u64,
            reasons: self.readiness.reasons(),
            notes: self.readiness.notes(),
            draining: self.readiness.drain.is_draining(),
            probe_ms: metrics.latest_probe().map(|latency| latency.as_secs_f64() * 1_000.0),
            connections: metrics.connections.get(),
            users: metrics.users.get(),
            channels: metrics.channels.get(),
            publications_delivered: metrics.publications_delivered.get(),
            outbound_queued_bytes: metrics.outbound_queued_bytes.get(),
        }
    }
}

/// `GET /v1/replicas`: the replicas that answered, in the order of their names, and those that did not.
pub(super) async fn list(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let question = SessionQuery { limit: Some(1), ..SessionQuery::default() };
    let outcome = admin.issue_or_apply_here(&ControlCommand::Sessions(question)).await?;
    let replicas: Vec<Value> = outcome
        .replicas
        .iter()
        .map(|(replica, answer)| {
            let page = answer.detail.as_deref().and_then(SessionPage::decode);
            let (sessions, report) = page.map(|page| (page.total, page.report)).unwrap_or_default();
            json!({ "replica": replica, "sessions": sessions, "report": report })
        })
        .collect();
    let mut response = json!({ "replicas": replicas, "missing": outcome.missing });
    if !outcome.is_issued() {
        response["issued"] = false.into();
    }
    Ok(HttpResponse::Ok().json(response))
}
