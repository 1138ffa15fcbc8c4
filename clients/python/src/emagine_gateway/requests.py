"""Requests with an id for pages: members of a room (op 15) and history (op 19)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from .channel import Feed
from .errors import GatewayError, RequestError
from .events import ChannelEvent, Refused, Subscribed
from .protocol import Frame, Op, text
from .timers import Timers

_BUDGET_MS = 60_000
"""A request waits at most this long for the client's message budget."""
_MAX_IN_FLIGHT = 4
"""The number of requests of a session that the gateway serves at once."""

OnDone = Callable[[Frame | GatewayError], None]
"""Gets the answer, or the error."""


@dataclass(slots=True)
class _Pending:
    frame: Frame
    timeout_ms: float
    on_done: OnDone
    is_sent: bool = False


class Requests:
    """The requests of one client. One that is in flight when the connection ends fails."""

    def __init__(self, timers: Timers, on_dirty: Callable[[], None]) -> None:
        self._timers = timers
        self._on_dirty = on_dirty
        self._pending: dict[str, _Pending] = {}
        self._prefix = secrets.token_hex(8)
        self._count = 0

    def add(self, frame: Frame, timeout_ms: float, on_done: OnDone) -> str:
        """Sends a request, and returns its id. The timeout starts again when it is sent."""
        self._count += 1
        id = f"{self._prefix}{self._count}"
        self._pending[id] = _Pending({**frame, "id": id}, timeout_ms, on_done)
        self._start_timer(id, _BUDGET_MS + timeout_ms)
        self._on_dirty()
        return id

    def next(self) -> Frame | None:
        """The next request to send. It counts as sent."""
        in_flight = sum(request.is_sent for request in self._pending.values())
        if in_flight >= _MAX_IN_FLIGHT:
            return None
        for id, request in self._pending.items():
            if not request.is_sent:
                request.is_sent = True
                self._start_timer(id, request.timeout_ms)
                return request.frame
        return None

    def take(self, frame: Frame) -> None:
        """An answer. It may be for another part of the client."""
        request = self.remove(frame["id"])
        if request is None:
            return
        if frame.get("op") == Op.ERROR:
            request.on_done(RequestError(text(frame.get("code")) or "unknown", text(frame.get("detail"))))
        else:
            request.on_done(frame)
        # The next one may be sent.
        self._on_dirty()

    def remove(self, id: object) -> _Pending | None:
        """Forgets a request."""
        if not isinstance(id, str):
            return None
        self._timers.clear(("request", id))
        return self._pending.pop(id, None)

    def fail_all(self, code: str) -> None:
        """The connection has ended."""
        for id in list(self._pending):
            self._fail(id, code)

    def _fail(self, id: str, code: str) -> None:
        if request := self.remove(id):
            request.on_done(RequestError(code))

    def _start_timer(self, id: str, delay_ms: float) -> None:
        self._timers.set(("request", id), delay_ms, lambda: self._fail(id, "timeout"))


class ChannelRequest:
    """A request of a channel. It subscribes to the channel while it runs.

    It waits until the channel is subscribed, sends its frame, and calls ``on_done`` once.
    """

    def __init__(
        self,
        requests: Requests,
        active: "set[ChannelRequest]",
        timers: Timers,
        subscribe: Callable[[Callable[[ChannelEvent], None]], Feed],
        unsubscribe: Callable[[Feed], None],
        frame: Frame,
        timeout_ms: float,
        on_done: OnDone,
    ) -> None:
        self._requests = requests
        self._active = active
        self._timers = timers
        self._unsubscribe = unsubscribe
        self._frame = frame
        self._timeout_ms = timeout_ms
        self._on_done = on_done
        self._id: str | None = None
        self._is_done = False
        active.add(self)
        timers.set(self, timeout_ms, lambda: self._finish(RequestError("timeout")))
        self._feed = subscribe(self._on_event)

    def cancel(self, code: str | None = None) -> None:
        """Gives up: with a code, ``on_done`` gets an error, unless the request was done."""
        if code is None:
            self._is_done = True
            self._end()
        else:
            self._finish(RequestError(code))

    def _on_event(self, event: ChannelEvent) -> None:
        if self._is_done or self._id is not None:
            return
        if isinstance(event, Subscribed):
            self._timers.clear(self)
            self._id = self._requests.add(self._frame, self._timeout_ms, self._finish)
        elif isinstance(event, Refused):
            self._finish(RequestError(event.reason))

    def _finish(self, result: Frame | GatewayError) -> None:
        if not self._is_done:
            self._is_done = True
            self._end()
            self._on_done(result)

    def _end(self) -> None:
        self._active.discard(self)
        self._timers.clear(self)
        if self._id is not None:
            self._requests.remove(self._id)
        self._unsubscribe(self._feed)
