//! Pages of sessions: of one replica, and of all replicas.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::ReplicaReport;
use crate::hub::messages::{SessionList, SessionSummary};
use protocol::Version;
use protocol::channel::ChannelName;

/// The most bytes of the sessions in one page. A session with many channels takes more than ten thousand.
const MAX_PAGE_BYTES: usize = 512 * 1024;

/// Sessions of one replica, in the order of their ids.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionPage {
    sessions: Vec<Value>,
    /// The number of all matching sessions.
    pub(super) total: usize,
    /// Whether more sessions follow.
    has_more: bool,
    /// The state of the replica. `None`: its version is older and sends none.
    #[serde(default)]
    pub(super) report: Option<ReplicaReport>,
}

/// Sessions of several replicas, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct MergedPage {
    /// The sessions, each with its replica.
    pub(super) sessions: Vec<Value>,
    /// The number of all matching sessions.
    pub(super) total: usize,
    /// The id after which the next page starts; `None` on the last page.
    pub(super) next: Option<String>,
}

impl SessionPage {
    /// The page with these sessions, or with the first of them that fit into a page.
    pub fn new(list: &SessionList, report: ReplicaReport) -> Self {
        let sessions: Vec<_> = take_page(list.sessions.iter().map(session_json)).collect();
        Self { total: list.total, has_more: sessions.len() < list.later, sessions, report: Some(report) }
    }

    /// The page as JSON.
    pub fn encode(&self) -> Option<Box<RawValue>> {
        to_raw_value(self).ok()
    }

    pub(super) fn decode(text: &RawValue) -> Option<Self> {
        serde_json::from_str(text.get()).ok()
    }

    fn last_id(&self) -> Option<&str> {
        self.sessions.last().map(id)
    }
}

impl MergedPage {
    /// The first `limit` sessions of the pages of all replicas. If more sessions follow a page, the merged page ends at
    /// the last session of that page, because the next session of its replica is unknown.
    pub(super) fn merge(pages: Vec<(String, SessionPage)>, limit: usize) -> Self {
        let total = pages.iter().map(|(_, page)| page.total).sum();
        let has_more = pages.iter().any(|(_, page)| page.has_more);
        let end = pages.iter().filter(|(_, page)| page.has_more).filter_map(|(_, page)| page.last_id()).min();
        let mut all: Vec<(String, Value)> = pages
            .iter()
            .flat_map(|(replica, page)| {
                page.sessions.iter().map(move |session| {
                    let mut session = session.clone();
                    session["replica"] = json!(replica);
                    (id(&session).to_owned(), session)
                })
            })
            .collect();
        all.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let found = all.len();
        all.retain(|(id, _)| end.is_none_or(|end| id.as_str() <= end));
        all.truncate(limit);
        let sessions: Vec<_> = take_page(all.into_iter().map(|(_, session)| session)).collect();
        let is_last = !has_more && sessions.len() == found;
        let next = sessions.last().filter(|_| !is_last).map(|session| id(session).to_owned());
        Self { sessions, total, next }
    }
}

/// Takes sessions until they exceed the size of a page, at least one.
fn take_page(sessions: impl Iterator<Item = Value>) -> impl Iterator<Item = Value> {
    let mut bytes = 0;
    sessions.take_while(move |session| {
        let is_first = bytes == 0;
        bytes += session.to_string().len();
        is_first || bytes <= MAX_PAGE_BYTES
    })
}

fn id(session: &Value) -> &str {
    session["id"].as_str().unwrap_or_default()
}

fn session_json(summary: &SessionSummary) -> Value {
    let user = summary.user.as_ref().and_then(ChannelName::user_id);
    let channels: Vec<_> = summary.channels.iter().map(ChannelName::as_str).collect();
    json!({
        "id": summary.session.to_string(),
        "user": user,
        "version": match summary.version {
            Version::V1 => 1,
            Version::V2 => 2,
        },
        "channels": channels,
        "subscriptions": summary.subscriptions,
        "age_ms": summary.age.as_millis() as u64,
        "queued_bytes": summary.queued_bytes,
        "address": summary.address.map(|address| address.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[&str], has_more: bool) -> SessionPage {
        let sessions = ids.iter().map(|id| json!({ "id": id })).collect();
        SessionPage { sessions, total: ids.len(), has_more, report: None }
    }

    fn merge(pages: [SessionPage; 2], limit: usize) -> (Vec<String>, Option<String>) {
        let pages = ["a", "b"].map(str::to_owned).into_iter().zip(pages).collect();
        let MergedPage { sessions, next, .. } = MergedPage::merge(pages, limit);
        (sessions.iter().map(|session| id(session).to_owned()).collect(), next)
    }

    #[test]
    fn sessions_of_all_replicas_are_in_order_of_ids() {
        let (ids, next) = merge([page(&["2", "5"], false), page(&["1", "3"], false)], 10);
        assert_eq!((ids.join(" "), next), ("1 2 3 5".to_owned(), None));
    }

    #[test]
    fn a_page_ends_at_the_limit() {
        let (ids, next) = merge([page(&["2", "5"], false), page(&["1", "3"], false)], 3);
        assert_eq!((ids.join(" "), next.as_deref()), ("1 2 3".to_owned(), Some("3")));
    }

    #[test]
    fn a_page_ends_before_the_first_unknown_session() {
        // Replica a may have sessions between 2 and 9, which its page did not hold.
        let (ids, next) = merge([page(&["2"], true), page(&["1", "9"], false)], 10);
        assert_eq!((ids.join(" "), next.as_deref()), ("1 2".to_owned(), Some("2")));
    }

    #[test]
    fn a_page_is_bounded_and_has_at_least_one_session() {
        let session = |bytes: usize| json!({"id": "x".repeat(bytes)});
        for (bytes, expected) in [(MAX_PAGE_BYTES * 2, 1), (MAX_PAGE_BYTES / 4, 3)] {
            let taken = take_page((0..10).map(|_| session(bytes))).count();
            assert_eq!(taken, expected);
        }
    }
}
