//! Rooms: receives their changes, offers events to hubs, and reads rooms and channels in use (`gateway_rooms.lua`).

use std::convert::Infallible;
use std::time::Instant;

use serde::Deserialize;
use tokio::time::sleep_until;

use super::super::presence::{ChannelInUse, ChannelsPage, PresenceError, RoomChange, RoomEvent, RoomMembers};
use super::super::{HubId, LocalReport};
use super::online::query;
use super::presence::{Presence, function_call};
use super::state::RedisState;
use protocol::channel::ChannelName;

/// The channel of the changes of all rooms, among the names of presence. With a colon and the name of a process, it is
/// the channel of the rooms that this process reads.
pub(super) const ROOMS: &str = "rooms";

/// A change of a room, as the functions publish it.
#[derive(Debug, Deserialize)]
struct PublishedChange {
    channel: String,
    count: u64,
    joined: Option<Vec<Box<str>>>,
    left: Option<Vec<Box<str>>>,
}

/// The state of a room, as `gateway_rooms` publishes it.
#[derive(Debug, Deserialize)]
struct ReadRoom {
    channel: String,
    sessions: u64,
    members: u64,
}

/// A hub reports what has changed among its sessions.
pub(super) fn report(state: &RedisState, hub: HubId, report: LocalReport) {
    if let Some(presence) = &state.presence {
        presence.report(hub, report, |event| offer(state, event));
    }
}

/// The channels on which this process learns of rooms; none if no namespace has rooms.
pub(super) fn own_channels(state: &RedisState) -> Vec<String> {
    if !state.presence.as_ref().is_some_and(|presence| presence.options.has_rooms()) {
        return Vec::new();
    }
    let changes = state.options.names().presence(ROOMS);
    let reads = format!("{changes}:{}", state.control.replica);
    vec![changes, reads]
}

/// Changes are received from now on.
pub(super) fn connected(state: &RedisState) {
    if let Some(presence) = &state.presence {
        presence.rooms.lock().connected();
        presence.changed.notify_one();
    }
}

/// Changes are not received any more.
pub(super) fn disconnected(state: &RedisState) {
    if let Some(presence) = &state.presence {
        presence.rooms.lock().disconnected();
    }
}

/// Receives what one call of a function has published.
///
/// # Errors
/// The payload is not valid.
pub(super) fn receive(state: &RedisState, channel: &str, payload: &[u8]) -> serde_json::Result<()> {
    let Some(presence) = &state.presence else { return Ok(()) };
    if channel == ROOMS {
        receive_changes(presence, serde_json::from_slice(payload)?);
    } else {
        receive_read(presence, serde_json::from_slice(payload)?);
    }
    presence.rooms_changed.notify_one();
    Ok(())
}

fn receive_changes(presence: &Presence, changes: Vec<PublishedChange>) {
    let (now, mut rooms) = (Instant::now(), presence.rooms.lock());
    for PublishedChange { channel, count, joined, left } in changes {
        // Without users, the room has more members than the functions list.
        let has_users = joined.is_some() || left.is_some();
        let is_partial = !has_users && presence.options.has_members(namespace_of(&channel));
        let (joined, left) = (joined.unwrap_or_default(), left.unwrap_or_default());
        rooms.change(&channel, RoomChange { count, joined, left, is_partial }, now);
    }
}

fn receive_read(presence: &Presence, found: Vec<ReadRoom>) {
    let (now, mut rooms) = (Instant::now(), presence.rooms.lock());
    for ReadRoom { channel, sessions, members } in found {
        let has_members = presence.options.has_members(namespace_of(&channel));
        let count = if has_members { members } else { sessions };
        rooms.change(&channel, RoomChange { count, ..RoomChange::default() }, now);
    }
}

fn namespace_of(channel: &str) -> &str {
    channel.split(':').next().unwrap_or(channel)
}

/// Offers the events of rooms to hubs when they are due.
pub(super) async fn run(state: &RedisState) -> Infallible {
    let Some(presence) = &state.presence else { return std::future::pending().await };
    loop {
        let due = {
            let mut rooms = presence.rooms.lock();
            rooms.take_due(Instant::now()).into_iter().for_each(|event| offer(state, event));
            rooms.next_due()
        };
        let elapsed = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = presence.rooms_changed.notified() => {}
            () = elapsed => {}
        }
    }
}

fn offer(state: &RedisState, (hubs, event): RoomEvent) {
    let link = state.link.lock();
    hubs.into_iter().for_each(|hub| link.notify(hub, event.clone()));
}

pub(super) async fn members(
    state: &RedisState,
    room: &ChannelName,
    after: Option<&str>,
    limit: usize,
) -> Result<RoomMembers, PresenceError> {
    let presence = state.presence.as_ref().ok_or(PresenceError::Disabled)?;
    presence.options.check_members(room)?;
    let mut call = function_call(&state.options, "gateway_members");
    call.arg(room.as_str()).arg(after.unwrap_or_default()).arg(limit);
    let (count, has_more, ids): (u64, u8, Vec<String>) = query(state, &call).await?;
    let members: Vec<Box<str>> = ids.into_iter().map(String::into_boxed_str).collect();
    let next = members.last().filter(|_| has_more == 1).cloned();
    Ok(RoomMembers { count, members, next })
}

pub(super) async fn channels(
    state: &RedisState,
    namespace: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<ChannelsPage, PresenceError> {
    let presence = state.presence.as_ref().ok_or(PresenceError::Disabled)?;
    presence.options.check_occupancy(namespace)?;
    let mut call = function_call(&state.options, "gateway_channels");
    call.arg(namespace.unwrap_or_default()).arg(after.unwrap_or_default()).arg(limit);
    let (has_more, found): (u8, Vec<(String, i64, u64, u64)>) = query(state, &call).await?;
    let next = found.last().filter(|_| has_more == 1).map(|(name, ..)| name.as_str().into());
    let in_use = |(name, replicas, sessions, members): (String, _, _, _)| {
        in_use(presence, &ChannelName::parse(&name).ok()?, (replicas, sessions, members))
    };
    Ok(ChannelsPage { channels: found.into_iter().filter_map(in_use).collect(), next })
}

pub(super) async fn channel(
    state: &RedisState,
    channel: &ChannelName,
) -> Result<Option<ChannelInUse>, PresenceError> {
    let presence = state.presence.as_ref().ok_or(PresenceError::Disabled)?;
    presence.options.check_occupancy(Some(channel.namespace()))?;
    let mut call = function_call(&state.options, "gateway_channel");
    call.arg(channel.as_str());
    Ok(in_use(presence, channel, query(state, &call).await?))
}

/// A channel, by its replicas (-1: it is not in use), sessions and members.
fn in_use(
    presence: &Presence,
    channel: &ChannelName,
    (replicas, sessions, members): (i64, u64, u64),
) -> Option<ChannelInUse> {
    let count = presence.options.choose_count(channel, sessions, members);
    Some(ChannelInUse { channel: channel.clone(), replicas: u32::try_from(replicas).ok()?, count })
}
