"""One socket, from its opening to its end. A reconnect creates another Connection."""

import math
from dataclasses import dataclass
from typing import Protocol

from .budget import Budget
from .channels import Channels
from .json_text import decode, encode, size_of
from .outputs import CloseSocket, Output, SendText
from .protocol import Frame, Op, number, text
from .timers import Timers

_MIN_BEAT_MS = 15_000
"""The minimum time between heartbeats. Each uses a part of the budget."""
_LATE_MS = 1_000
"""A timer that runs this late shows that the process was suspended or blocked."""
_FRAME_MARGIN = 256
"""Bytes of a frame besides the token and the channels, at most."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a socket ended."""

    code: int
    """The close code; 1006 without a Close."""
    reason: str
    error: Exception | None = None
    after_ms: float | None = None
    """The delay that the gateway requested (op 7), from now."""


class ConnectionOwner(Protocol):
    """What a connection reports. Nothing comes after ``on_end``."""

    def on_ready(self, user: str, frame: Frame) -> None: ...
    def on_soft_error(self, code: str, detail: str) -> None: ...
    def on_token(self, expires_in_ms: float | None) -> None: ...
    def on_latency(self, latency_ms: float) -> None: ...
    def on_answer(self, frame: Frame) -> None: ...
    def on_end(self, ending: Ending) -> None: ...
    def output(self, output: Output) -> None: ...


