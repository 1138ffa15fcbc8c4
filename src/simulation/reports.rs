//! Checks the users that one hub reports.

use std::collections::BTreeMap;

use super::checker::CheckResult;
use protocol::channel::ChannelName;

/// The reports of one hub.
#[derive(Debug, Default)]
pub(super) struct ReportChecker {
    /// The last report of each user.
    online: BTreeMap<ChannelName, bool>,
    /// The first report that repeats the one before it.
    failure: Option<String>,
}

impl ReportChecker {
    /// The reports of a user alternate and begin with online.
    pub(super) fn on_report(&mut self, user: &ChannelName, is_online: bool) {
        if self.online.insert(user.clone(), is_online).unwrap_or_default() == is_online {
            self.failure.get_or_insert_with(|| format!("{user} is reported {} again", state_name(is_online)));
        }
    }

    /// Checks the reports so far.
    pub(super) fn check(&self) -> CheckResult {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Checks that the last report of a user is true. `has_session`: whether the user has a session on the hub.
    pub(super) fn on_quiet(&self, user: &ChannelName, has_session: bool) -> CheckResult {
        let is_online = self.online.get(user).copied().unwrap_or_default();
        if is_online == has_session {
            return Ok(());
        }
        Err(format!("{user} is reported {}, not {}", state_name(is_online), state_name(has_session)))
    }
}

fn state_name(is_online: bool) -> &'static str {
    if is_online { "online" } else { "offline" }
}
