"""Version 2 of the gateway's protocol: ops, and the reconnect rule of each close code."""

import math
import re
from enum import Enum, IntEnum
from typing import Any

Frame = dict[str, Any]


class Op(IntEnum):
    """The type of a frame, its field ``op``."""

    HELLO = 0
    IDENTIFY = 1
    READY = 2
    MESSAGE = 3
    SUBSCRIBE = 4
    UNSUBSCRIBE = 5
    SUBSCRIPTION = 6
    RECONNECT = 7
    GAP = 8
    ERROR = 9
    HEARTBEAT = 10
    HEARTBEAT_ACK = 11
    REFRESH = 12
    REFRESHED = 13
    PRESENCE = 14
    MEMBERS = 15
    SEND = 16
    SENT = 17
    SIGNAL = 18
    HISTORY = 19
    PAGE = 20


class ReconnectRule(Enum):
    """What the client does after a close."""

    NEVER = "never"
    """Stays closed."""
    NEW_TOKEN = "new_token"
    """Reconnects if it can ask for a new token."""
    YES = "yes"
    LONG_WAIT = "long_wait"
    """Waits for at least half of the maximum wait, also if it is woken."""
    SPREAD = "spread"
    """All clients of a replica reconnect, so they spread."""


RECONNECT_RULES = {
    1001: ReconnectRule.SPREAD,
    1012: ReconnectRule.SPREAD,  # the replica is draining
    4003: ReconnectRule.NEVER,  # the token is refused
    4007: ReconnectRule.LONG_WAIT,  # over a limit
    4009: ReconnectRule.NEW_TOKEN,  # the token has expired
    4010: ReconnectRule.NEVER,  # the backend ended the session
}
"""The rule of a close code. Any other code (such as 1006, no Close) allows a reconnect."""

CLIENT_ERRORS = frozenset({1003, 1007, 1009, 4001})
"""The codes for an error in the client's frames. A retry gets the same code."""

_CHANNEL = re.compile(r"[!-z|~]{1,255}")
_ID = re.compile(r"[!-~]{1,64}")


def is_channel_name(name: object) -> bool:
    """Whether this is a channel's name. A frame with another value would end the session."""
    return isinstance(name, str) and _CHANNEL.fullmatch(name) is not None


def is_request_id(value: object) -> bool:
    """Whether the gateway accepts this as the id of a message."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def number(value: object) -> float | None:
    """A field of a frame, if it is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if value >= 0 and math.isfinite(value) else None


def text(value: object) -> str | None:
    """A field of a frame, if it is a string."""
    return value if isinstance(value, str) else None


def with_version(url: str) -> str:
    """The URL with ``v=2`` in its query."""
    if not re.match(r"wss?://[^/?#]", url, re.IGNORECASE):
        raise ValueError("url is not ws: or wss:")
    bare = url.split("#", 1)[0]
    return bare + ("&" if "?" in bare else "?") + "v=2"