class Connection:
    """The client's side of one session."""

    def __init__(
        self,
        owner: ConnectionOwner,
        channels: Channels,
        timers: Timers,
        token: str,
        connect_ms: float,
        heartbeat_ms: float,
    ) -> None:
        self.budget = Budget(1)
        """Known after Hello."""
        self.max_bytes: float = 0
        """The maximum size of a frame of channels; known after Hello."""
        self.is_ready = False
        self._owner = owner
        self._channels = channels
        self._timers = timers
        self._token = token
        self._heartbeat_ms = heartbeat_ms
        self._beat_every_ms: float | None = None
        self._last_seen = 0.0
        self._come_back_at: float | None = None
        """When to reconnect, after op 7."""
        self._is_over = False
        self._asks_again = False
        """Another probe was requested while an answer was pending."""
        timers.set("deadline", connect_ms, lambda: self.drop("not ready in time"))

    def send(self, frame: Frame, is_counted: bool = True) -> None:
        """Sends one frame, and counts it, unless it has a budget of its own."""
        if self._is_over:
            return
        if is_counted:
            self.budget.note(self._timers.now)
        self._owner.output(SendText(encode(frame)))

    def probe(self) -> None:
        """Sends a heartbeat. Its answer shows that the gateway is alive, and gives the latency."""
        if not self.is_ready:
            return
        if self._timers.is_set("answer"):
            # The pending answer does not show the present state.
            self._asks_again = True
            return
        self._asks_again = False
        sent_at = self._timers.now
        self._timers.set("answer", self._heartbeat_ms, lambda: self._on_no_answer(sent_at))
        self.send({"op": Op.HEARTBEAT, "time": int(sent_at)})

    def receive(self, data: str | bytes) -> None:
        """A message of the socket."""
        if self._is_over:
            return None
        self._last_seen = self._timers.now
        try:
            frame = decode(data)
        except ValueError:
            # The app has received nothing of it, so it is delivered again after a reconnect.
            return self.drop("bad frame")
        # A value that is not a frame is ignored, like an op that a later gateway adds.
        if isinstance(frame, dict) and number(frame.get("op")) is not None:
            self._on_frame(frame)
        return None

    def ended(self, code: int, reason: str, error: Exception | None) -> None:
        """The socket has ended."""
        if not self._is_over:
            self._end(Ending(code, reason or (str(error) if error else ""), error))

    def drop(self, reason: str) -> None:
        """Closes the socket without waiting for the gateway."""
        if not self._is_over:
            self._owner.output(CloseSocket(1000))
            self._end(Ending(1006, reason))

    def leave(self) -> None:
        """Closes the socket. ``on_end`` is not called."""
        if not self._is_over:
            self._owner.output(CloseSocket(1000))
            self._stop()

    def _end(self, ending: Ending) -> None:
        self._stop()
        after_ms = None
        if self._come_back_at is not None:
            after_ms = max(0, self._come_back_at - self._timers.now)
        self._owner.on_end(Ending(ending.code, ending.reason, ending.error, after_ms))

    def _stop(self) -> None:
        self._is_over = True
        self.is_ready = False
        self._timers.clear("deadline", "beat", "answer")

    def _on_no_answer(self, sent_at: float) -> None:
        waited = self._timers.now - sent_at
        # The answer may be lost, or wait to be read, although the socket is not broken.
        if waited > self._heartbeat_ms + _LATE_MS or self._last_seen > sent_at:
            self.probe()
        else:
            self.drop("no heartbeat")

    def _on_frame(self, frame: Frame) -> None:
        match frame["op"]:
            case Op.HELLO:
                if self._beat_every_ms is None:
                    self._on_hello(frame)
            case Op.READY:
                if self._beat_every_ms is not None and not self.is_ready:
                    self._on_ready(frame)
            case Op.HEARTBEAT:
                time = {"time": frame["time"]} if "time" in frame else {}
                self.send({"op": Op.HEARTBEAT_ACK, **time})
            case Op.RECONNECT:
                self._on_reconnect(frame)
            case _ if self.is_ready:
                self._on_session_frame(frame)

    def _on_session_frame(self, frame: Frame) -> None:
        # An answer, perhaps an error. Other frames have no id.
        if "id" in frame:
            return self._owner.on_answer(frame)
        match frame["op"]:
            case Op.ERROR:
                self._owner.on_soft_error(
                    text(frame.get("code")) or "unknown", text(frame.get("detail")) or ""
                )
            case Op.HEARTBEAT_ACK:
                self._on_heartbeat_ack(number(frame.get("time")))
            case Op.REFRESHED:
                self._owner.on_token(number(frame.get("expires_in")))
            case _:
                self._channels.on_frame(frame)
        return None

    def _on_hello(self, frame: Frame) -> None:
        self._beat_every_ms = max(number(frame.get("heartbeat_interval")) or 0, _MIN_BEAT_MS)
        limits = frame.get("limits")
        limits = limits if isinstance(limits, dict) else {}
        self.budget = Budget(number(limits.get("messages_per_minute")) or 0)
        self.max_bytes = (number(limits.get("message_bytes")) or math.inf) - _FRAME_MARGIN
        channels = self._channels.requests(self.max_bytes - size_of(self._token))
        self.send({"op": Op.IDENTIFY, "token": self._token, "channels": channels})

    def _on_ready(self, frame: Frame) -> None:
        user = text(frame.get("user"))
        if user is None:
            return self.drop("bad frame")
        self.is_ready = True
        self._timers.clear("deadline")
        self._owner.on_ready(user, frame)
        self._owner.on_token(number(frame.get("expires_in")))
        # At once, so that the latency is known from the start.
        self._beat_again()
        return None

    def _on_heartbeat_ack(self, time: float | None) -> None:
        self._timers.clear("answer")
        now = self._timers.now
        if self._asks_again and self.budget.wait(now) == 0:
            self.probe()
        if time is not None:
            self._owner.on_latency(max(0, now - time))

    def _on_reconnect(self, frame: Frame) -> None:
        after_ms = number(frame.get("after"))
        if after_ms is None:
            return
        self._come_back_at = self._timers.now + after_ms
        reason = text(frame.get("reason")) or ""
        # Close follows at once. If it is lost, the client leaves anyway.
        self._timers.set("deadline", after_ms, lambda: self.drop(reason))

    def _beat_again(self) -> None:
        self.probe()
        if self.is_ready and self._beat_every_ms is not None:
            self._timers.set("beat", self._beat_every_ms, self._beat_again)
