"""The messages of a client that are not acknowledged yet (op 16).

They are sent one at a time, so their order is kept, and repeated with the same id until the gateway
answers.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .backoff import Backoff
from .errors import MessageError
from .protocol import CLIENT_ERRORS, Frame, Op, number, text
from .timers import Timers

_ANSWER_MS = 30_000
"""Without an answer for this long, a message is repeated."""
_BUSY_MS = 1_000
"""The wait after ``busy`` without a time."""
_TEMPORARY = ("unavailable", "rate_limited")
"""The answers after which a message is repeated with a back-off."""
_TIMER = "outbox"


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message to send."""

    id: str
    channel: str
    message: Any
    repeat_ms: float
    """How long after the first attempt it may be repeated."""
    on_done: Callable[[str | MessageError], None]
    """Gets the id, or the error."""
    user: str | None = None
    """The user who wrote it, if known. Ids are unique for each user."""
    may_be_stored: bool = False
    """An attempt was not answered, so the gateway may have stored it."""
    sent_at: float = 0
    """The time of the first attempt that was not answered."""


class Outbox:
    """The messages of one client that wait, oldest first."""

    def __init__(
        self,
        timers: Timers,
        backoff: Backoff,
        random: Callable[[], float],
        post: Callable[[Frame], bool],
    ) -> None:
        self._timers = timers
        self._backoff = backoff
        self._random = random
        self._post = post
        self._waiting: list[Outgoing] = []
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self._login: str | None = None
        """The user of the login; ``None`` until it is known."""
        self._is_connected = False
        self._is_in_flight = False
        """The first message was sent on this connection, and is not answered."""
        self._was_uncertain = False
        """``may_be_stored`` of the first message before this attempt."""
        self._is_paused = False
        """The gateway asked to wait."""

    def __len__(self) -> int:
        return len(self._waiting)

    def next_id(self) -> str:
        """An id that no other message has, also of other processes."""
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def add(self, outgoing: Outgoing) -> None:
        """Adds a message."""
        outgoing.user = self._login
        self._waiting.append(outgoing)
        self._send_next()

    def remove(self, outgoing: Outgoing) -> None:
        """Removes a message, whether it was sent or not."""
        if self._take_out(outgoing):
            self._send_next()

    def take(self, frame: Frame) -> None:
        """An answer. It may be for another part of the client."""
        first = self._waiting[0] if self._waiting else None
        if first is None or frame.get("id") != first.id:
            return
        if frame.get("op") == Op.SENT:
            self._backoff.tries = 0
            self.remove(first)
            first.on_done(first.id)
        elif frame.get("op") == Op.ERROR:
            self._on_refused(first, frame)

    def on_connected(self, user: str) -> None:
        """The session is ready."""
        self._is_connected = True
        self._login = user
        self._send_next()

    def on_disconnected(self, code: int | None) -> None:
        """The connection has ended, with this close code if there is one."""
        self._is_connected = False
        was_in_flight, self._is_in_flight = self._is_in_flight, False
        if not was_in_flight:
            return
        self._timers.clear(_TIMER)
        if code in CLIENT_ERRORS:
            # Repeated, it would end each session: other messages would never be sent.
            self._fail(self._waiting[0], "too_big" if code == 1009 else "malformed")

    def on_closed(self) -> None:
        """The client is closed: nothing is repeated."""
        self._login = None
        self._is_paused = False
        self._timers.clear(_TIMER)
        for outgoing in list(self._waiting):
            self._fail(outgoing, "closed")

    def _on_refused(self, first: Outgoing, frame: Frame) -> None:
        code = text(frame.get("code")) or "unknown"
        if code != "unavailable":
            # Not stored by this attempt. `unavailable` does not say so.
            first.may_be_stored = self._was_uncertain
        if code == "busy":
            after_ms = number(frame.get("after"))
            # Clients that got the same time spread over it.
            self._pause((_BUSY_MS if after_ms is None else after_ms) * (1 + self._random() / 5))
        elif code in _TEMPORARY:
            self._pause(self._backoff.next())
        else:
            self._fail(first, code, text(frame.get("detail")))
            self._send_next()

    def _send_next(self) -> None:
        while self._waiting and self._is_connected and not self._is_in_flight and not self._is_paused:
            first, now = self._waiting[0], self._timers.now
            if not first.may_be_stored:
                first.sent_at = now
            if first.user is None:
                first.user = self._login
            if first.user != self._login:
                self._fail(first, "user_changed")
            elif now - first.sent_at > first.repeat_ms:
                self._fail(first, "unconfirmed")
            else:
                self._was_uncertain = first.may_be_stored
                first.may_be_stored = self._is_in_flight = True
                self._timers.set(_TIMER, _ANSWER_MS, lambda: self._pause(self._backoff.next()))
                self._post(
                    {"op": Op.SEND, "id": first.id, "channel": first.channel, "message": first.message}
                )

    def _pause(self, wait_ms: float) -> None:
        """Repeats the first message later."""
        self._is_in_flight = False
        self._is_paused = True
        self._timers.set(_TIMER, wait_ms, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        self._send_next()

    def _fail(self, outgoing: Outgoing, code: str, detail: str | None = None) -> None:
        if self._take_out(outgoing):
            outgoing.on_done(MessageError(code, detail, outgoing.id, outgoing.may_be_stored))

    def _take_out(self, outgoing: Outgoing) -> bool:
        """Whether the message still waited. It sends nothing: a queue of failures must not recurse."""
        if outgoing not in self._waiting:
            return False
        is_first = self._waiting[0] is outgoing
        self._waiting.remove(outgoing)
        if is_first and self._is_in_flight:
            self._timers.clear(_TIMER)
            self._is_in_flight = False
        return True
