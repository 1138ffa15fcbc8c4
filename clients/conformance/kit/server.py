"""One socket as the server sees it: the rules that docs/protocol.md states for the client's frames."""

import json

from . import frames
from .failure import Failure

MINUTE_MS = 60_000
# The gateway closes with 4007 beyond these.
MAX_BEFORE_READY = 16
MAX_BATCHES_IN_FLIGHT = 16
MAX_REQUESTS_IN_FLIGHT = 4

LIMITS = {
    "identify_timeout": 10_000,
    "message_bytes": 65_536,
    "messages_per_minute": 120,
    "subscriptions": 100,
}
SESSION = "5ca8f444fb21ace305e7dff323fe3055"
HELLO = {"op": 0, "heartbeat_interval": 45_000, "v": 2, "session": SESSION, "limits": LIMITS}
USER = "42"


class Subscribe:
    """An op 4 or 5 without an answer."""

    def __init__(self, frame):
        self.frame = frame
        self.unexpected = len(frames.singles(frame))


class Inbox:
    """The messages of op 16 by id, over all sockets of the client."""

    def __init__(self):
        self.messages = {}
        self.acknowledged = set()

    def take(self, frame, text):
        """Raises a Failure if the gateway would not store the message of this op 16."""
        message = self.messages.setdefault(frame["id"], (frame["channel"], frame["message"]))
        if message != (frame["channel"], frame["message"]):
            raise Failure(f"the client used the id of another message: {text}")
        if frame["id"] in self.acknowledged:
            raise Failure(f"the client repeated an acknowledged message: {text}")


class Socket:
    """A socket of the client."""

    def __init__(self, number, inbox):
        self.number = number
        self.inbox = inbox
        self.is_accepted = False
        self.is_over = False
        self.is_silent = False
        self.is_identified = False
        self.is_ready = False
        self.limits = LIMITS
        self.counted = []
        self.before_ready = 0
        self.requests = set()
        # Frames that no step has expected, with the Subscribe that they are part of.
        self.frames = []
        self.subscribes = []

    def read(self, text, now):
        """Takes a frame of the client. Returns the text of the server's answer, if it has one."""
        frame = frames.parse(text)
        if not self.is_accepted or self.is_over:
            raise Failure(f"the client sent a frame on a socket that is not open: {text}")
        self._check_limits(frame, text, now)
        self._check_order(frame, text)
        op = frame["op"]
        if op == frames.SEND:
            self.inbox.take(frame, text)
        if op == 10:
            return None if self.is_silent else json.dumps({**frame, "op": 11})
        subscribe = Subscribe(frame) if op in (4, 5) else None
        if subscribe:
            self.subscribes.append(subscribe)
            if sum(len(one.frame.get("channels", [])) > 1 for one in self.subscribes) > MAX_BATCHES_IN_FLIGHT:
                raise Failure(f"more than {MAX_BATCHES_IN_FLIGHT} batches have no answer")
        self.frames += [(single, subscribe) for single in frames.singles(frame)]
        return None

    def note_sent(self, frame):
        """Call when the server sends a frame."""
        if frame.get("op") == 0:
            self.limits = {**LIMITS, **frame.get("limits", {})}
        if frame.get("op") == 2 and self.is_identified:
            self.is_ready = True
        if frame.get("op") == 17:
            self.inbox.acknowledged.add(frame["id"])
        self.requests.discard(frame.get("id"))

    def _check_order(self, frame, text):
        op = frame["op"]
        if op in frames.HEARTBEATS:
            return
        if op == 1 and self.is_identified:
            raise Failure("the client sent a second Identify")
        if op != 1 and not self.is_identified:
            raise Failure(f"the client sent this before Identify: {text}")
        self.is_identified = True
        if not self.is_ready:
            self.before_ready += op != 1
            if self.before_ready > MAX_BEFORE_READY:
                raise Failure(f"the client sent more than {MAX_BEFORE_READY} frames before Ready")

    def _check_limits(self, frame, text, now):
        op = frame["op"]
        size = len(text.encode())
        if 0 < self.limits["message_bytes"] < size:
            raise Failure(f"the client sent a frame of {size} bytes, more than Hello allows")
        if op not in (frames.SEND, frames.SIGNAL):
            self.counted = [time for time in self.counted if now - time < MINUTE_MS] + [now]
            if 0 < self.limits["messages_per_minute"] < len(self.counted):
                raise Failure(f"the client sent {len(self.counted)} messages within a minute: {text}")
        if op in (frames.MEMBERS, frames.HISTORY):
            self.requests.add(frame["id"])
            if len(self.requests) > MAX_REQUESTS_IN_FLIGHT:
                raise Failure(f"more than {MAX_REQUESTS_IN_FLIGHT} requests have no answer")
