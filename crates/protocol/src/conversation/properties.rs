//! Properties of every conversation, whatever its client, its hub and its clocks do.
//!
//! - `checked.rs`: a conversation whose actions are checked.
//! - `steps.rs`: generates the steps.

mod checked;
mod steps;

use proptest::prelude::*;
use proptest::sample::select;

use self::checked::CheckedConversation;
use self::steps::{PropertyStep, rules, steps};
use super::*;
use crate::client_message::SendError;
use crate::event::SubscriptionOutcome;
use crate::history_page::HistoryPage;
use crate::members::MembersPage;
use crate::namespace_rules::ChannelRules;
use crate::page_error::PageError;
use crate::position::Position;
use crate::signal::ClientSignal;

const UNIX_START_MS: u64 = 1_700_000_000_000;

fn says_live(outcome: &SubscriptionOutcome) -> bool {
    matches!(outcome, SubscriptionOutcome::Subscribed(state) if state.is_live())
}

fn state(is_live: bool) -> SubscriptionState {
    let position = Position { epoch: 9, offset: 9 };
    match is_live {
        true => SubscriptionState::Live { position, recovered: None, presence: None, last: None },
        false => SubscriptionState::Recovering { since: Some(position) },
    }
}

proptest! {
    #[test]
    fn actions_keep_their_order_whatever_happens(
        rules in rules(),
        version in select(vec![Version::V1, Version::V2]),
        jitter in 0.0..=1.0,
        steps in steps(),
    ) {
        let mut checked = CheckedConversation::new(rules, version, jitter);
        for step in &steps {
            checked.apply(step);
        }
    }

    #[test]
    fn a_silent_client_is_always_closed_in_the_end(
        rules in rules(),
        version in select(vec![Version::V1, Version::V2]),
        steps in steps(),
    ) {
        let silence = rules.heartbeat.interval + rules.heartbeat.grace;
        let mut checked = CheckedConversation::new(rules, version, 0.5);
        for step in &steps {
            checked.apply(step);
        }
        checked.advance(silence);
        prop_assert!(checked.closed && checked.conversation.is_closed());
    }
}
