//! Checks what one hub reports of its sessions.

use std::collections::BTreeMap;

use super::checker::CheckResult;
use crate::broker::LocalReport;
use crate::settings::{NamespaceSettings, Namespaces, RoomPresence};

/// The reports of one hub.
#[derive(Debug, Default)]
pub(super) struct ReportChecker {
    /// The last report of each subject.
    present: BTreeMap<Subject, bool>,
    /// The last reported number of sessions on each channel.
    counts: BTreeMap<String, usize>,
    /// The first report that repeats the one before it.
    failure: Option<String>,
}

/// What is reported as present or absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    User(String),
    Channel(String),
    /// A channel and a user.
    Member(String, String),
}

/// The options of the channels in a simulation.
pub(super) fn namespaces() -> Namespaces {
    let room = NamespaceSettings {
        presence: RoomPresence::Members,
        occupancy: true,
        signals: true,
        ..Default::default()
    };
    let count = NamespaceSettings { presence: RoomPresence::Count, occupancy: false, ..Default::default() };
    [("room".to_owned(), room), ("all".to_owned(), count)].into_iter().collect()
}

impl ReportChecker {
    /// The reports of a subject alternate and begin with its presence. Each count differs from the one before it.
    pub(super) fn on_report(&mut self, report: &LocalReport) {
        let (subject, is_present) = match report {
            LocalReport::User { user, is_online } => (Subject::User(user.to_string()), *is_online),
            LocalReport::Channel { channel, is_occupied } => {
                (Subject::Channel(channel.to_string()), *is_occupied)
            }
            LocalReport::Member { channel, user, is_member } => {
                (Subject::Member(channel.to_string(), user.to_string()), *is_member)
            }
            LocalReport::Count { channel, sessions } => {
                if self.counts.insert(channel.to_string(), *sessions).unwrap_or_default() == *sessions {
                    self.failure.get_or_insert_with(|| format!("{channel} is reported {sessions} again"));
                }
                return;
            }
        };
        let description = subject.describe(is_present);
        if self.present.insert(subject, is_present).unwrap_or_default() == is_present {
            self.failure.get_or_insert_with(|| format!("{description} again"));
        }
    }

    /// Checks the reports so far.
    pub(super) fn check(&self) -> CheckResult {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Checks that the last report of a subject is true.
    pub(super) fn on_quiet(&self, subject: &Subject, is_present: bool) -> CheckResult {
        let is_reported = self.present.get(subject).copied().unwrap_or_default();
        if is_reported == is_present {
            return Ok(());
        }
        Err(format!("{}, not {}", subject.describe(is_reported), subject.state_name(is_present)))
    }

    /// Checks that the last reported number of sessions on a channel is true.
    pub(super) fn on_quiet_count(&self, channel: &str, sessions: usize) -> CheckResult {
        match self.counts.get(channel).copied().unwrap_or_default() {
            reported if reported == sessions => Ok(()),
            reported => Err(format!("{channel} is reported {reported}, not {sessions}")),
        }
    }
}

impl Subject {
    fn describe(&self, is_present: bool) -> String {
        let state = self.state_name(is_present);
        match self {
            Self::User(name) | Self::Channel(name) => format!("{name} is reported {state}"),
            Self::Member(channel, user) => format!("{user} of {channel} is reported {state}"),
        }
    }

    fn state_name(&self, is_present: bool) -> &'static str {
        match (self, is_present) {
            (Self::User(_), true) => "online",
            (Self::User(_), false) => "offline",
            (Self::Channel(_), true) => "occupied",
            (Self::Channel(_), false) => "vacated",
            (Self::Member(..), true) => "a member",
            (Self::Member(..), false) => "no member",
        }
    }
}
