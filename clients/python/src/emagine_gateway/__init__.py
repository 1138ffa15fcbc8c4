"""The asyncio client of the E-Magine gateway."""

from .backoff import BackoffOptions
from .client import GatewayClient, HistoryPage, MembersPage, StoredMessage
from .errors import (
    BufferOverflow,
    GatewayError,
    MessageError,
    RequestError,
    SessionEnded,
    SoftError,
    SubscriptionRefused,
    TokenError,
)
from .events import (
    ChannelEvent,
    ClientEvent,
    ClientState,
    ErrorEvent,
    Gap,
    LatencyEvent,
    Message,
    Online,
    Pending,
    Presence,
    Recovered,
    Recovering,
    Refused,
    RoomCount,
    Signal,
    StateEvent,
    Subscribed,
    SubscriptionState,
)
from .outputs import TokenReason
from .runner import TokenFunction
from .streams import EventStream
from .subscription import Subscription

__all__ = [
    "BackoffOptions",
    "BufferOverflow",
    "ChannelEvent",
    "ClientEvent",
    "ClientState",
    "ErrorEvent",
    "EventStream",
    "Gap",
    "GatewayClient",
    "GatewayError",
    "HistoryPage",
    "LatencyEvent",
    "MembersPage",
    "Message",
    "MessageError",
    "Online",
    "Pending",
    "Presence",
    "Recovered",
    "Recovering",
    "Refused",
    "RequestError",
    "RoomCount",
    "SessionEnded",
    "Signal",
    "SoftError",
    "StateEvent",
    "StoredMessage",
    "Subscribed",
    "Subscription",
    "SubscriptionRefused",
    "SubscriptionState",
    "TokenError",
    "TokenFunction",
    "TokenReason",
]
