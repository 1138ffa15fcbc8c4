"""One channel of a client, with the subscriptions that share it, as the core sees them."""

from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum

from .events import (
    ChannelEvent,
    Gap,
    Message,
    Online,
    Pending,
    Presence,
    Recovering,
    Refused,
    RoomCount,
    Subscribed,
    SubscriptionState,
)
from .protocol import number


class Wire(IntEnum):
    """The state of a channel at the gateway. At most one request of a channel is pending.

    From ``SUBSCRIBING`` on, the channel is subscribed at the gateway, or about to be.
    """

    OFF = 0
    REFUSED = 1
    UNSUBSCRIBING = 2
    SUBSCRIBING = 3
    RECOVERING = 4
    ON = 5


class Feed:
    """A subscription of the app to a channel. Any number of them may share a channel."""

    def __init__(
        self, channel: "Channel", deliver: Callable[[ChannelEvent], None], refusal: str | None = None
    ) -> None:
        self.channel = channel
        self.deliver = deliver
        self.refusal = refusal
        """Why this subscription alone is refused, if it is."""
        self.is_closed = False
        self.is_greeted = False

    @property
    def state(self) -> SubscriptionState:
        """The state as the app sees it."""
        if self.is_closed:
            return "closed"
        return "refused" if self.refusal else self.channel.state


def online_of(value: object) -> Online | None:
    """The state of a user, if this is one."""
    if not isinstance(value, dict):
        return None
    online, at = value.get("online"), number(value.get("at"))
    return Online(online, at) if isinstance(online, bool) and at is not None else None


class Channel:
    """The position of a channel, and its state at the gateway.

    The cursor moves past a message when the message is handed to the app, and to another position
    only with a gap. So the app gets everything up to the position that is sent as ``since``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cursor: str | None = None
        """The position to resume from. Empty: it is lost."""
        self.is_given = False
        """Whether the app has set the cursor since the last session began."""
        self.last_state: Subscribed | Recovering | Refused | Pending | None = None
        """The latest state event; none while it is not subscribed or not acknowledged."""
        self.wire = Wire.OFF
        self.is_stale = False
        """The gateway's messages do not follow the position: unsubscribe and subscribe again."""
        self.is_fixed = False
        """The session is always subscribed to it, and cannot unsubscribe."""
        self.last = 0
        """The number of stored messages to begin with."""
        self.feeds: list[Feed] = []

    @property
    def is_wanted(self) -> bool:
        """Whether the app is subscribed."""
        return bool(self.feeds)

    @property
    def is_kept(self) -> bool:
        """Whether the session is to be subscribed to it."""
        return self.is_wanted or self.is_fixed

    @property
    def state(self) -> SubscriptionState:
        """The state of its subscriptions."""
        return self.last_state.type if self.last_state else "pending"

    @property
    def refusal(self) -> str | None:
        """Why it is refused, if it is."""
        return self.last_state.reason if isinstance(self.last_state, Refused) else None

    def note(self, event: ChannelEvent) -> None:
        """An event goes to the app: moves the cursor, and keeps the state for later subscriptions."""
        if isinstance(event, (Message, Gap)) and event.position:
            self.cursor = event.position
        if isinstance(event, Subscribed):
            self.last_state = replace(event, last=None)
        elif isinstance(event, (Recovering, Refused, Pending)):
            self.last_state = event
        elif isinstance(self.last_state, Subscribed) and (presence := self._presence_in(event)):
            self.last_state = replace(self.last_state, presence=presence)

    def _presence_in(self, event: ChannelEvent) -> Online | RoomCount | None:
        """The presence of an event, unless the gateway has read it before that known already."""
        if isinstance(event, Presence):
            return event.presence
        if not isinstance(event, Message) or not self.name.startswith("online:"):
            return None
        edge = online_of(event.message)
        known = self.last_state.presence if isinstance(self.last_state, Subscribed) else None
        return None if edge and isinstance(known, Online) and edge.at < known.at else edge

    def greeting(self) -> ChannelEvent | None:
        """The state for a later subscription."""
        if isinstance(self.last_state, Subscribed):
            return replace(self.last_state, position=self.cursor)
        return self.last_state

    def forget(self) -> None:
        """The position belongs to another user. The app gets a gap before the channel continues."""
        if self.cursor is not None and not self.is_given:
            self.cursor = ""
