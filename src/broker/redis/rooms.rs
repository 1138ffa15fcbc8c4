//! Rooms: receives their changes, offers events to hubs, and reads rooms and channels in use (`gateway_rooms.lua`).

use std::convert::Infallible;
use std::time::Instant;

use redis::{RedisResult, Value, from_redis_value};
use serde::Deserialize;
use tokio::time::sleep_until;

use super::super::presence::{ChannelInUse, ChannelsPage, MembersPage, PresenceError, RoomChange, RoomEvent};
use super::super::{HubId, LocalReport};
use super::online::ask;
use super::presence::{Presence, function_call};
use super::state::RedisState;
use protocol::channel::ChannelName;

/// The channel, after the prefix, of the changes of all rooms. No session can subscribe to it, because of its braces.
pub(super) const ROOMS: &str = "{presence}:rooms";

/// A change of a room, as the functions publish it.
#[derive(Debug, Deserialize)]
struct PublishedChange {
    channel: String,
    count: u64,
    joined: Option<Vec<Box<str>>>,
    left: Option<Vec<Box<str>>>,
}

/// A hub reports what has changed among its sessions.
pub(super) fn report(state: &RedisState, hub: HubId, report: LocalReport) {
    if let Some(presence) = &state.presence {
        presence.report(hub, report, |event| offer(state, event));
    }
}

/// Whether this process receives the changes of rooms.
pub(super) fn is_subscribed(state: &RedisState) -> bool {
    state.presence.as_ref().is_some_and(|presence| presence.options.has_rooms())
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

/// Receives the changes that one call of a function has published. Returns whether the payload is valid.
pub(super) fn receive(state: &RedisState, payload: &[u8]) -> bool {
    let Some(presence) = &state.presence else { return true };
    let Ok(changes) = serde_json::from_slice::<Vec<PublishedChange>>(payload) else { return false };
    let now = Instant::now();
    let mut rooms = presence.rooms.lock();
    for PublishedChange { channel, count, joined, left } in changes {
        let is_partial = joined.is_none() && left.is_none() && has_members(presence, &channel);
        let (joined, left) = (joined.unwrap_or_default(), left.unwrap_or_default());
        rooms.change(&channel, RoomChange { count, joined, left, is_partial }, now);
    }
    drop(rooms);
    presence.rooms_changed.notify_one();
    true
}

fn has_members(presence: &Presence, channel: &str) -> bool {
    let namespace = channel.split(':').next().unwrap_or(channel);
    presence.options.namespaces.options(namespace).reports_members()
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

/// A channel as `gateway_rooms` and `gateway_channels` describe it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoomState {
    /// On how many replicas the channel is in use; `None`: it is not.
    pub(super) replicas: Option<u32>,
    pub(super) sessions: u64,
    pub(super) members: u64,
}

impl RoomState {
    /// The states in the answer of `gateway_rooms`.
    pub(super) fn of_answer(answer: &[i64]) -> Vec<Self> {
        let (states, _) = answer.as_chunks::<3>();
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let state = |[replicas, sessions, members]: &[i64; 3]| Self {
            replicas: u32::try_from(*replicas).ok(),
            sessions: count(*sessions),
            members: count(*members),
        };
        states.iter().map(state).collect()
    }
}

pub(super) async fn members(
    state: &RedisState,
    room: &ChannelName,
    after: Option<&str>,
    limit: usize,
) -> Result<MembersPage, PresenceError> {
    let presence = state.presence.as_ref().ok_or(PresenceError::Disabled)?;
    presence.options.check_members(room)?;
    let mut call = function_call(&state.options, "gateway_members");
    call.arg(room.as_str()).arg(after.unwrap_or_default()).arg(limit);
    let answer: Vec<Value> = ask(state, &call).await?;
    members_page(answer).map_err(|_| unreadable())
}

fn members_page(answer: Vec<Value>) -> RedisResult<MembersPage> {
    let mut values = answer.into_iter();
    let mut number = || from_redis_value::<u64>(values.next().unwrap_or(Value::Nil));
    let (count, has_more) = (number()?, number()? == 1);
    let members = values.map(|id| from_redis_value::<String>(id).map(String::into_boxed_str));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let next = members.last().filter(|_| has_more).cloned();
    Ok(MembersPage { count, members, next })
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
    let answer: Vec<Value> = ask(state, &call).await?;
    channels_page(presence, answer).map_err(|_| unreadable())
}

fn channels_page(presence: &Presence, answer: Vec<Value>) -> RedisResult<ChannelsPage> {
    let mut values = answer.into_iter();
    let has_more = from_redis_value::<u64>(values.next().unwrap_or(Value::Nil))? == 1;
    let (mut channels, mut last) = (Vec::new(), None);
    while let Some(name) = values.next() {
        let mut number = || from_redis_value(values.next().unwrap_or(Value::Nil));
        let (replicas, sessions, members): (u64, u64, u64) = (number()?, number()?, number()?);
        let name: String = from_redis_value(name)?;
        if let Ok(channel) = ChannelName::parse(&name) {
            let found = RoomState { replicas: u32::try_from(replicas).ok(), sessions, members };
            channels.extend(in_use(presence, &channel, found));
        }
        last = Some(name.into_boxed_str());
    }
    Ok(ChannelsPage { channels, next: last.filter(|_| has_more) })
}

pub(super) async fn channel(
    state: &RedisState,
    channel: &ChannelName,
) -> Result<Option<ChannelInUse>, PresenceError> {
    let presence = state.presence.as_ref().ok_or(PresenceError::Disabled)?;
    presence.options.check_occupancy(Some(channel.namespace()))?;
    let mut call = function_call(&state.options, "gateway_rooms");
    call.arg(channel.as_str());
    let answer: Vec<i64> = ask(state, &call).await?;
    Ok(RoomState::of_answer(&answer).first().and_then(|found| in_use(presence, channel, *found)))
}

fn in_use(presence: &Presence, channel: &ChannelName, found: RoomState) -> Option<ChannelInUse> {
    let RoomState { replicas, sessions, members } = found;
    let count = presence.options.choose_count(channel, sessions, members);
    Some(ChannelInUse { channel: channel.clone(), replicas: replicas?, count })
}

fn unreadable() -> PresenceError {
    PresenceError::Refused("the answer of the function cannot be read".into())
}
