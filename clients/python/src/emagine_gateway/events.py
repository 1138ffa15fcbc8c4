"""What happens on a channel, and to a client. ``type`` is the name of the event in ``on``."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

ClientState = Literal["idle", "connecting", "connected", "waiting", "closed"]
"""The state of a client.

- ``idle``: ``connect`` has not been called since the beginning, or since ``disconnect``.
- ``connecting``: getting a token, opening a socket, or identifying.
- ``connected``: Ready has arrived.
- ``waiting``: the connection is lost, and the next attempt is scheduled.
- ``closed``: ended, until ``connect`` is called again.
"""

SubscriptionState = Literal["pending", "recovering", "subscribed", "refused", "closed"]
"""The state of a subscription.

- ``pending``: not connected, not answered yet, or not requested yet (``Pending`` has the reason).
- ``recovering``: silent until the gateway can read the history.
- ``subscribed``: messages arrive.
- ``refused``: the event ``Refused`` has the reason.
- ``closed``: the app has unsubscribed.
"""


@dataclass(frozen=True, slots=True)
class Online:
    """The state of a user, on the channel ``online:<user>``."""

    online: bool
    at: float
    """When it was read or has changed, by Redis' clock: Unix time in milliseconds."""


@dataclass(frozen=True, slots=True)
class RoomCount:
    """The number of sessions or members of a room."""

    count: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message. Only a durable message has a position; pass it as ``since`` to resume after it."""

    type: ClassVar[Literal["message"]] = "message"
    channel: str
    message: Any
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Recovering:
    """The gateway cannot read the history now. The channel is silent until ``Subscribed``."""

    type: ClassVar[Literal["recovering"]] = "recovering"
    channel: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """New messages arrive from now on. It comes again after each reconnect.

    With ``last``, a fresh view begins: this number of stored messages follows, and replaces what the
    app has.
    """

    type: ClassVar[Literal["subscribed"]] = "subscribed"
    channel: str
    position: str | None
    presence: Online | RoomCount | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """After a reconnect: no durable message is missing. The missed messages follow."""

    type: ClassVar[Literal["recovered"]] = "recovered"
    channel: str
    position: str | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages may be missing here: load the current data.

    The reason is the gateway's, or ``not_recovered`` (too much was missed, or the history is lost).
    With ``last``, a fresh view has begun, and its messages follow.
    """

    type: ClassVar[Literal["gap"]] = "gap"
    channel: str
    reason: str
    position: str | None = None
    """Where the channel continues, if it is known."""
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The channel is not allowed, is no longer allowed, or cannot be requested.

    The reason is the gateway's, or one of this library: ``bad_channel``, ``bad_since``, or
    ``since_conflict`` (the channel is in use at another position).
    """

    type: ClassVar[Literal["refused"]] = "refused"
    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The channel is not requested yet: the client has used up its messages per minute."""

    type: ClassVar[Literal["pending"]] = "pending"
    channel: str
    reason: Literal["rate_limited"]
    retry_in: float
    """The time until the client may request it, in seconds."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The count of a room has changed. With members: the users that have joined or left."""

    type: ClassVar[Literal["presence"]] = "presence"
    channel: str
    presence: RoomCount
    joined: tuple[str, ...] | None = None
    left: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of another session, such as "is typing". It is not stored, and may be lost."""

    type: ClassVar[Literal["signal"]] = "signal"
    channel: str
    user: str | None
    signal: Any


ChannelEvent = Message | Recovering | Subscribed | Recovered | Gap | Refused | Pending | Presence | Signal
"""An event of a channel. Events come in the order in which they happened."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A change of the state of a client."""

    type: ClassVar[Literal["state"]] = "state"
    state: ClientState
    attempts: int
    """The number of attempts since the last connection that lasted."""
    code: int | None = None
    """With ``waiting`` and ``closed``, after a connection: the close code, or 1006 without a Close."""
    reason: str | None = None
    """With ``waiting`` and ``closed``: the reason in plain English."""
    retry_in: float | None = None
    """With ``waiting``: the time until the next attempt, in seconds."""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error. ``where`` is one of:

    - ``token``: the token function raised, timed out, or returned no string.
    - ``socket``: a connection failed.
    - ``identify``: the gateway refuses the client's frames, and the client is closed.
    - ``listener``: a listener raised.
    - the code of a soft error of the gateway (op 9).
    """

    type: ClassVar[Literal["error"]] = "error"
    where: str
    error: Exception


@dataclass(frozen=True, slots=True)
class LatencyEvent:
    """The time from a heartbeat to its answer, in seconds."""

    type: ClassVar[Literal["latency"]] = "latency"
    latency: float


ClientEvent = StateEvent | ErrorEvent | LatencyEvent
"""An event of a client, which belongs to no channel."""
