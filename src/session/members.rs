//! Reads the members of channels for clients.

use crate::broker::{Broker, PresenceError};
use protocol::conversation::Input;
use protocol::members::{MembersPage, MembersRequest};
use protocol::page_error::PageError;

/// The maximum number of members in op 15.
const MAX_MEMBERS: usize = 100;

/// Reads a page of members. The broker answers within `broker.response_timeout`.
pub(super) async fn read_members(broker: Broker, request: MembersRequest) -> Input<'static> {
    let MembersRequest { id, channel, after } = request;
    let outcome = match broker.members(&channel, after.as_deref(), MAX_MEMBERS).await {
        Ok(page) => Ok(MembersPage { members: page.members, next: page.next }),
        Err(PresenceError::Disabled | PresenceError::NamespaceOff(_)) => Err(PageError::NotAllowed),
        Err(PresenceError::Unavailable | PresenceError::Timeout | PresenceError::Refused(_)) => {
            Err(PageError::Unavailable)
        }
    };
    Input::Members { id, channel, outcome }
}
