"""What the core asks of its surroundings. They carry out its outputs in order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .events import ChannelEvent, ClientEvent

if TYPE_CHECKING:
    from .channel import Feed

TokenReason = Literal["connect", "refresh", "expired", "refused"]
"""Why the client asks for a token. For ``connect`` a stored token is fine; the others need a new one.

- ``refresh``: the token expires soon, or the app called ``refresh``.
- ``expired``: the gateway ended the session because its token expired (4009).
- ``refused``: the gateway refused the token (4003).
"""


@dataclass(frozen=True, slots=True)
class AskToken:
    """Get a token, and pass it to ``token_received`` or ``token_failed`` with this serial."""

    serial: int
    reason: TokenReason


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Open a socket. Pass what happens on it with this serial. There is one socket at a time."""

    serial: int
    url: str


@dataclass(frozen=True, slots=True)
class SendText:
    """Send a frame on the socket."""

    text: str


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close the socket, and drop what still comes from it."""

    code: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Deliver an event of a channel to these subscriptions and to the client's listeners."""

    event: ChannelEvent
    feeds: tuple["Feed", ...]
    is_of_channel: bool = True
    """False for an event that only a later subscription needs."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Deliver an event of the client."""

    event: ClientEvent


Output = AskToken | OpenSocket | SendText | CloseSocket | Deliver | Notify
