//! A session's heartbeat: its interval, its grace, and its deadline.
//!
//! [`protocol::heartbeat`] decides when a heartbeat is due and when a client has been silent for too long. A session has
//! one deadline for everything, including the identify timeout and the expiry of its token. The worker's timer
//! ([`crate::socket::deadlines`]) wakes the actor when it passes.

use std::time::Duration;

use crate::settings::SessionSettings;
use crate::socket::deadlines;
use crate::socket::outbox::Outbox;
use crate::socket::outbox_registry::OutboxKey;
use protocol::Now;
use protocol::conversation::Conversation;
use protocol::heartbeat::HeartbeatRules;

/// A hundred years. A longer time may be too long for an `Instant`.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The interval and the grace of every session's heartbeat, from `[session]`.
pub fn rules(settings: &SessionSettings) -> HeartbeatRules {
    HeartbeatRules { interval: settings.heartbeat_interval, grace: settings.heartbeat_grace }
}

/// The rules of an event stream: its client cannot answer, so no silence is too long.
pub fn without_timeout(rules: HeartbeatRules) -> HeartbeatRules {
    HeartbeatRules { grace: NEVER, ..rules }
}

/// Arms the conversation's next deadline: the heartbeat, the identify timeout or the token's expiry.
pub(super) fn arm_deadline(conversation: &Conversation, outbox: &Outbox, key: OutboxKey, now: Now) {
    if let Some(deadline) = conversation.next_deadline() {
        deadlines::arm(outbox, key, deadline, now.monotonic);
    }
}

/// Postpones a deadline that has passed if it would close the session while data of the client is unread. A deadline may
/// be overdue when the process resumes after a pause. Returns whether it is postponed.
pub(super) fn postpone_deadline(
    conversation: &Conversation,
    outbox: &Outbox,
    key: OutboxKey,
    now: Now,
) -> bool {
    let Some(time) = outbox.postpone_deadline(conversation.would_close(now)) else { return false };
    deadlines::arm(outbox, key, now.monotonic + time, now.monotonic);
    true
}
