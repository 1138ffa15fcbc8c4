"""All channels of a client: which the app wants, which were requested, and the position of each."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .backoff import Backoff
from .channel import Channel, Feed, Wire, online_of
from .events import (
    ChannelEvent,
    Gap,
    Message,
    Pending,
    Presence,
    Recovered,
    Recovering,
    Refused,
    RoomCount,
    Signal,
    Subscribed,
)
from .json_text import size_of
from .outputs import Deliver
from .protocol import Frame, Op, is_channel_name, number, text
from .timers import Timers

_MAX_BATCH = 1_000
"""The maximum number of channels in one frame."""
_UNAVAILABLE = "unavailable"
"""A temporary refusal: the gateway may not subscribe to the channel at the moment."""
_RETRY = "retry unavailable channels"


def _problem_of(name: object, since: object) -> str | None:
    """Why this cannot be requested. An invalid request would end the session for all channels."""
    if not is_channel_name(name):
        return "bad_channel"
    return None if since is None or (isinstance(since, str) and len(since) < 256) else "bad_since"


def _named(entries: object) -> Iterator[Frame]:
    """The entries of a list from the gateway that have the name of a channel."""
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("channel"), str):
            yield entry


def _users(value: object) -> tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list) else None


class Channels:
    """All channels of a client."""

    def __init__(
        self,
        timers: Timers,
        backoff: Backoff,
        deliver: Callable[[Deliver], None],
        on_dirty: Callable[[], None],
    ) -> None:
        self._timers = timers
        self._backoff = backoff
        self._deliver = deliver
        self._on_dirty = on_dirty
        self._all: dict[str, Channel] = {}
        self._own: tuple[str, ...] = ()

    # What the app does.

    def subscribe(
        self, name: str, since: str | None, last: int, deliver: Callable[[ChannelEvent], None]
    ) -> Feed:
        """Subscribes to a channel, or refuses only this subscription if it is invalid."""
        if problem := _problem_of(name, since):
            return self._refused(Channel(str(name)), deliver, problem)
        channel = self._find(name)
        is_first = not channel.is_wanted
        is_moved = since is not None and since != channel.cursor
        if since is None and is_first and last > 0 and not channel.is_fixed and channel.cursor:
            # The channel is not unsubscribed yet. A fresh view does not continue from its position.
            is_moved = True
        if is_moved and channel.cursor and (channel.is_fixed or not is_first):
            # Other subscriptions continue from the cursor.
            return self._refused(channel, deliver, "since_conflict")
        feed = Feed(channel, deliver)
        channel.feeds.append(feed)
        channel.last = max(last, 0 if is_first else channel.last)
        if is_moved:
            channel.cursor = since
            channel.is_given = True
        if is_first or is_moved:
            self._on_wanted(channel, is_moved)
        self._greet(feed)
        return feed

    def unsubscribe(self, feed: Feed) -> None:
        """Closes a subscription."""
        if feed.is_closed:
            return
        feed.is_closed = True
        channel = feed.channel
        if feed in channel.feeds:
            channel.feeds.remove(feed)
            if not channel.is_wanted:
                self._on_wanted(channel, False)

    def close(self) -> None:
        """Closes every subscription."""
        for channel in list(self._all.values()):
            for feed in list(channel.feeds):
                self.unsubscribe(feed)

    # What happens on the connection.

    def on_ready(self, user: str, states: object) -> None:
        """Ready: these are the channels of the session."""
        self._set_own(f"user:{user}", "all")
        for channel in self._all.values():
            channel.is_given = False
            if not channel.is_kept:
                channel.wire = Wire.OFF
        for state in _named(states):
            self._on_state(self._find(state["channel"]), state)
        self._forget_unwanted()

    def on_disconnected(self) -> None:
        """The connection has ended, and with it all subscriptions at the gateway."""
        self._timers.clear(_RETRY)
        for channel in self._all.values():
            channel.wire = Wire.OFF
            channel.is_stale = False
            channel.last_state = None
        self._forget_unwanted()

    def forget_user(self) -> None:
        """The next session belongs to another user: the previous positions are not sent."""
        for channel in self._all.values():
            channel.forget()
        self._set_own()
        self._forget_unwanted()

    def on_frame(self, frame: Frame) -> None:
        """A frame of a channel. Others are ignored, like an op that a later gateway adds."""
        if frame.get("op") == Op.SUBSCRIPTION:
            for answer in _named(frame.get("channels", [frame])):
                self._on_answer(answer)
            return
        name = frame.get("channel")
        channel = self._all.get(name) if isinstance(name, str) else None
        if channel is None or channel.wire is not Wire.ON:
            return
        if event := self._event_of(channel.name, frame):
            self._give(channel, event)

    # What is sent.

    def requests(self, max_bytes: float) -> list[Frame]:
        """The channels to subscribe to now, in at most this size. The others are requested later."""
        return self._batch(max_bytes, Wire.SUBSCRIBING, lambda channel: channel.wire is Wire.OFF)

    def next_command(self, max_bytes: float) -> Frame | None:
        """The next Unsubscribe or Subscribe, in at most this size. It counts as sent."""

        def is_left(channel: Channel) -> bool:
            return channel.wire >= Wire.RECOVERING and (channel.is_stale or not channel.is_kept)

        # First, because the number of subscriptions is limited.
        if left := self._batch(max_bytes, Wire.UNSUBSCRIBING, is_left):
            return {"op": Op.UNSUBSCRIBE, "channels": [request["channel"] for request in left]}
        if channels := self.requests(max_bytes):
            return {"op": Op.SUBSCRIBE, "channels": channels}
        return None

    def ask_again(self, reason: str | None = None) -> None:
        """Requests refused channels again: all, or those refused for this reason."""
        for channel in self._all.values():
            if channel.wire is Wire.REFUSED and reason in (None, channel.refusal):
                channel.wire = Wire.OFF
        self._on_dirty()

    def on_delayed(self, retry_in_ms: float) -> None:
        """The message budget is used up: what is not requested yet waits."""
        for channel in self._all.values():
            if channel.wire is Wire.OFF and channel.last_state is None:
                self._give(channel, Pending(channel.name, "rate_limited", retry_in_ms / 1_000))

    def _on_answer(self, frame: Frame) -> None:
        channel = self._all.get(frame["channel"])
        if channel is None:
            return
        state = text(frame.get("state"))
        reason = text(frame.get("reason")) or state or ""
        if state == "unsubscribed" and channel.wire is Wire.UNSUBSCRIBING:
            channel.wire = Wire.OFF
            channel.is_stale = False
            self._forget_unwanted()
        elif reason == "already_subscribed":
            # By the backend. Its position is not known here, so unsubscribe and subscribe again.
            channel.wire = Wire.ON
            channel.is_stale = True
        elif state in ("refused", "unsubscribed"):
            self._on_refused(channel, reason)
        elif channel.wire in (Wire.SUBSCRIBING, Wire.RECOVERING):
            self._on_state(channel, frame)
        self._on_dirty()

    def _on_refused(self, channel: Channel, reason: str) -> None:
        """Refused, or revoked because a new token allows fewer channels."""
        known = channel.refusal
        channel.wire = Wire.REFUSED
        channel.is_stale = False
        if reason == _UNAVAILABLE and not self._timers.is_set(_RETRY):
            self._timers.set(_RETRY, self._backoff.next(), lambda: self.ask_again(_UNAVAILABLE))
        # Refused again for the same reason: the app already knows.
        if known != reason:
            self._give(channel, Refused(channel.name, reason))
        self._forget_unwanted()

    def _on_state(self, channel: Channel, state: Frame) -> None:
        if state.get("state") == "recovering":
            # The cursor stays: if the socket ends now, the next one sends the same position.
            channel.wire = Wire.RECOVERING
            return self._give(channel, Recovering(channel.name))
        channel.wire = Wire.ON
        self._backoff.tries = 0
        if not self._is_current(channel):
            return None
        since, recovered = channel.cursor, state.get("recovered")
        if since and recovered is False and channel.last and not channel.is_fixed:
            # Too much was missed: instead of continuing here, the app gets a fresh view.
            channel.cursor = ""
            channel.is_stale = True
            return self._on_dirty()
        position, last = text(state.get("position")), number(state.get("last"))
        count = None if last is None else int(last)
        if channel.cursor is None:
            channel.cursor = position
        self._give(channel, Subscribed(channel.name, position, online_of(state.get("presence")), count))
        if since and recovered is True:
            self._give(channel, Recovered(channel.name, position))
        elif since is not None:
            self._give(channel, Gap(channel.name, "not_recovered", position, count))
        return None

    def _event_of(self, name: str, frame: Frame) -> ChannelEvent | None:
        match frame.get("op"):
            case Op.MESSAGE:
                return Message(name, frame.get("message"), text(frame.get("position")))
            case Op.GAP:
                return Gap(name, text(frame.get("reason")) or "unknown")
            case Op.PRESENCE:
                count = RoomCount(int(number(frame.get("count")) or 0))
                return Presence(name, count, _users(frame.get("joined")), _users(frame.get("left")))
            case Op.SIGNAL:
                return Signal(name, text(frame.get("user")), frame.get("signal"))
        return None

    def _give(self, channel: Channel, event: ChannelEvent) -> None:
        """Hands an event to the app, if the channel is still wanted."""
        if not self._is_current(channel):
            return
        channel.note(event)
        if not isinstance(event, (Subscribed, Recovering, Refused, Pending)):
            for feed in channel.feeds:
                self._greet(feed)
        for feed in channel.feeds:
            feed.is_greeted = True
        self._deliver(Deliver(event, tuple(channel.feeds)))

    def _is_current(self, channel: Channel) -> bool:
        """Whether its events count. A channel that is about to be unsubscribed has none."""
        if not channel.is_kept:
            channel.is_stale = True
        if channel.is_stale:
            channel.last_state = None
        return not channel.is_stale

    def _greet(self, feed: Feed) -> None:
        """Delivers the state of the channel to a later subscription, once and first."""
        if not feed.is_greeted and (event := feed.channel.greeting()):
            feed.is_greeted = True
            self._deliver(Deliver(event, (feed,), is_of_channel=False))

    def _refused(self, channel: Channel, deliver: Callable[[ChannelEvent], None], reason: str) -> Feed:
        feed = Feed(channel, deliver, reason)
        event = Refused(channel.name, reason)
        self._deliver(Deliver(event, (feed,), is_of_channel=reason != "since_conflict"))
        return feed

    def _batch(self, max_bytes: float, wire: Wire, is_meant: Callable[[Channel], bool]) -> list[Frame]:
        """The requests for a frame. They count as sent: the channels get this state."""
        requests: list[Frame] = []
        # Own channels first: they cannot be requested later.
        meant = sorted(filter(is_meant, self._all.values()), key=lambda channel: not channel.is_fixed)
        for channel in meant[:_MAX_BATCH]:
            request: dict[str, Any] = {"channel": channel.name}
            if channel.cursor:
                request["since"] = channel.cursor
            if channel.last:
                request["last"] = channel.last
            max_bytes -= size_of(request) + 1
            if max_bytes < 0:
                continue
            if wire < channel.wire or isinstance(channel.last_state, Pending):
                channel.last_state = None
            channel.wire = wire
            requests.append(request)
        return requests

    def _on_wanted(self, channel: Channel, is_moved: bool) -> None:
        """A channel got its first subscription, lost its last one, or got another position."""
        if is_moved and not channel.is_fixed and channel.wire >= Wire.SUBSCRIBING:
            channel.is_stale = True
            channel.last_state = None
        self._forget_unwanted()
        self._on_dirty()

    def _set_own(self, *names: str) -> None:
        self._own = names
        for channel in self._all.values():
            channel.is_fixed = channel.name in names

    def _find(self, name: str) -> Channel:
        channel = self._all.get(name)
        if channel is None:
            channel = self._all[name] = Channel(name)
            channel.is_fixed = name in self._own
        return channel

    def _forget_unwanted(self) -> None:
        unwanted: Iterable[Channel] = [
            channel for channel in self._all.values() if not channel.is_kept and channel.wire <= Wire.REFUSED
        ]
        for channel in unwanted:
            del self._all[channel.name]
