//! Commands to every replica.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::body::AuthorizedBody;
use super::publish::parse;
use super::session_page::{MergedPage, SessionPage};
use super::{AdminState, ApiError};
use crate::broker::{ControlCommand, ControlError, ControlOutcome, SessionQuery};

/// The time in which all replicas must answer.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
/// The default of `limit` in the command `sessions`.
pub const DEFAULT_LISTED: usize = 100;
/// The `detail` of an answer when a worker of the replica did not answer.
const WORKER_TIMEOUT: &str = "worker_timeout";

/// The `detail` in the answer of a replica with a worker that did not answer in time. The replica counts as missing.
pub fn worker_timeout_detail() -> Option<Box<RawValue>> {
    to_raw_value(WORKER_TIMEOUT).ok()
}

/// `POST /v1/control`: issues a command, and waits for the answers of all replicas.
pub(super) async fn control(
    admin: web::Data<AdminState>,
    AuthorizedBody(body): AuthorizedBody,
) -> Result<HttpResponse, ApiError> {
    let command: ControlCommand = parse(&body)?;
    let outcome = admin.issue(&command).await?;
    let mut response = json!({
        "id": outcome.id, "replicas": replicas_json(&outcome), "missing": outcome.missing,
    });
    if let ControlCommand::Sessions(query) = &command {
        let page = merge_pages(&outcome, query);
        response["sessions"] = page.sessions.into();
        response["total"] = page.total.into();
        response["next"] = page.next.into();
    }
    Ok(HttpResponse::Ok().json(response))
}

impl AdminState {
    /// Issues a command and waits for the answers. A replica with a worker that did not answer counts as missing.
    pub(super) async fn issue(&self, command: &ControlCommand) -> Result<ControlOutcome, ControlError> {
        command.check()?;
        self.broker.control(command, CONTROL_TIMEOUT).await.map(without_late_replicas)
    }

    /// The same, but without a connection to Redis this replica alone applies the command: an operator needs the sessions
    /// most while Redis is down.
    pub(super) async fn issue_or_apply_here(
        &self,
        command: &ControlCommand,
    ) -> Result<ControlOutcome, ControlError> {
        match self.issue(command).await {
            // Nothing was issued, so it is not applied twice.
            Err(ControlError::Unavailable) => {
                Ok(without_late_replicas(self.broker.apply_here(command, CONTROL_TIMEOUT).await))
            }
            outcome => outcome,
        }
    }
}

/// Moves the replicas with a worker that did not answer to the missing ones.
fn without_late_replicas(mut outcome: ControlOutcome) -> ControlOutcome {
    let is_late = |detail: &RawValue| serde_json::from_str::<&str>(detail.get()).ok() == Some(WORKER_TIMEOUT);
    outcome.replicas.retain(|replica, answer| {
        let is_answered = !answer.detail.as_deref().is_some_and(is_late);
        if !is_answered {
            outcome.missing.push(replica.clone());
        }
        is_answered
    });
    outcome.missing.sort_unstable();
    outcome
}

/// The number of affected sessions on all replicas that answered.
pub(super) fn affected(outcome: &ControlOutcome) -> usize {
    outcome.replicas.values().map(|answer| answer.affected).sum()
}

/// The number of affected sessions by replica.
pub(super) fn replicas_json(outcome: &ControlOutcome) -> Value {
    let replicas = outcome.replicas.iter();
    replicas.map(|(replica, answer)| (replica.clone(), answer.affected.into())).collect::<Map<_, _>>().into()
}

/// The page of sessions of all replicas that answered.
pub(super) fn merge_pages(outcome: &ControlOutcome, query: &SessionQuery) -> MergedPage {
    let pages = outcome.replicas.iter().filter_map(|(replica, answer)| {
        Some((replica.clone(), SessionPage::decode(answer.detail.as_deref()?)?))
    });
    MergedPage::merge(pages.collect(), query.limit.unwrap_or(DEFAULT_LISTED))
}
